"""Whether an image is like the training images of a network."""
