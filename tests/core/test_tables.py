"""Tables as people bring them: every dialect gives the same rows, and what cannot be read is refused in words."""

import codecs
import io
import re
import zipfile
from collections.abc import Sequence
from datetime import date

import openpyxl
import pytest
from openpyxl.worksheet.worksheet import Worksheet

from core.tables import Row, UnreadableTableError, read_table

COLUMNS = ("file", "label", "patient_id")
ROWS = [("a.png", "benign", "P1"), ("b.png", "malignant", "Müller 2")]
PLAIN = "file,label,patient_id\na.png,benign,P1\nb.png,malignant,Müller 2\n"


def read(data: bytes | str, *, header: bool = True) -> list[Row]:
    return read_table(data.encode() if isinstance(data, str) else data, "labels.csv", COLUMNS, header=header)


def cells(data: bytes | str, *, header: bool = True) -> list[tuple[str, ...]]:
    return [row.cells for row in read(data, header=header)]


def workbook(rows: Sequence[Sequence[object]], *, formats: Sequence[str] = (), sheets: Sequence[str] = ()) -> bytes:
    """Make a workbook; `formats` are the number formats of the columns, `sheets` are empty ones in front."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    for number, name in enumerate(sheets):
        book.create_sheet(name, number)
    for row in rows:
        sheet.append(list(row))
    for column, number_format in enumerate(formats, start=1):
        for line in range(1, len(rows) + 1):
            sheet.cell(line, column).number_format = number_format
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_in_every_dialect_and_encoding(encoding: str, delimiter: str, line_end: str) -> None:
    assert cells(PLAIN.replace(",", delimiter).replace("\n", line_end).encode(encoding)) == ROWS


def test_a_table_with_a_mark_of_either_byte_order_is_read() -> None:
    text = PLAIN.replace(",", "\t")
    assert cells(codecs.BOM_UTF16_BE + text.encode("utf-16-be")) == ROWS
    assert cells(codecs.BOM_UTF16_LE + text.encode("utf-16-le")) == ROWS


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"', "sep=; ", "sep=;;;"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_the_separator_of_the_first_line_is_used(first: str, line_end: str) -> None:
    table = read(f"{first}\n{PLAIN.replace(',', ';')}".replace("\n", line_end))
    assert [row.cells for row in table] == ROWS
    assert [row.place for row in table] == ["line 3", "line 4"]


def test_a_separator_that_nobody_would_guess_is_believed() -> None:
    assert cells("sep=|\n" + PLAIN.replace(",", "|")) == ROWS
    assert cells("sep=\t\n" + PLAIN.replace(",", "\t")) == ROWS


@pytest.mark.parametrize(
    "header",
    [
        "File,Label,Patient_ID",
        " file , label , patient_id ",
        "FILE,LABEL,PATIENT ID",
        "file,label,Patient-ID",
        "\u00a0file,label,patient_id\u200b",
        '"file","label","patient_id"',
        '"file", "label", "patient_id"',
    ],
)
def test_names_of_columns_are_found_whatever_their_case_and_blanks(header: str) -> None:
    assert cells(PLAIN.replace("file,label,patient_id", header)) == ROWS


def test_columns_may_come_in_any_order_and_beside_others() -> None:
    text = "note;patient_id;label;file;\n;P1;benign;a.png;\n;Müller 2;malignant;b.png;\n"
    assert cells(text) == ROWS


def test_a_semicolon_table_with_commas_in_it_is_a_semicolon_table() -> None:
    assert cells("file;label;patient_id\na,1.png;benign;Doe, Jane\n") == [("a,1.png", "benign", "Doe, Jane")]


@pytest.mark.parametrize("empty", ["", ",,", ",,,,,", "   ", '"","",""', "\u00a0,,"])
def test_empty_rows_are_ignored_and_still_counted(empty: str) -> None:
    table = read(
        f"{empty}\nfile,label,patient_id\n{empty}\na.png,benign,P1\n{empty}\nb.png,malignant,Müller 2\n{empty}\n"
    )
    assert [row.cells for row in table] == ROWS
    assert [row.place for row in table] == ["line 4", "line 6"]


def test_cells_that_a_short_row_lacks_are_empty() -> None:
    assert cells("file,label,patient_id\na.png\nb.png,benign\n") == [("a.png", "", ""), ("b.png", "benign", "")]


def test_an_optional_column_is_empty_where_there_is_none() -> None:
    (row,) = read_table(b"file,mpp\na.png,0.5\n", "t", ("file",), ("magnification", "mpp"))
    assert (row["file"], row["magnification"], row["mpp"]) == ("a.png", "", "0.5")


def test_a_table_without_a_header_has_its_columns_in_order() -> None:
    text = "a.png;benign;P1\nb.png;malignant;Müller 2\n"
    assert cells(text, header=False) == ROWS
    assert cells("patient_id;label;file\nP1;benign;a.png\n", header=False) == [("a.png", "benign", "P1")]
    with pytest.raises(UnreadableTableError, match="line 1 must name the columns"):
        read(text)


def test_a_text_that_a_program_wrote_as_a_formula_is_that_text() -> None:
    assert cells('file,label,patient_id\na.png,benign,="007"\n')[0] == ("a.png", "benign", "007")


def test_a_workbook_is_read_like_a_table() -> None:
    table = read(workbook([COLUMNS, ROWS[0], (), (None, None, " "), ROWS[1]]))
    assert [row.cells for row in table] == ROWS
    assert [row.place for row in table] == ["row 2", "row 5"]


def test_numbers_of_a_workbook_are_read_as_they_are_shown() -> None:
    rows = [COLUMNS, ("a.png", "benign", 7), ("b.png", "benign", 8.0), ("c.png", "benign", "009"), ("d.png", 1, 2.5)]
    assert [row[2] for row in cells(workbook(rows, formats=("General", "General", "000")))] == [
        "007",
        "008",
        "009",
        "2.5",
    ]
    assert [row[2] for row in cells(workbook(rows))] == ["7", "8", "009", "2.5"]


def test_the_sheet_that_names_the_columns_is_read() -> None:
    assert cells(workbook([COLUMNS, *ROWS], sheets=("empty", "also empty"))) == ROWS
    book = openpyxl.load_workbook(io.BytesIO(workbook([COLUMNS, *ROWS])))
    book.create_sheet("About", 0).append(["Collected in 2024"])
    out = io.BytesIO()
    book.save(out)
    assert cells(out.getvalue()) == ROWS


def with_sheet(data: bytes, title: str, rows: Sequence[Sequence[object]], place: int | None = None) -> bytes:
    book = openpyxl.load_workbook(io.BytesIO(data))
    sheet = book.create_sheet(title, place)
    for row in rows:
        sheet.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_the_sheet_that_names_the_most_columns_is_read() -> None:
    assert cells(with_sheet(workbook([COLUMNS, *ROWS]), "Files", [("File", "Note"), ("a.png", "ok")], 0)) == ROWS


def test_no_sheet_of_several_that_fit_is_left_out_without_a_word() -> None:
    two = with_sheet(workbook([COLUMNS, ROWS[0]]), "Second site", [COLUMNS, ROWS[1]])
    with pytest.raises(
        UnreadableTableError, match=r"several sheets with the columns .*: Sheet and Second site; put all"
    ):
        read(two)
    book = openpyxl.load_workbook(io.BytesIO(two))
    book["Second site"].sheet_state = "hidden"
    out = io.BytesIO()
    book.save(out)
    assert cells(out.getvalue()) == ROWS[:1]


@pytest.mark.parametrize("column", [1, 2, 3])
def test_a_formula_without_a_result_is_not_an_empty_cell(column: int) -> None:
    row = ["a.png", "benign", "P1"]
    row[column - 1] = '="x"'
    with pytest.raises(UnreadableTableError, match=rf"row 2, column {COLUMNS[column - 1]}: the cell is a formula"):
        read(workbook([COLUMNS, row]))


def test_a_row_of_formulas_without_results_is_not_an_empty_row() -> None:
    with pytest.raises(UnreadableTableError, match="row 3, column file: the cell is a formula without a result"):
        read(workbook([COLUMNS, ROWS[0], ("=A2", "=B2", "=C2")]))


def test_a_formula_with_its_result_is_read() -> None:
    data = workbook([COLUMNS, ("a.png", "benign", "=3+4")])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name.replace("/", "__"): archive.read(name) for name in archive.namelist()}
    sheet = "xl__worksheets__sheet1.xml"
    parts[sheet] = re.sub(rb"<f>3\+4</f><v ?/?>(</v>)?", b"<f>3+4</f><v>7</v>", parts[sheet])
    assert cells(zipped(**parts)) == [("a.png", "benign", "7")]


def test_a_formula_whose_result_is_an_empty_text_is_an_empty_cell() -> None:
    data = workbook([COLUMNS, ROWS[0], ("=A2", "=B2", "=C2")])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name.replace("/", "__"): archive.read(name) for name in archive.namelist()}
    sheet = "xl__worksheets__sheet1.xml"
    parts[sheet], calculated = re.subn(
        rb'<c r="([A-C]3)"[^>]*><f>([^<]*)</f><v ?/?>(</v>)?', rb'<c r="\1" t="str"><f>\2</f><v></v>', parts[sheet]
    )
    assert calculated == 3
    assert cells(zipped(**parts)) == [ROWS[0]]


def test_a_number_with_more_digits_than_excel_keeps_is_refused() -> None:
    assert cells(workbook([COLUMNS, ("a.png", "benign", 999_999_999_999_999)]))[0][2] == "999999999999999"
    for number in (1_000_000_000_000_000, 20240001234567890, 2.5e18):
        with pytest.raises(
            UnreadableTableError, match="row 2, column patient_id: the cell is a number longer than the 15"
        ):
            read(workbook([COLUMNS, ("a.png", "benign", number)]))


def test_what_excel_took_for_a_date_is_refused_where_it_matters() -> None:
    with pytest.raises(
        UnreadableTableError, match=r"labels.csv, row 2, column patient_id: .* a date .*2024-03-01.*text"
    ):
        read(workbook([COLUMNS, ("a.png", "benign", date(2024, 3, 1))]))
    with_date = [(*COLUMNS, "seen"), ("a.png", "benign", "P1", date(2024, 3, 1))]
    assert cells(workbook(with_date)) == [("a.png", "benign", "P1")]


def zipped(**parts: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name.replace("__", "/"), data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "labels.csv is empty; its first line must name the columns file, label and patient_id"),
        (b"\n\n,,\n", "labels.csv is empty"),
        (b"file|label|patient_id\n", "has no column file, label and patient_id: line 1 .* has 'file|label|patient_id'"),
        (b"File,patient\na,b\n", "no column label and patient_id: line 1 .* but has 'File', 'patient'"),
        (b"file,label,patient_id,Label\n", "line 1: the column label is named twice"),
        (b"file,label,patient_id\na,b,c\nMayer, Ann,benign,P1\n", "line 3: 4 cells in 3 columns"),
        (
            b'file,label,patient_id\na,b,c\n"b.png,benign,P1\n',
            "line 3: .* quotation mark that begins here is never closed",
        ),
        (b'file,label,patient_id\n"b".png,benign,P1\n', "line 2: .* goes on after its closing quotation mark"),
        (b'file,label,patient_id\n"b.png\nc.png",benign,P1\n', "line 2, column file: the cell has a line break"),
        (b"file,label,patient_id\na.png,benign," + b"P" * 10_000_000, "line 2: .* more than 131,072 characters"),
        (b'file,label,patient_id\n"' + b"a.png,benign,P1\n" * 700_000, "line 2: .* quotation mark never closed"),
        (b"\xff\xfef\x00i\x00", "columns file, label"),
        (b"\xff\xfe\x00", "not a text table in UTF-8, UTF-16"),
        (b"\x00\x01\x02\x03\x81\x8d" * 9, "not a text table"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), "old Excel workbook"),
        (
            zipped(mimetype=b"application/vnd.oasis.opendocument.spreadsheet"),
            "neither a CSV table nor an Excel workbook",
        ),
        (zipped(xl__workbook=b"").replace(b"xl/workbook", b"xl/workbooK"), "neither"),
        (workbook([COLUMNS])[:300], "damaged Excel workbook"),
        (workbook([]), "labels.csv is empty"),
        (workbook([("file", "label"), ("a", "b")]), "no column patient_id: row 1 must name"),
        (b"file,label,patient_id\n" + b"a.png,benign,P1\n" * 4_100_000, "a table may have 64,000,000"),
    ],
)
def test_what_is_no_such_table_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableTableError, match=said):
        read(data)


def test_a_workbook_that_unpacks_to_too_much_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.tables._LARGEST_UNPACKED_BYTES", 1_000_000)
    data = zipped(**{"xl__workbook.xml": b"", "xl__worksheets__sheet1.xml": bytes(1_000_001)})
    assert len(data) < 10_000
    with pytest.raises(UnreadableTableError, match="unpacks to more than 1,000,000 bytes"):
        read(data)


def test_a_cell_far_away_is_not_waited_for() -> None:
    data = workbook([COLUMNS, *ROWS])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"

    def moved_to(row: int) -> bytes:
        moved = parts | {sheet: parts[sheet].replace(b'<row r="3"', b'<row r="%d"' % row)}
        return zipped(**{name.replace("/", "__"): part for name, part in moved.items()})

    table = read(moved_to(1_048_576))
    assert ([row.cells for row in table], table[-1].place) == (ROWS, "row 1048576")
    with pytest.raises(UnreadableTableError, match="more than 1,048,576 rows"):
        read(moved_to(4_000_000_000))


def test_a_damaged_workbook_is_refused_and_nothing_else_is_raised() -> None:
    whole = workbook([COLUMNS, *ROWS])
    for start in range(0, len(whole), 97):
        damaged = whole[:start] + bytes(30) + whole[start + 30 :]
        try:
            rows = cells(damaged)
        except UnreadableTableError:
            continue
        assert len(rows) <= 2
