"""Tables as workbooks: in columns, with their types, their explanation, and nothing that could be run."""

import io
from collections.abc import Sequence

import pytest
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from core import workbook
from core.workbook import write_workbook
from tests.hostile.words import FORMULAS

COLUMNS = (("case", "case number"), ("n", "a number"), ("note", "the reader's note"))


def sheets(rows: Sequence[Sequence[object]]) -> dict[str, list[list[object]]]:
    book = load_workbook(io.BytesIO(write_workbook(COLUMNS, rows)))
    return {sheet.title: [[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in book.worksheets}


def table(rows: Sequence[Sequence[object]]) -> Worksheet:
    return load_workbook(io.BytesIO(write_workbook(COLUMNS, rows)))["table"]


def test_a_table_keeps_its_columns_its_types_and_its_letters() -> None:
    found = sheets([("007", 7, 'two\nlines; "quoted", Ä 张'), ("1e5", 0.5, None), ("C-1", True, float("nan"))])
    assert found["table"] == [
        ["case", "n", "note"],
        ["007", 7, 'two\nlines; "quoted", Ä 张'],
        ["1e5", 0.5, None],
        ["C-1", True, None],
    ]


def test_a_second_sheet_explains_every_column() -> None:
    assert sheets([])["columns"] == [["column", "meaning"], *map(list, COLUMNS)]


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "-2+3", "+1", *FORMULAS], ids=ascii)
def test_no_text_is_a_formula_even_when_its_cell_is_edited(text: str) -> None:
    (cell,) = next(table([(text,)]).iter_rows(min_row=2, max_col=1))
    assert cell.data_type == "s"
    assert cell.quotePrefix
    (plain,) = next(table([("C-0001",)]).iter_rows(min_row=2, max_col=1))
    assert not plain.quotePrefix


def test_characters_that_a_workbook_cannot_hold_are_replaced() -> None:
    assert sheets([("a\x00b\x0bc",)])["table"][1][0] == "a\ufffdb\ufffdc"


def test_a_full_sheet_is_continued_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "_MOST_ROWS", 2)
    found = sheets([(str(number),) for number in range(5)])
    assert list(found) == ["table", "table 2", "table 3", "columns"]
    assert [[row[0] for row in found[name][1:]] for name in list(found)[:3]] == [["0", "1"], ["2", "3"], ["4"]]


def test_a_workbook_does_not_tell_when_it_was_made() -> None:
    properties = load_workbook(io.BytesIO(write_workbook(COLUMNS, []))).properties
    assert properties.created is not None
    assert properties.created.year == 1980
