"""Time this project's code against named peers, interleaved in one run: `python -m training.benchmark`."""
