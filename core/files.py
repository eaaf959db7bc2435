"""Files written whole or not at all, CSV files safe to open in a spreadsheet, and explanations of invalid files."""

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

# What begins a formula, in its ordinary, full-width and small forms; the minus sign of mathematics too.
_SIGNS = "=+\\-@＝＋－＠﹦﹢﹣﹫−"
# What may stand before a sign: blanks of every kind, control characters, marks of no width, quotes.
_UNSEEN = '"\\s\\x00-\\x20\\xa0\\xad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2064\\ufeff'
# A spreadsheet of another language splits at semicolons, and then at the ends of lines inside quotes too.
_STARTS = re.compile(f"(\\A|[;\\t\\r\\n\\v\\f\\x85\\u2028\\u2029])([{_UNSEEN}]*)(?=[{_SIGNS}])")
_CONTROLS = ("\t", "\r", "\n")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and on the disk when this returns; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_document(kind: TypeAdapter[T], text: str | bytes, what: str) -> T:
    """Read a JSON document.

    Raises:
        ValueError: If it is not what it should be, such as "an evaluation"; the message names the first wrong place.
    """
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"not {what}: {first_problem(error, 'the text')}") from error


def first_problem(error: ValidationError, whole: str) -> str:
    """Say where a document is wrong first, and what is wrong there; `whole` names a document wrong as a whole."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or whole
    return f"{where}: {first['msg']}"


def csv_bytes(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Write a table as UTF-8 with a byte order mark, so that a spreadsheet reads its accents; None is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([harmless(column) for column in columns])
    writer.writerows([harmless(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def harmless(cell: object) -> str:
    """Write a cell so that no spreadsheet takes any part of it for a formula: an apostrophe stands before its sign.

    See OWASP, "CSV Injection".
    """
    text = "" if cell is None else str(cell)
    if isinstance(cell, int | float):
        return text  # a negative number is no formula
    safe = _STARTS.sub("\\1\\2'", text)
    return f"'{safe}" if safe.startswith(_CONTROLS) else safe
