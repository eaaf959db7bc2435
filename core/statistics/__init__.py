"""Metrics with intervals, evaluations, comparisons of models and of image sets."""
