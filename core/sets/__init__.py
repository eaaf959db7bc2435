"""How two sets of images are measured and compared."""
