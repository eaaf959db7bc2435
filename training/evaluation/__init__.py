"""Evaluation of a checkpoint: choice of images, predictions, ablation and report."""
