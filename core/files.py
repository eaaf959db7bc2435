"""Atomic writing of files, CSV files that are safe to open in a spreadsheet, and readable errors for invalid JSON."""

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

# Signs that begin a formula, in their ordinary, full-width and small forms, and the mathematical minus sign.
_SIGNS = "=+\\-@＝＋－＠﹦﹢﹣﹫−"
# What may precede a sign: white space, control characters, zero-width characters, quotes.
_INVISIBLE = '"\\s\\x00-\\x20\\xa0\\xad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2064\\ufeff'
# In some locales a spreadsheet splits at semicolons, and then also at line ends inside quotes.
_FORMULA_STARTS = re.compile(f"(\\A|[;\\t\\r\\n\\v\\f\\x85\\u2028\\u2029])([{_INVISIBLE}]*)(?=[{_SIGNS}])")
_IN_MEMORY = 8_000_000  # bytes of a table that is being written; the rest is on the disk
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


def file_key(path: Path) -> tuple[int, int]:
    """Return what is the same for all names of one file, whatever links lead to it.

    Raises:
        OSError: If there is no such file.
    """
    found = path.stat()
    return found.st_dev, found.st_ino


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
