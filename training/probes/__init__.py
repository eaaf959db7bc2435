"""Frozen encoders: their configs, the features of images, and what is fitted to these."""
