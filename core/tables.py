"""Read the tables that people bring: CSV in any of its dialects and encodings, or an Excel workbook."""

import codecs
import csv
import io
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from typing import TYPE_CHECKING

from core.identifiers import fold_text, fold_word
from core.wording import count_words

if TYPE_CHECKING:
    from openpyxl.cell.cell import Cell, MergedCell
    from openpyxl.worksheet._read_only import ReadOnlyWorksheet

SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods")  # of tables; those that cannot be read are named as such

_LARGEST_BYTES = 64_000_000  # twice a table of the 277,524 patches of IDC
_LARGEST_UNPACKED_BYTES = 256_000_000  # of all parts of a workbook
_MOST_ROWS = 1_048_576  # of a workbook, as in Excel
_MOST_CELLS = 10_000_000  # of a workbook; a row that has one cell far to the right has thousands before it
_DELIMITERS = (",", ";", "\t")
# What Excel reads, and some programs write, above the header: sep=;
_SEPARATOR_LINE = re.compile(r'"?sep=([^\w"\s]|\t)"?[,;\t ]*(?:\r\n?|\n|$)', re.IGNORECASE)
_TEXT_FORMULA = re.compile(r'="(.*)"')  # ="007", as programs write a text that Excel must not take for a number
_ZEROS = re.compile("0+")  # a number format that shows 7 as 007
_EXACT_BELOW = 10**15  # Excel keeps 15 digits of a number and makes the others zeros
_FORMULA = re.compile(rb"<(?:\w+:)?f[ />]")
_NO_RESULT = "is a formula without a result; open the workbook, let it calculate, and save it"
_SAVE_AGAIN = "save it as CSV (UTF-8) or as .xlsx"
_UTF_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_FILES = (
    (b"\xd0\xcf\x11\xe0", f"is an old Excel workbook (.xls); {_SAVE_AGAIN}"),
    (b"%PDF", f"is a PDF, not a table; {_SAVE_AGAIN}"),
)


