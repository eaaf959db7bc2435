"""Counts and lists in words, for everything that people read."""

from collections.abc import Iterable
from itertools import islice

_NAMES_SHOWN = 5


def count_words(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural: "1 case", "2 cases"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def join_first(names: Iterable[str]) -> str:
    """Return the first few names, separated by commas."""
    shown = list(islice(names, _NAMES_SHOWN + 1))
    return ", ".join(shown[:_NAMES_SHOWN]) + (", ..." if len(shown) > _NAMES_SHOWN else "")
