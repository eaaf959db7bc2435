"""Comparison of two image sets: reading them, the steps of a drop, and tables."""
