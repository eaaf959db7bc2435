"""The Domain shift page."""