class UnreadableTableError(ValueError):
    """A table cannot be read; the message names the table, the line, the column and what is expected."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row with its cells, as they are written, in the order of `columns`; `place` is its line, such as "line 5"."""

    place: str
    columns: tuple[str, ...]
    cells: tuple[str, ...]

    def __getitem__(self, column: str) -> str:
        """Return the cell of a column; "" if the row is too short, or the table has no such column."""
        return self.cells[self.columns.index(column)]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a file; `problems` says why the cell at a position cannot be used."""

    place: str
    cells: Sequence[str]
    problems: dict[int, str] = field(default_factory=dict)

    @property
    def blank(self) -> bool:
        # With the wrong delimiter, the empty row of a spreadsheet is one cell of separators.
        return not self.problems and not any(fold_text(cell).strip(",; ") for cell in self.cells)


def read_table(
    data: bytes, name: str, needed: Sequence[str], optional: Sequence[str] = (), *, header: bool = True
) -> list[Row]:
    """Return the rows of a table that have a cell in a needed column, with the needed and the optional columns.

    Columns are found by their names in the first line that is not empty, without regard to case, blanks, hyphens and
    underscores; others are ignored.

    Args:
        data: The bytes of the file.
        name: What errors call the table.
        needed: Columns without which there is no table; their cells may be empty.
        optional: Columns whose cells are "" if there is no such column.
        header: Whether the first line must name the columns; if not, and it names not all, the needed ones come first.

    Raises:
        UnreadableTableError: If the file is no such table.
    """
    lines = [line for line in _read_lines(data, name, needed) if not line.blank]
    if not lines:
        raise UnreadableTableError(f"{name} is empty; its first line must name the columns {_join(needed)}")
    places = _find_columns(lines[0].cells, (*needed, *optional), name, lines[0].place)
    width = len(lines[0].cells)
    if header or set(needed) <= places.keys():
        _check_header(lines.pop(0), places, needed, name)
    else:
        places = {column: position for position, column in enumerate(needed)}
    rows = [_row(line, places, (*needed, *optional), width, name) for line in lines]
    return [row for row in rows if any(fold_text(row[column]) for column in needed)]


def has_columns(data: bytes, name: str, columns: Sequence[str]) -> bool:
    """Return whether the first line of a table names these columns.

    Raises:
        UnreadableTableError: If the file is no table.
    """
    lines = (line for line in _read_lines(data, name, columns) if not line.blank)
    first = next(lines, None)
    return first is not None and {fold_word(column) for column in columns} <= {fold_word(cell) for cell in first.cells}


def decode_text(data: bytes, name: str) -> str:
    """Decode a text file: UTF-8 with or without a byte order mark, UTF-16, or else Windows' code page 1252.

    Raises:
        UnreadableTableError: If it is none of these.
    """
    encodings = [encoding for mark, encoding in _UTF_BOMS if data.startswith(mark)][:1]
    for encoding in encodings or [*_utf_16_without_mark(data), "utf-8", "cp1252"]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise UnreadableTableError(f"{name} is not a text table in UTF-8, UTF-16 or Windows-1252; {_SAVE_AGAIN}")


def _utf_16_without_mark(data: bytes) -> list[str]:
    """Return the UTF-16 that a file without a mark is in: the high bytes of its letters are 0."""
    start = data[:1024]
    if start[1::2].count(0) > len(start) // 4:
        return ["utf-16-le"]
    return ["utf-16-be"] if start[::2].count(0) > len(start) // 4 else []


def _read_lines(data: bytes, name: str, needed: Sequence[str]) -> list[_Line]:
    if len(data) > _LARGEST_BYTES:
        raise UnreadableTableError(f"{name} has {len(data):,} bytes; a table may have {_LARGEST_BYTES:,}")
    if data.startswith(b"PK\x03\x04"):
        return _read_workbook(data, name, needed)
    for signature, problem in _OTHER_FILES:
        if data.startswith(signature):
            raise UnreadableTableError(f"{name} {problem}")
    return _read_csv(decode_text(data, name), name, needed)


def _read_csv(text: str, name: str, needed: Sequence[str]) -> list[_Line]:
    separator = _SEPARATOR_LINE.match(text)
    if separator is None:
        return list(_parse(text, _find_delimiter(text, needed), name))
    return list(_parse(text[separator.end() :], separator[1], name, skipped=1))


def _find_delimiter(text: str, needed: Sequence[str]) -> str:
    """Return the delimiter with which the first line has the most of the needed columns, and then the most cells."""

    def score(delimiter: str) -> tuple[int, int]:
        try:
            first = next((line.cells for line in _parse(text, delimiter, "") if not line.blank), ())
        except UnreadableTableError:
            return (-1, 0)
        return (len({fold_word(cell) for cell in first} & {fold_word(column) for column in needed}), len(first))

    return max(_DELIMITERS, key=score)


def _parse(text: str, delimiter: str, name: str, skipped: int = 0) -> Iterator[_Line]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        place = f"line {reader.line_num + 1 + skipped}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = _describe_csv_error(str(error))
            raise UnreadableTableError(f"{name}, {place}: not a valid CSV table: {problem}") from error
        texts = [_TEXT_FORMULA.sub(r"\1", cell) if cell.startswith('="') else cell for cell in cells]
        broken = {n: "has a line break; is a quotation mark closed too late?" for n, c in enumerate(texts) if "\n" in c}
        yield _Line(place, texts, broken)


def _describe_csv_error(error: str) -> str:
    if "unexpected end" in error:
        return "a quotation mark that begins here is never closed"
    if "field limit" in error:
        return f"a cell has more than {csv.field_size_limit():,} characters; is a quotation mark never closed?"
    if "expected after" in error:
        return "a cell goes on after its closing quotation mark; write a quotation mark inside a cell twice"
    return error


def _read_workbook(data: bytes, name: str, needed: Sequence[str]) -> list[_Line]:
    """Return the visible sheet that names the most of the needed columns, or else the first that is not empty."""
    try:
        _check_parts(data, name)
        sheets = dict(_read_sheets(data, name))
    except UnreadableTableError:
        raise
    except Exception as error:  # on a damaged workbook openpyxl may raise anything
        raise UnreadableTableError(f"{name} is a damaged Excel workbook; {_SAVE_AGAIN}") from error
    filled = {title: kept for title, lines in sheets.items() if (kept := [line for line in lines if not line.blank])}
    wanted = {fold_word(column) for column in needed}
    named = {title: len(wanted & {fold_word(cell) for cell in lines[0].cells}) for title, lines in filled.items()}
    if len(whole := [title for title, columns in named.items() if columns == len(wanted)]) > 1:
        raise UnreadableTableError(
            f"{name} has several sheets with the columns {_join(needed)}: {_join(whole)}; put all rows on one of them"
        )
    return filled[max(named, key=lambda title: named[title])] if named else []


def _check_parts(data: bytes, name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = archive.infolist()
    if "xl/workbook.xml" not in {part.filename for part in parts}:
        raise UnreadableTableError(f"{name} is neither a CSV table nor an Excel workbook (.xlsx); {_SAVE_AGAIN}")
    if sum(part.file_size for part in parts) > _LARGEST_UNPACKED_BYTES:
        raise UnreadableTableError(f"{name} unpacks to more than {_LARGEST_UNPACKED_BYTES:,} bytes; {_SAVE_AGAIN}")


def _read_sheets(data: bytes, name: str) -> Iterator[tuple[str, list[_Line]]]:
    import openpyxl  # noqa: PLC0415 - slow to import, and most tables are CSV

    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    # The results of formulas and the formulas cannot be had at once.
    formulas = openpyxl.load_workbook(io.BytesIO(data), read_only=True) if _has_formulas(data) else None
    for sheet in book.worksheets:
        if sheet.sheet_state == "visible":
            yield sheet.title, _read_sheet(sheet, formulas[sheet.title] if formulas else None, name)


def _has_formulas(data: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheets = [part for part in archive.namelist() if part.startswith("xl/worksheets/")]
        return any(_FORMULA.search(archive.read(part)) for part in sheets)


def _read_sheet(sheet: "ReadOnlyWorksheet", formulas: "ReadOnlyWorksheet | None", name: str) -> list[_Line]:
    sheet.reset_dimensions()  # those stated may be a million empty rows
    lines, cells = [], 0
    calculated: set[tuple[str, int]] = set()  # cells with a text as result of a formula, which may be empty
    for number, row in enumerate(sheet.rows, start=1):
        cells += len(row)
        if number > _MOST_ROWS or cells > _MOST_CELLS:
            raise UnreadableTableError(f"{name} has more than {_MOST_ROWS:,} rows or {_MOST_CELLS:,} cells")
        if not row:
            continue
        problems = {n: problem for n, cell in enumerate(row) if (problem := _describe_cell(cell))}
        lines.append(_Line(f"row {number}", [_cell_text(cell) for cell in row], problems))
        calculated |= {(lines[-1].place, n) for n, cell in enumerate(row) if cell.data_type == "str"}
    return lines if formulas is None else _mark_formulas(lines, formulas, calculated)


def _mark_formulas(
    lines: Sequence[_Line], formulas: "ReadOnlyWorksheet", calculated: Collection[tuple[str, int]]
) -> list[_Line]:
    """Return the lines with a problem where a cell has a formula and no result, not even an empty text."""
    formulas.reset_dimensions()
    by_place = {line.place: line for line in lines}
    for number, row in enumerate(formulas.rows, start=1):
        if (line := by_place.get(f"row {number}")) is None:
            continue
        problems = {
            n: _NO_RESULT
            for n, cell in enumerate(row)
            if cell.data_type == "f" and not line.cells[n] and (line.place, n) not in calculated
        }
        by_place[line.place] = replace(line, problems=line.problems | problems)
    return list(by_place.values())


def _describe_cell(cell: "Cell | MergedCell") -> str:
    """Return why a cell cannot be used; "" if it can."""
    if isinstance(cell.value, date | time | timedelta):
        return (
            f"was stored by Excel as a date or time ({cell.value}); format the column as text and type the cell again"
        )
    if isinstance(cell.value, int | float) and abs(cell.value) >= _EXACT_BELOW:
        return (
            "is a number longer than the 15 digits that Excel keeps; format the column as text and type the cell again"
        )
    return f"is an Excel error ({cell.value})" if cell.data_type == "e" else ""


def _cell_text(cell: "Cell | MergedCell") -> str:
    value = cell.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and _ZEROS.fullmatch(cell.number_format):
        return str(value).zfill(len(cell.number_format))
    return "" if value is None else str(value)


def _find_columns(cells: Sequence[str], wanted: Sequence[str], name: str, place: str) -> dict[str, int]:
    found: dict[str, int] = {}
    by_word = {fold_word(column): column for column in wanted}
    for position, cell in enumerate(cells):
        column = by_word.get(fold_word(cell))
        if column in found:
            raise UnreadableTableError(f"{name}, {place}: the column {column} is named twice")
        if column is not None:
            found[column] = position
    return found


def _check_header(line: _Line, places: dict[str, int], needed: Sequence[str], name: str) -> None:
    if missing := [column for column in needed if column not in places]:
        seen = ", ".join(repr(cell.strip()) for cell in line.cells if cell.strip())
        raise UnreadableTableError(
            f"{name} has no column {_join(missing)}: {line.place} must name the columns {_join(needed)}, but has {seen}"
        )


def _row(line: _Line, places: dict[str, int], columns: tuple[str, ...], width: int, name: str) -> Row:
    surplus = [cell for cell in line.cells[width:] if fold_text(cell)]
    if surplus:
        raise UnreadableTableError(
            f"{name}, {line.place}: {count_words(len(line.cells), 'cell')} in {count_words(width, 'column')}; "
            "write a cell that contains the separator in quotation marks"
        )
    for column, position in places.items():
        if position in line.problems:
            raise UnreadableTableError(f"{name}, {line.place}, column {column}: the cell {line.problems[position]}")
    known = {column: line.cells[position] for column, position in places.items() if position < len(line.cells)}
    return Row(line.place, columns, tuple(known.get(column, "") for column in columns))


def _join(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
