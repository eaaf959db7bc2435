"""The parts of the networks: branches, the ways to join them, and the small networks of our own."""
