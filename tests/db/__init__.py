"""The tests of db."""
