"""Comparison of two image sets: choice and analysis of the images, preparation steps, and tables."""
