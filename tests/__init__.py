"""The tests: a folder for each package, and helpers; a test is a sentence."""
