"""Counts, lists and figures in words, for everything that people read."""

from collections.abc import Iterable
from itertools import islice
from typing import Protocol

_NAMES_SHOWN = 5


class Measured(Protocol):
    """A value with its 95% interval; some have none."""

    @property
    def value(self) -> float: ...  # noqa: D102

    @property
    def low(self) -> float | None: ...  # noqa: D102

    @property
    def high(self) -> float | None: ...  # noqa: D102


def count_words(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural: "1 case", "2 cases"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def join_first(names: Iterable[str]) -> str:
    """Return the first few names, separated by commas."""
    shown = list(islice(names, _NAMES_SHOWN + 1))
    return ", ".join(shown[:_NAMES_SHOWN]) + (", ..." if len(shown) > _NAMES_SHOWN else "")


def interval_words(figure: Measured | None, style: str = ".3f") -> str:
    """Return a figure with its 95% interval, if it has one; a dash where it was not measured."""
    if figure is None:
        return "–"
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:{style}}, {figure.high:{style}}]"
    return f"{figure.value:{style}}{interval}"


def bounds_words(figure: Measured) -> str:
    """Return the bounds of the 95% interval of a figure; a dash if it has none."""
    return "–" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}"
