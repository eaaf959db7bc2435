"""The interface for programs: predictions, cases, exports and models over HTTP."""
