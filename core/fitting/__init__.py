"""Training of networks: configuration, images, loop, loss, state and history."""
