"""The Upload cases page."""
