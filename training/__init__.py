"""The commands that make, judge and time a checkpoint."""
