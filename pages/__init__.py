"""The screens: each asks, calls one function, and shows."""
