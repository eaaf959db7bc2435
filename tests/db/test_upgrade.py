"""A database of part 1 is brought up to date with every row it had, or not touched at all."""

import signal
from collections.abc import Sequence
from datetime import datetime

import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, inspect, make_url, text

from db import store
from db.audit.verify import verify
from db.database import open_database
from db.upgrade import alembic_config
from db.values.reading import CaseState
from tests.helpers import forked

AT = datetime(2026, 3, 1, 9, 30)  # noqa: DTZ001 (as SQLite keeps it)
# One row in each table of the first revision, as that version of the program wrote them.
FIRST_ROWS = (
    "INSERT INTO accounts VALUES (1, 'dr. a', 'reader', :at)",
    "INSERT INTO cases VALUES (1, 'C-0001', 1, '100X', :no, 1, :at)",
    "INSERT INTO images VALUES (1, 1, 1, 'aa', 'bb', 460, 700, 41.5, 0.62, '[]', :at)",
    "INSERT INTO predictions VALUES (1, 1, '', '', :yes, '', '[]', '[]', '[]', 0.8, 0.4, 3, 9, NULL, NULL, NULL, :at)",
    "INSERT INTO jobs VALUES (1, 1, 'done', 1, NULL, NULL, :at, :at, :at, :at)",
    "INSERT INTO reads VALUES (1, 1, 1, 'first', 'benign', 4, NULL, '', NULL, NULL, :no, NULL, NULL, :at, :at, NULL)",
    "INSERT INTO read_predictions VALUES (1, 1)",
    "INSERT INTO audit_events VALUES (90, :at, 1, 'case added', 'C-0001')",
)
FIRST_TABLES = tuple(row.split()[2] for row in FIRST_ROWS)


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    return create_engine(parsed.set(drivername="postgresql+psycopg") if "postgresql" in url else parsed)


def old_database(url: str) -> None:
    """Make a database as the first revision left it, with a row in each table."""
    engine = _engine(url)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0001")
        for row in FIRST_ROWS:
            connection.execute(text(row), {"at": AT, "yes": True, "no": False})
    engine.dispose()


def _rows(url: str, tables: Sequence[str]) -> list[list[tuple[object, ...]]]:
    engine = _engine(url)
    with engine.connect() as connection:
        found = [[tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))] for name in tables]  # noqa: S608
    engine.dispose()
    return found


def _tables(url: str) -> set[str]:
    engine = _engine(url)
    found = set(inspect(engine).get_table_names())
    engine.dispose()
    return found


def _assert_kept(url: str, before: list[list[tuple[object, ...]]]) -> None:
    after = _rows(url, FIRST_TABLES)
    # A later revision may have given a table more columns, after those that it had.
    width = [len(rows[0]) for rows in before]
    assert [[row[:columns] for row in rows] for rows, columns in zip(after, width, strict=True)][:-1] == before[:-1]
    # The audit trail has more columns, and more events: how many there were, and the seals of the rows.
    assert [row[: len(before[-1][0])] for row in after[-1][: len(before[-1])]] == before[-1]


def test_an_upgrade_keeps_every_row(database_url: str) -> None:
    old_database(database_url)
    before = _rows(database_url, FIRST_TABLES)
    assert all(len(rows) == 1 for rows in before)
    sessions = open_database(database_url)
    _assert_kept(database_url, before)
    with sessions.begin() as session:
        assert store.reads.own_reads(session, 1)[0].opinion.confidence == 4
        assert store.evaluations.evaluations(session, None) == []
        assert store.models.put_in_service(session, 1, "models/a.safetensors", "a" * 64, "a").account == "dr. a"
    sessions.dispose()


def test_old_cases_that_hold_one_number_twice_stay_two_and_are_complete(database_url: str) -> None:
    old_database(database_url)
    engine = _engine(database_url)
    numbers = ("S24-10", "s24-10", "Ä-1", "A\u0308-1", "7", "007")
    with engine.begin() as connection:
        for case_id, number in enumerate(numbers, start=2):
            row = "INSERT INTO cases VALUES (:id, :number, NULL, NULL, :no, 1, :at)"
            connection.execute(text(row), {"id": case_id, "number": number, "at": AT, "no": False})
    engine.dispose()
    sessions = open_database(database_url)
    with sessions.begin() as session:
        found = store.studies.find_cases(session, 1, [*numbers, "S24-10 ", "ä-1", "c-0001"])
        assert found == [2, 3, 4, 5, 6, 7, 2, 4, 1]
        assert store.worklist.case_state(session, 1, 1) is CaseState.REVEALED
        for number in ("S24-10", "ä-1", "7.0", "C-0001 "):
            with pytest.raises(ValueError, match="there is already a case"):
                store.cases.add_case(session, 1, accession=number, magnification=None)
    assert verify(sessions).findings == ()
    sessions.dispose()


def test_old_predictions_and_marks_stay_and_their_images_have_no_scale(database_url: str) -> None:
    old_database(database_url)
    engine = _engine(database_url)
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), "0011")
        connection.execute(text("INSERT INTO regions VALUES (1, 1, 1, 'box', '[[1, 2], [3, 4]]', 'n')"))
    engine.dispose()
    before = _rows(database_url, ("predictions", "regions"))
    sessions = open_database(database_url)
    predictions, regions = _rows(database_url, ("predictions", "regions"))
    assert [row[:-1] for row in predictions] == before[0]
    assert [row[-1] for row in predictions] == [None]
    assert regions == before[1]
    with sessions.read() as session:
        assert store.open_case.case_images(session, 1)[0].scale is None
    # Only the mark, which the program did not add.
    assert [found.row for found in verify(sessions).findings] == ["reads 1"]
    sessions.dispose()


# Kills itself as soon as the upgrade reaches a statement that has these words.
_KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from db.database import open_database

@event.listens_for(Engine, "before_cursor_execute")
def strike(connection, cursor, statement, parameters, context, executemany):
    if sys.argv[2] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

open_database(sys.argv[1])
"""


@pytest.mark.parametrize(
    "words",
    [
        *("CREATE TABLE evaluated_images", "CREATE TRIGGER deployments", "version_num='0002'"),
        *("DROP TRIGGER audit_events_no_delete", "UPDATE audit_events", "INSERT INTO audit_events"),
        *("CREATE TRIGGER audit_events_no_delete", "version_num='0003'"),
        *("CREATE TABLE study_places", "INDEX uq_reads_place_first", "TRIGGER reads_no_update", "version_num='0007'"),
        *("CREATE TABLE read_images", "INSERT INTO case_numbers", "INDEX uq_case_numbers_folded"),
        *("CREATE TABLE image_scales", "INDEX uq_predictions_without_scale"),
    ],
)
def test_an_upgrade_that_is_killed_changes_nothing_and_succeeds_the_next_time(database_url: str, words: str) -> None:
    old_database(database_url)
    tables, before = _tables(database_url), _rows(database_url, (*FIRST_TABLES, "alembic_version"))
    killed = forked.run(_KILLED, database_url, words)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert _tables(database_url) == tables
    assert _rows(database_url, (*FIRST_TABLES, "alembic_version")) == before
    open_database(database_url).dispose()
    assert _tables(database_url) > tables
    _assert_kept(database_url, before[:-1])
