"""The CSV files: a reader's own reads, the epochs of a training run."""

import csv
import io
from datetime import UTC, datetime

from openpyxl import load_workbook

from core.run_history import read_lines
from db import store
from db.values.reading import Opinion, Read, Stage
from pages.ui.csv_tables import history_csv, reads_csv
from tests.helpers.rows import OPENED
from tests.helpers.runs.histories import epoch_line, run_lines
from tests.helpers.world import World

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read(note: str) -> Read:
    opinion = Opinion("malignant", 4, note=note)
    return Read(7, 3, "reader", Stage.FIRST, opinion, False, NOON, NOON, None)


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def test_every_read_is_one_line() -> None:
    line = rows(reads_csv([read('two\nlines, "quoted"')], {3: "C-0003"}).data)[0]
    assert (line["case"], line["label"], line["confidence"]) == ("C-0003", "malignant", "4")
    assert line["note"] == 'two\nlines, "quoted"'
    assert line["saved_at"] == "2026-03-01T12:00:00+00:00"


def test_a_note_cannot_act_as_a_formula() -> None:
    notes = [rows(reads_csv([read(note)], {}).data)[0]["note"] for note in ("=1+1", "@SUM(A1)", "-1", "+1")]
    assert all(note.startswith("'") for note in notes)


def test_other_content_is_another_file_name() -> None:
    assert reads_csv([read("a")], {}).name != reads_csv([read("b")], {}).name


def test_every_epoch_is_one_line() -> None:
    lines = rows(history_csv(read_lines(run_lines() + epoch_line("whole", 1, validation=False))).data)
    assert [line["part"] for line in lines] == ["fold 1"] * 6 + ["fold 2"] * 6 + ["whole"]
    assert (lines[3]["epoch"], lines[3]["phase"], lines[3]["loss"]) == ("4", "all", "0.25")
    assert (lines[3]["validation_auc"], lines[-1]["validation_auc"]) == ("0.9", "")


def test_own_reads_in_both_files_are_those_of_the_reader_oldest_first(world: World) -> None:
    cases = [world.add_case(seed) for seed in (1, 2)]
    with world.sessions.begin() as session:
        for case_id in cases:
            store.reads.record_first_read(session, case_id, world.reader, Opinion("benign", 3, note="=1+1"), OPENED)
    with world.sessions.read() as session:
        own = store.reads.each_own_read(session, world.reader)
        file = reads_csv(own, store.reads.own_accessions(session, world.reader))
    # The rows are on the disk: no session is open any more.
    assert [(row["case"], row["note"]) for row in rows(file.data)] == [("C-0001", "'=1+1"), ("C-0002", "'=1+1")]
    sheet = load_workbook(io.BytesIO(file.make_workbook()))["table"]
    assert [row[0].value for row in sheet.iter_rows(min_row=2)] == ["C-0001", "C-0002"]
