"""What the tests make, start and ask."""
