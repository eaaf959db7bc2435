"""Public datasets on disk: labelled images, splits by patient, and leaks."""
