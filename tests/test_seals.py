"""A row of a sealed table that somebody edits, deletes, adds or swaps behind the program's back is found and named."""

import random
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Boolean, Connection, DateTime, Float, Integer, inspect, text

from db import store
from db.access_models import Base
from db.audit_chain import GENESIS, Link
from db.audit_values import Finding, Seal
from db.audit_verify import verify
from db.reading_models import Assignment, Consensus, ConsensusRead, Priority, SignOff, Study, StudyPlace
from db.reading_values import Arm, Severity
from db.seal_verify import kept_as_written, tables_there
from db.seals import SEALED, seal
from db.session import Sessions, open_as_it_is, open_database
from tests.conftest import with_tables
from tests.sealed import behind_the_back, engine_of, filled
from tests.stored import BENIGN, OPENED, at_once, make_case, make_reader, revealed_case
from tests.stress import amount
from tests.test_migrations import NEVER_CHANGED

READS = 13  # of the filled database
TAMPERINGS = amount(200, 24)
READ_COLUMNS = [column.name for column in Base.metadata.tables["reads"].columns]

Chance = random.Random


@pytest.fixture
def url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> str:
    """URL of a filled database, once on SQLite and once on PostgreSQL."""
    with_tables(request, database_url)
    filled(database_url, tmp_path).dispose()
    return database_url


def looked_at(url: str, data: Path) -> Sequence[Finding]:
    sessions = open_as_it_is(url, data=data)
    found = verify(sessions).findings
    sessions.dispose()
    return found


