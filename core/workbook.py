"""Tables as XLSX workbooks, which open in columns in any locale, with a second sheet that explains the columns."""

import io
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import IO

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell, WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from core.files import escape_formula

Column = tuple[str, str]
"""The name of a column, and what is in it."""

_MOST_ROWS = 1_048_575  # of a sheet, below its header
_WIDTHS = (9, 40)  # letters; narrowest and widest column
_NO_TIME = datetime(1980, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # openpyxl would write the time of the export
_BOLD = Font(bold=True)


def write_workbook(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a table as XLSX: its rows, in several sheets if one is full, and a sheet "columns" that explains them."""
    buffer = io.BytesIO()
    save_workbook(buffer, columns, rows)
    return buffer.getvalue()


def save_workbook(file: IO[bytes], columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Write the workbook of `write_workbook` to a file, row by row.

    Text stays text: nothing is read as a formula, a date or a number.
    """
    # Rows go to a file as they come, and none is kept.
    book = Workbook(write_only=True)
    book.properties.created = book.properties.modified = _NO_TIME
    header = [name for name, _ in columns]
    sheet = _add_sheet(book, "table", header)
    for number, row in enumerate(rows):
        if number and number % _MOST_ROWS == 0:
            sheet = _add_sheet(book, f"table {number // _MOST_ROWS + 1}", header)
        sheet.append([_make_cell(sheet, value) for value in row])
    meanings = _add_sheet(book, "columns", ("column", "meaning"))
    for column in columns:
        meanings.append([_make_cell(meanings, words) for words in column])
    book.save(file)


def _add_sheet(book: Workbook, title: str, header: Sequence[str]) -> Worksheet:
    sheet: Worksheet = book.create_sheet(title)
    sheet.freeze_panes = "A2"
    narrow, wide = _WIDTHS
    for place, name in enumerate(header, start=1):
        width = wide if name in ("note", "meaning") else min(max(len(name) + 2, narrow), wide)
        sheet.column_dimensions[get_column_letter(place)].width = width
    cells = [_make_cell(sheet, name) for name in header]
    for cell in cells:
        cell.font = _BOLD
    sheet.append(cells)
    return sheet


def _make_cell(sheet: Worksheet, value: object) -> Cell:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return WriteOnlyCell(sheet)
    if isinstance(value, bool | int | float):
        return WriteOnlyCell(sheet, value)
    text = str(value)
    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text))
    cell.data_type = "s"  # openpyxl takes a leading = for a formula
    # So that it stays text when somebody edits the cell.
    cell.quotePrefix = escape_formula(text) != text
    return cell
