"""The tests of pages."""
