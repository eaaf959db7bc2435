"""The tests of core."""
