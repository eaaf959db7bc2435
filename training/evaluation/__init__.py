"""Evaluation of a checkpoint: predictions, chosen images, ablation and report."""
