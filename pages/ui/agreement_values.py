"""What a view of agreement holds: lines of figures and matrices, each with the readings behind it."""

import math
from dataclasses import dataclass

from core.measures.bootstrap import Interval
from core.measures.rates import Median, Rate
from core.results import Reading


@dataclass(frozen=True, slots=True)
class Behind:
    """The readings behind a figure, and its words."""

    words: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure: a share, a kappa or a median; None where it does not apply."""

    value: Rate | Interval | Median | None
    n: int
    readings: tuple[Reading, ...]

    @property
    def text(self) -> str:
        """The figure with its interval, the number of readings beside it where it is a share or a median."""
        return "–" if self.value is None else figure_words(self.value)


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one reader, of two, or of all."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Figures of the same kinds, line by line."""

    of: str  # what the lines are
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    left_out: int = 0  # pairs or reads without a label on both sides, before the reveal

    def behind(self, line: int, column: int) -> Behind:
        """Give what lies behind one figure."""
        cell = self.lines[line].cells[column]
        return Behind(f"{self.lines[line].name}: {self.columns[column]} – {cell.text}", cell.readings)


@dataclass(frozen=True, slots=True)
class Matrix:
    """What two raters say of the same cases; rows are the first rater's labels, columns the second's."""

    name: str
    raters: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    cells: tuple[Behind, ...]  # row by row


def figure_words(value: Rate | Interval | Median) -> str:
    """Write a figure with its interval, and with n where it holds it; a dash where there is nothing to tell."""
    if isinstance(value, Rate):
        if value.n == 0:
            return "–"
        return f"{value.value:.0%} [{value.low:.0%}, {value.high:.0%}], {value.hits} of {value.n}".replace("%", " %")
    if math.isnan(value.value):
        return "–"
    digits, unit = (0, " s") if isinstance(value, Median) else (2, "")
    n = f", n {value.n}" if isinstance(value, Median) else ""
    known = value.low is not None and value.high is not None
    bounds = f" [{value.low:.{digits}f}, {value.high:.{digits}f}]" if known else ", no interval"
    return f"{value.value:.{digits}f}{unit}{bounds}{n}"
