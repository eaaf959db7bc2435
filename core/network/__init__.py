"""The networks, their checkpoints, and the classifier that puts them to work."""
