"""The tests of training."""
