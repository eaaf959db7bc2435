"""Writes tables as CSV files that a spreadsheet opens without running anything in them."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

# What begins a formula, in its ordinary, full-width and small forms; the minus sign of mathematics too.
_SIGNS = "=+\\-@＝＋－＠﹦﹢﹣﹫−"
# What may stand before a sign: blanks of every kind, control characters, marks of no width, quotes.
_UNSEEN = '"\\s\\x00-\\x20\\xa0\\xad\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2064\\ufeff'
# A spreadsheet of another language splits at semicolons, and then at the ends of lines inside quotes too.
_STARTS = re.compile(f"(\\A|[;\\t\\r\\n\\v\\f\\x85\\u2028\\u2029])([{_UNSEEN}]*)(?=[{_SIGNS}])")
_CONTROLS = ("\t", "\r", "\n")


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