def rows_named(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    return {(found.kind, found.row) for found in findings}


def test_the_format_of_an_event_that_tells_of_a_row_never_changes() -> None:
    plain = Link(GENESIS, 7, OPENED, None, "case opened", 'C-0001 é\n"')
    assert plain.hash == "eee8107aae72b5956407844f3da0ff76ffbc85faa9bbdcad603c730a3d7d4d3d"
    told = Link(GENESIS, 7, OPENED, None, "case opened", 'C-0001 é\n"', Seal("reads 7", "a" * 64))
    assert told.hash == "4d4bbb8baf0e731137cd889e325663cac6e1f04ab2cdf5e7f1bd11fa4e35d2af"


def test_whole_rows_are_no_finding_and_every_sealed_row_is_looked_at(url: str, tmp_path: Path) -> None:
    sessions = open_as_it_is(url, data=tmp_path)
    found = verify(sessions)
    with sessions.read() as session:
        tables = [one.table for one in SEALED]
        counted = sum(session.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in tables)  # noqa: S608
    sessions.dispose()
    assert found.findings == ()
    assert found.rows == counted == READS + 4 + 3


def other(value: object, kind: object) -> object:
    """Give a value that is not the one that stands there, and fits the column."""
    if isinstance(kind, Boolean):
        return not value
    if isinstance(kind, Float):
        return float(value or 0) + 1e-9 if isinstance(value, float | None) else 0.5
    if isinstance(kind, Integer):
        return 1 if value is None else int(str(value)) + 100
    if isinstance(kind, DateTime):
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        assert isinstance(at, datetime)
        moved = at + timedelta(microseconds=1)
        return str(moved) if isinstance(value, str) else moved
    return "x" if value is None else f"{value}x"


def edit(connection: Connection, table: str, column: str, where: str) -> object:
    """Change one column of one row to something else, and give what stood there."""
    query = text(f"SELECT {column} FROM {table} WHERE {where}")  # noqa: S608
    kinds = {one["name"]: one["type"] for one in inspect(connection).get_columns(table)}
    before = connection.execute(query).scalar_one()
    value = other(before, kinds[column])
    changed = connection.execute(text(f"UPDATE {table} SET {column} = :value WHERE {where}"), {"value": value})  # noqa: S608
    assert changed.rowcount == 1
    return before


def test_an_edit_of_any_column_of_a_read_is_found(url: str, tmp_path: Path) -> None:
    for number, column in enumerate(READ_COLUMNS):
        row = 1 + number % READS
        with behind_the_back(url) as connection:
            before = edit(connection, "reads", column, f"id = {row}")
        named = rows_named(looked_at(url, tmp_path))
        # Under another number it is a row that nobody told of, and the one that was told of is gone.
        moved = {("missing", f"reads {row}"), ("inserted", f"reads {row + 100}")}
        if column != "id":
            assert named == {("changed", f"reads {row}")}, column
        else:
            assert moved <= named <= {*moved, ("changed", f"reads {row}")}
            row += 100
        with behind_the_back(url) as connection:
            words = text(f"UPDATE reads SET {column} = :before WHERE id = {row}")  # noqa: S608
            connection.execute(words, {"before": before})
    assert looked_at(url, tmp_path) == ()


def insert_copy(connection: Connection, of: int, number: int) -> None:
    names = ", ".join(column for column in READ_COLUMNS if column not in ("id", "supersedes_id"))
    words = f"INSERT INTO reads (id, {names}) SELECT {number}, {names} FROM reads WHERE id = {of}"  # noqa: S608
    connection.exec_driver_sql(words)


def exchange_numbers(connection: Connection, first: int, second: int) -> None:
    for old, new in ((first, -1), (second, first), (-1, second)):
        connection.exec_driver_sql(f"UPDATE reads SET id = {new} WHERE id = {old}")  # noqa: S608


# Each is done after the one before it; what was found stays found.
WAYS: tuple[tuple[str, set[tuple[str, str]]], ...] = (
    ("DELETE FROM reads WHERE id = 5", {("missing", "reads 5")}),
    ("DELETE FROM read_predictions WHERE read_id = 2 AND prediction_id = 1", {("changed", "reads 2")}),
    ("INSERT INTO read_predictions VALUES (1, 3)", {("changed", "reads 1")}),
    ("UPDATE predictions SET malignant_probability = 0.9 WHERE id = 2", {("changed", "predictions 2")}),
    ("UPDATE predictions SET classes = '[]' WHERE id = 3", {("changed", "predictions 3")}),
    ("UPDATE evaluated_images SET label = 'x' WHERE position = 1", {("changed", "evaluations 1")}),
    ("UPDATE deployments SET name = 'b'", {("changed", "deployments 1")}),
    ("DELETE FROM shifts", {("missing", "shifts 1")}),
    ("DELETE FROM deployments", {("missing", "deployments 1")}),
    ("DELETE FROM reads WHERE id > 2", {("missing", f"reads {number}") for number in range(3, READS + 1)}),
)


def test_what_is_done_to_any_sealed_table_is_found(url: str, tmp_path: Path) -> None:
    expected: dict[str, str] = {}
    for words, found in WAYS:
        with behind_the_back(url) as connection:
            connection.exec_driver_sql(words)
        expected |= {row: kind for kind, row in found}
        findings = looked_at(url, tmp_path)
        assert {one.row: one.kind for one in findings} == expected, words
        assert all(one.first > 0 for one in findings)


def test_a_sealed_table_that_is_gone_is_found_row_by_row(url: str, tmp_path: Path) -> None:
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE shifts")
    engine.dispose()
    assert rows_named(looked_at(url, tmp_path)) == {("missing", "shifts 1")}


def test_a_row_that_somebody_adds_or_exchanges_with_another_is_found(url: str, tmp_path: Path) -> None:
    with behind_the_back(url) as connection:
        insert_copy(connection, 3, 70)
        exchange_numbers(connection, 5, 9)
    named = rows_named(looked_at(url, tmp_path))
    assert named == {("inserted", "reads 70"), ("changed", "reads 5"), ("changed", "reads 9")}


def test_a_value_that_the_program_could_not_read_is_found_and_stops_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    filled(url, tmp_path).dispose()
    with behind_the_back(url) as connection:
        connection.exec_driver_sql("UPDATE reads SET saved_at = 'yesterday' WHERE id = 1")
        connection.exec_driver_sql("UPDATE reads SET note = x'00ff' WHERE id = 3")
        connection.exec_driver_sql("UPDATE reads SET model_visible = 2 WHERE id = 5")
        connection.exec_driver_sql("UPDATE predictions SET probabilities = '[0.1' WHERE id = 1")
    named = rows_named(looked_at(url, tmp_path))
    assert named == {("changed", row) for row in ("reads 1", "reads 3", "reads 5", "predictions 1")}


def test_a_forged_seal_breaks_the_chain(url: str, tmp_path: Path) -> None:
    with behind_the_back(url) as connection:
        connection.exec_driver_sql("UPDATE reads SET note = 'other' WHERE id = 4")
        (number,) = connection.exec_driver_sql("SELECT id FROM audit_events WHERE content_of = 'reads 4'").one()
        connection.exec_driver_sql(f"UPDATE audit_events SET content_of = NULL WHERE id = {number}")  # noqa: S608
    findings = looked_at(url, tmp_path)
    assert ("changed", number) in {(found.kind, found.first) for found in findings}
    assert ("inserted", "reads 4") in rows_named(findings)


def test_a_column_that_a_later_version_adds_leaves_the_seals_as_they_are(url: str, tmp_path: Path) -> None:
    with behind_the_back(url) as connection:
        connection.exec_driver_sql("ALTER TABLE reads ADD COLUMN added_later TEXT")
    assert looked_at(url, tmp_path) == ()
    with behind_the_back(url) as connection:
        connection.exec_driver_sql("UPDATE reads SET added_later = 'x' WHERE id = 2")
    assert rows_named(looked_at(url, tmp_path)) == {("changed", "reads 2")}


def test_a_missing_trigger_of_a_sealed_table_is_told(url: str, tmp_path: Path) -> None:
    engine = engine_of(url)
    on = " ON reads" if "postgresql" in url else ""
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TRIGGER reads_no_delete{on}")
    engine.dispose()
    words = "unprotected: the trigger that refuses to delete reads is missing"
    assert [str(found) for found in looked_at(url, tmp_path)] == [words]


def test_nothing_is_found_while_readers_go_on_saving(database_url: str, tmp_path: Path) -> None:
    sessions = open_database(database_url, data=tmp_path)
    with sessions.begin() as session:
        first = make_reader(session)
        cases = [make_case(session, first) for _ in range(15)]
        readers = [make_reader(session, f"dr. {number}") for number in range(3)]

    def work(number: int) -> list[Sequence[Finding]]:
        if number:
            for case_id in cases:
                with sessions.begin() as session:
                    store.record_first_read(session, case_id, readers[number - 1], BENIGN, OPENED)
            return []
        return [verify(sessions).findings for _ in range(8)]

    looked, *others = at_once(4, work)
    assert others == [[]] * 3
    assert looked == [()] * 8
    assert verify(sessions).rows == 45
    sessions.dispose()


def test_every_table_whose_rows_are_never_changed_is_sealed(sessions: Sessions) -> None:
    with sessions.read() as session:
        tables = tables_there(session.connection())
    assert {*kept_as_written(tables), "audit_events"} == set(NEVER_CHANGED)
    named = {one.table for one in SEALED} | {linked.table for one in SEALED for linked in one.linked}
    assert named <= set(Base.metadata.tables)


# What is done to a table, and the row that is named for it.
READING_ROWS = (
    ("UPDATE assignments SET active = NOT active", "changed", "assignments 1"),
    ("DELETE FROM priorities", "missing", "priorities 1"),
    ("UPDATE consensus SET severity = 'none'", "changed", "consensus 1"),
    ("DELETE FROM consensus_reads", "changed", "consensus 1"),
    ("UPDATE sign_offs SET note = 'other'", "changed", "sign_offs 1"),
    ("UPDATE study_places SET position = 9", "changed", "studies 1"),
    ("UPDATE studies SET name = 'other'", "changed", "studies 1"),
    ("UPDATE regions SET points = '[[1, 1]]'", "changed", "reads 1"),
)


def test_rows_of_studies_and_adjudication_are_sealed_with_what_belongs_to_them(
    sessions: Sessions, database_url: str, tmp_path: Path
) -> None:
    reader = revealed_case(sessions)
    case_id, by, at = reader.case_id, reader.account_id, OPENED
    study = Study(name="s", seed=1, washout_days=0, counterbalanced=False, created_by_id=by, created_at=at)
    consensus = Consensus(
        case_id=case_id, account_id=by, blind_read_id=1, severity=Severity.MAJOR, note="", opened_at=at, saved_at=at
    )
    whole: list[tuple[Base, Base | None]] = [
        (Assignment(case_id=case_id, account_id=by, active=True, by_id=by, at=at), None),
        (Priority(case_id=case_id, urgent=True, by_id=by, at=at), None),
        (SignOff(case_id=case_id, version=1, account_id=by, note="", why="", saved_at=at), None),
        (consensus, ConsensusRead(consensus_id=1, read_id=1)),
        (
            study,
            StudyPlace(study_id=1, account_id=by, case_id=case_id, round=1, arm=Arm.UNAIDED, iteration=1, position=1),
        ),
    ]
    with sessions.begin() as session:
        for row, linked in whole:
            session.add(row)
            session.flush()
            session.add_all([linked] if linked else [])
            store.record_event(session, by, "made", "x", content=seal(session, row))
    with sessions.begin() as session:
        study.closed_at = at
        session.merge(study)
    assert verify(sessions).findings == ()
    named: set[tuple[str, str]] = set()
    for words, kind, row_named in READING_ROWS:
        with behind_the_back(database_url) as connection:
            if "regions" in words:
                image = connection.exec_driver_sql("SELECT id FROM images").scalar_one()
                connection.exec_driver_sql(f"INSERT INTO regions VALUES (1, 1, {image}, 'point', '[[2, 2]]', '')")  # noqa: S608
            connection.exec_driver_sql(words)
        named.add((kind, row_named))
        assert rows_named(verify(sessions).findings) == named, words


def random_edit(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    column, row = chance.choice([name for name in READ_COLUMNS if name != "id"]), chance.randint(1, READS)
    edit(connection, "reads", column, f"id = {row}")
    return {("changed", f"reads {row}")}


def random_delete(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    gone = chance.sample(range(1, READS + 1), chance.randint(1, 3))
    for row in gone:
        connection.exec_driver_sql(f"DELETE FROM reads WHERE id = {row}")  # noqa: S608
    return {("missing", f"reads {row}") for row in gone}


def random_copy(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    number = READS + chance.randint(1, 90)
    insert_copy(connection, chance.randint(1, READS), number)
    return {("inserted", f"reads {number}")}


def random_exchange(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    first, second = chance.sample(range(1, READS + 1), 2)
    exchange_numbers(connection, first, second)
    return {("changed", f"reads {row}") for row in (first, second)}


def random_shown(connection: Connection, chance: Chance) -> set[tuple[str, str]]:
    reads = [row for (row,) in connection.exec_driver_sql("SELECT DISTINCT read_id FROM read_predictions")]
    row = chance.choice(sorted(reads))
    shown = f"(SELECT min(prediction_id) FROM read_predictions WHERE read_id = {row})"  # noqa: S608
    words = f"UPDATE read_predictions SET prediction_id = 99 WHERE read_id = {row} AND prediction_id = {shown}"  # noqa: S608
    connection.exec_driver_sql(words)
    return {("changed", f"reads {row}")}


RANDOM = (random_edit, random_edit, random_delete, random_copy, random_exchange, random_shown)


@pytest.mark.slow
def test_random_tamperings_with_reads_are_all_found_and_nothing_else_is_named(tmp_path: Path) -> None:
    made = tmp_path / "made"
    filled(f"sqlite:///{made / 'a.sqlite'}", made).dispose()
    missed = []
    for number in range(TAMPERINGS):
        folder = tmp_path / str(number)
        shutil.copytree(made, folder)
        url = f"sqlite:///{folder / 'a.sqlite'}"
        way = RANDOM[number % len(RANDOM)]
        with behind_the_back(url) as connection:
            expected = way(connection, random.Random(number))  # noqa: S311 (no secret)
        if (named := rows_named(looked_at(url, folder))) != expected:
            missed.append((number, way.__name__, expected, named))
        shutil.rmtree(folder)
    assert missed == []
