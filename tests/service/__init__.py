"""The tests of service."""
