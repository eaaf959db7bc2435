"""The analysis worker, its supervisor and the checkpoint in service."""
