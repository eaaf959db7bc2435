"""The scope of a checkpoint: fitting its reference, and trying it on images that are unlike the training images."""
