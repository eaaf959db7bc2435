"""Training runs small enough for a test."""
