"""Tests that feed the decoder what it should refuse."""
