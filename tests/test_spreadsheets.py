"""Cells that a spreadsheet would run: all of them come out as text, and nothing else is changed."""

import csv
import io
import re
from dataclasses import replace
from functools import cache

import pytest
from openpyxl import load_workbook

from core.files import csv_bytes, escape_formula
from core.labels import BINARY
from core.run_history import read_lines
from core.statistics.evaluation import Evaluation
from core.statistics.shift import Shift
from db.values.audit import AuditEvent
from db.values.exports import ExportedCase, ExportedRead, ReadsExport
from db.values.reading import Opinion, Read, Stage
from pages.ui import csv_tables
from pages.ui.agreement import figures
from pages.ui.agreement.figures import Table
from pages.ui.csv_tables import TableFile
from tests.helpers.evaluations import made_evaluation
from tests.helpers.exports import reads_table
from tests.helpers.readings import made_readings, reading
from tests.helpers.rows import OPENED, evaluated_image
from tests.helpers.runs.histories import run_lines
from tests.helpers.shifts import shifted
from tests.hostile.words import FORMULAS

_SIGNS = "=+-@＝＋－＠﹦−"
_UNSEEN = ('"', " ", "\t", "\n", "\r\n", "\xa0", "\u3000", "\u200b", "\ufeff", "\x00", "\x0b", "\x0c", " \t \n")
CELLS = (
    *FORMULAS,
    *(f"{unseen}@SUM(A1)" for unseen in _UNSEEN),
    "﹦1",
    "−2+3",
    "-2+3+cmd|' /C calc'!A0",
    "harmless; =1+1",
    "two\u2028=1+1",
)


def is_inert(cell: str) -> bool:
    """Say whether no part at which some spreadsheet might begin a cell begins with a sign."""
    parts = re.split("[;\\t]", cell.replace("\u2028", "\n"))
    lines = [line for part in parts for line in part.splitlines()]
    return not any(line.lstrip("".join(_UNSEEN)).startswith(tuple(_SIGNS)) for line in lines)


@pytest.mark.parametrize("cell", CELLS, ids=ascii)
def test_a_formula_is_text(cell: str) -> None:
    assert not is_inert(cell), "it would act if nothing was done"
    found = escape_formula(cell)
    assert is_inert(found)
    assert found.replace("'", "") == cell.replace("'", ""), "nothing but apostrophes was added"


def test_a_formula_is_inert_in_every_export() -> None:
    assert len(FORMULAS) == 40
    for cell in FORMULAS:
        for name, data in exports_of(cell).items():
            table = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
            cells = [each for row in table for each in row]
            assert all(is_inert(each) or _is_number(each) for each in cells), (name, cell)
            assert any(each.replace("'", "") == cell.replace("'", "") for each in cells), (name, "it is there")


def test_every_table_is_a_workbook_too_that_explains_all_its_columns_and_runs_nothing() -> None:
    cell = "=1+1"
    for name, file in tables_of(cell).items():
        book = load_workbook(io.BytesIO(file.make_workbook()))
        cells = [each for row in book["table"].iter_rows() for each in row]
        assert not [each for each in cells if each.data_type == "f"], name
        assert any(each.value == cell for each in cells), (name, "it is there, as it was")
        meanings = [[each.value for each in row] for row in book["columns"].iter_rows(min_row=2)]
        assert [column for column, _ in meanings] == list(file.columns), name
        assert all(meanings), name
        written = csv.reader(io.StringIO(file.data.decode("utf-8-sig"), newline=""))
        assert sum(1 for _ in written) == book["table"].max_row, name


def exports_of(cell: str) -> dict[str, bytes]:
    """Make every export with this text wherever a text can be."""
    return {name: file.data for name, file in tables_of(cell).items()} | {
        "reads for MRMC software": reads_table(_reads(cell))
    }


def _read(cell: str) -> Read:
    opinion = Opinion("benign", 3, subtype=cell, note=cell, reason=cell)
    return Read(7, 1, cell, Stage.FIRST, opinion, False, OPENED, OPENED, None)


def _reads(cell: str) -> ReadsExport:
    case = ExportedCase(1, cell, cell, False, (), None)
    exported = ExportedRead(_read(cell), 1, 1, None, None, None, False, False)
    return ReadsExport(cell, False, True, False, (case,), (exported,))


def tables_of(cell: str) -> dict[str, TableFile]:
    """Make every table of a page with this text wherever a text can be."""
    evaluation, shift, agreed = _bases()
    named = replace(evaluation, figures=(replace(evaluation.figures[0], name=cell),))
    image = replace(evaluated_image(1, True, 0.7), name=cell, patient_id=cell, magnification=cell)
    reading_of = replace(reading(1, "benign", "malignant"), accession=cell, reader=cell, magnification=cell)
    drawn = replace(shift, source=cell, target=cell)
    part = replace(read_lines(run_lines())[0], part=cell)
    table = replace(agreed, lines=(replace(agreed.lines[0], name=cell),))
    return {
        "own reads": csv_tables.reads_csv([_read(cell)], {1: cell}),
        "readings": csv_tables.readings_csv([reading_of], {}),
        "agreement": csv_tables.agreement_csv([(cell, table)]),
        "figures": csv_tables.figures_csv(named),
        "predictions": csv_tables.predictions_csv([image], (cell, "malignant")),
        "statistics": csv_tables.statistics_csv(drawn),
        "training": csv_tables.history_csv([part]),
        "audit trail": csv_tables.events_csv([AuditEvent(OPENED, cell, cell, cell, 1)]),
    }


@cache
def _bases() -> tuple[Evaluation, Shift, Table]:
    """Measure once what every export begins with."""
    return made_evaluation(BINARY), shifted(), figures.measure_reader_model(made_readings(3))


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"-?[0-9.]+(e-?[0-9]+)?", cell) is not None


@pytest.mark.parametrize("cell", ["plain", "a - b", "C-0001", "2 = 2", "", "x@y", "3; then 4", "µm ± 2", "'quoted'"])
def test_other_words_stay_as_they_are(cell: str) -> None:
    assert escape_formula(cell) == cell


def test_numbers_stay_numbers() -> None:
    assert [escape_formula(value) for value in (-1, -0.5, True, None)] == ["-1", "-0.5", "True", ""]


def test_a_table_is_read_back_as_it_was_and_its_head_is_harmless_too() -> None:
    data = csv_bytes(("=name", "b"), [('two\nlines, "quoted"', 1.5), (None, "é")])
    assert data.startswith(b"\xef\xbb\xbf")
    assert list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))) == [
        ["'=name", "b"],
        ['two\nlines, "quoted"', "1.5"],
        ["", "é"],
    ]


class Row(list[int]):
    """A row that counts how many of its kind are alive."""

    alive = most = 0

    def __init__(self, number: int) -> None:
        super().__init__([number])
        Row.alive += 1
        Row.most = max(Row.most, Row.alive)

    def __del__(self) -> None:
        Row.alive -= 1


def test_a_csv_file_is_written_without_keeping_its_rows() -> None:
    data = csv_bytes(("number",), (Row(number) for number in range(500)))
    assert data.decode("utf-8-sig").split() == ["number", *map(str, range(500))]
    assert Row.most <= 3
