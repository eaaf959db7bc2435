"""The parts of an evaluation: each figure, its interval, matrices and curves."""
