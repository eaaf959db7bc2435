"""The tests, one file a module; a test is a sentence."""
