"""Atomic writing of files, safe CSV files, readable errors for invalid JSON, and lists too long for the memory."""

import csv
import io
import os
import pickle
import re
import unicodedata
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, TypeVar, overload
from weakref import finalize

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

# Signs that begin a formula, in their ordinary, full-width and small forms, and the mathematical minus sign.
_SIGNS = "=+\\-@＝＋－＠﹦﹢﹣﹫−"
# What may precede a sign: white space, control characters, zero-width characters, quotes.
_INVISIBLE = '"\\s\\x00-\\x20\\xa0\\xad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2064\\ufeff'
# In some locales a spreadsheet splits at semicolons, and then also at line ends inside quotes.
_FORMULA_STARTS = re.compile(f"(\\A|[;\\t\\r\\n\\v\\f\\x85\\u2028\\u2029])([{_INVISIBLE}]*)(?=[{_SIGNS}])")
_IN_MEMORY = 8_000_000  # bytes of a table that is being written; the rest is on the disk
_LIST_IN_MEMORY = 1_000_000  # bytes of a long list; the rest is on the disk
_CONTROLS = ("\t", "\r", "\n")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, flushed to the disk on return; create its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def readable_path(path: Path) -> str:
    """Return a path as text that can be encoded; bytes that are no UTF-8, as in names of old ZIP archives, as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def replace_control_characters(text: str) -> str:
    """Replace characters that control a terminal or the direction of text; file names may contain any character."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)


def read_document(kind: TypeAdapter[T], text: str | bytes, what: str) -> T:
    """Read a JSON document.

    Raises:
        ValueError: If it is not valid; the message names what was expected, such as "an evaluation".
    """
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"not {what}: {describe_first_problem(error, 'the text')}") from error


def describe_first_problem(error: ValidationError, whole: str) -> str:
    """Return where and how a document is first invalid; `whole` names the place when that is the whole document."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or whole
    return f"{where}: {first['msg']}"


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a table as UTF-8 with a byte order mark, so that spreadsheets read accents; None becomes an empty cell.

    Rows are written as they come, and none is kept.
    """
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        write_csv(file, columns, rows)
        file.seek(0)
        return file.read()


def write_csv(file: IO[bytes], columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write the table of `csv_bytes` to a file, which stays open."""
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    writer = csv.writer(text)
    writer.writerow([escape_formula(column) for column in columns])
    writer.writerows([escape_formula(cell) for cell in row] for row in rows)
    text.detach()


def escape_formula(cell: object) -> str:
    """Return a cell with an apostrophe before any sign that a spreadsheet would take for the start of a formula.

    See OWASP, "CSV Injection".
    """
    text = "" if cell is None else str(cell)
    if isinstance(cell, int | float):
        return text  # a negative number is not a formula
    safe = _FORMULA_STARTS.sub("\\1\\2'", text)
    return f"'{safe}" if safe.startswith(_CONTROLS) else safe


class ListOnDisk(Sequence[T]):
    """A long list in a temporary file without a name; only the values in use are in memory. For one thread."""

    def __init__(self, values: Iterable[T]) -> None:
        file = SpooledTemporaryFile(_LIST_IN_MEMORY)  # noqa: SIM115 - open as long as the list is
        finalize(self, file.close)
        self._file = file
        self._ends = array("q", [0])
        self._last: tuple[int, T] | None = None  # the place and value that were read last
        for value in values:
            written = io.BytesIO()
            _Pickler(written, pickle.HIGHEST_PROTOCOL).dump(value)
            file.write(written.getbuffer())
            self._ends.append(self._ends[-1] + written.tell())

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        place = range(len(self))[place]
        if self._last is None or self._last[0] != place:
            start, end = self._ends[place], self._ends[place + 1]
            self._file.seek(start)
            # Nobody but this process can write to the file.
            self._last = place, pickle.loads(self._file.read(end - start))  # noqa: S301
        return self._last[1]


class _Pickler(pickle.Pickler):
    """Writes a frozen dataclass as its fields, from which it is made anew in half the time of its state."""

    def reducer_override(self, value: object) -> tuple[type[object], tuple[object, ...]]:
        """Return how a value is made anew; of anything but a dataclass, what stands for the usual way."""
        if is_dataclass(value) and not isinstance(value, type):
            return type(value), tuple(getattr(value, name) for name in _field_names(type(value)))
        usual: tuple[type[object], tuple[object, ...]] = NotImplemented
        return usual


@cache
def _field_names(kind: type[object]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
