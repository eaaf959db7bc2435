"""The networks, their checkpoints, and the classifier that runs them."""
