"""Rows that were there before rows were sealed are sealed by the upgrade, anchored, or nothing is changed."""

import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import make_url, text

from db import store
from db.audit.anchor import anchor_for
from db.audit.chain import AddedEvents, Link
from db.audit.trail import record_event
from db.audit.verify import verify
from db.database import Sessions, open_database
from db.upgrade import alembic_config
from db.values.audit import Verification
from tests.db.test_upgrade import AT, FIRST_ROWS, FIRST_TABLES
from tests.helpers import forked
from tests.helpers.tampering import engine_of, without_triggers

# Whatever the database and the version: another digest of the same row would be a finding in every upgraded database.
SEALS = {
    "reads 1": "d66c797b6d2c7c5a23c9400ddde6912b359e082646fc3dc7c379ee6938d2272f",
    "predictions 1": "91a630c50ed4b2ecabaf91bf727c97338d54d1f08ad2921603795402dcbedebd",
    "evaluations 1": "4371557667e9aa6d7dd25a4480a734e1e59b3370cd1fe5b2badceeb1f31362db",
    "shifts 1": "0a8794509062ff20e02fb2a80054a7448fce94e9121ff89116fda6dc4ca3180d",
    "deployments 1": "a3cc68666a36e6d2d798c88293599a55a0a80a82757eba32092ebae57f25294c",
    "accounts 1": "76d10bdaf78320f1606817d6b49ed6001029ff90c35cb3b66402e3b710c2f8b2",
    "cases 1": "73bc28a0a8b05001c523b9e6000809701720341b98e889d7dc065f79c30e904c",
    "jobs 1": "f984c65a6109ed66873d2b2bb1b3a77fe7f1b339a649c3fb38101d0220c55eb2",
}
SECOND_ROWS = (
    "INSERT INTO evaluations VALUES (1, :at, 'hybrid', '3f9a1c22b0e4', 'breakhis', 'test', 'evaluations/1', 1, '{}')",
    "INSERT INTO evaluated_images VALUES (1, 1, 'a', 'p', '4', 'x', 'x', :yes, :yes, 0.5, 0.5, '[0, 1.0]', NULL, NULL)",
    "INSERT INTO shifts VALUES (1, :at, 'breakhis', 'bach', '3f9a1c22b0e4', '{}')",
    "INSERT INTO deployments VALUES (1, :at, NULL, 'models/a.safetensors', 'aa', 'a')",
)


@dataclass(frozen=True, slots=True)
class Old:
    """A database of revision 0004 with rows in all sealed tables of that time, and its anchor."""

    url: str
    data: Path

    def rows(self) -> list[list[tuple[object, ...]]]:
        """Give every row of the first tables, in the columns that they had."""
        engine = engine_of(self.url)
        with engine.connect() as connection:
            found = [
                [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name} ORDER BY 1"))]  # noqa: S608
                for name in (*FIRST_TABLES, "evaluations", "evaluated_images", "shifts", "deployments")
            ]
        engine.dispose()
        return found

    def opened(self) -> Sessions:
        return open_database(self.url, data=self.data)


@pytest.fixture
def old(database_url: str, tmp_path: Path) -> Old:
    """A database of revision 0004, once on SQLite and once on PostgreSQL."""
    at_revision(database_url, "0004")
    engine = engine_of(database_url)
    with engine.begin() as connection:
        number, previous = connection.execute(text("SELECT id, hash FROM audit_events ORDER BY id DESC LIMIT 1")).one()
        link = Link(previous, number + 1, datetime.now(UTC), 1, "first read saved", "C-0001")
        words = text(
            "INSERT INTO audit_events (id, at, account_id, action, subject, previous_hash, hash) "
            "VALUES (:id, :at, 1, :action, :subject, :previous, :hash)"
        )
        at = link.at if connection.dialect.name == "postgresql" else link.at.replace(tzinfo=None)
        row = {"id": link.number, "at": at, "action": link.action, "subject": link.subject}
        connection.execute(words, row | {"previous": previous, "hash": link.hash})
    engine.dispose()
    heads = anchor_for(make_url(database_url), tmp_path)
    assert heads
    heads.begin(AddedEvents(number, number, previous))
    heads.announce(AddedEvents(link.number, link.number, link.hash))
    heads.confirm(AddedEvents(link.number, link.number, link.hash))
    return Old(database_url, tmp_path)


def at_revision(url: str, revision: str) -> None:
    """Make a database as an old version left it, with a row in each table."""
    engine = engine_of(url)
    for step, rows in (("0001", FIRST_ROWS), ("0002", SECOND_ROWS), (revision, ())):
        with engine.begin() as connection:
            command.upgrade(alembic_config(connection), step)
            for row in rows:
                connection.execute(text(row), {"at": AT, "yes": True, "no": False})
    engine.dispose()


def assert_kept(old: Old, before: list[list[tuple[object, ...]]]) -> None:
    for was, rows in zip(before, old.rows(), strict=True):
        assert [row[: len(was[0])] for row in rows[: len(was)]] == was


def test_an_upgrade_seals_every_row_and_anchors_the_events_it_adds(old: Old) -> None:
    before = old.rows()
    sessions = old.opened()
    assert_kept(old, before)
    assert verify(sessions) == Verification(
        events=3 + len(SEALS), anchored=92 + len(SEALS), findings=(), rows=len(SEALS)
    )
    with sessions.begin() as session:
        record_event(session, None, "next", "")
        newest = store.audit.audit_trail(session, limit=1 + len(SEALS))
    assert {(event.account, event.action) for event in newest[1:]} == {(None, "row sealed")}
    assert "C-0001" in {event.subject for event in newest}
    assert verify(sessions).findings == ()
    sessions.dispose()
    assert old.opened().anchor  # a second start seals nothing again
    assert verify(sessions).events == 4 + len(SEALS)


def test_the_digest_of_a_row_is_the_same_on_both_databases_and_never_changes(old: Old) -> None:
    sessions = old.opened()
    with sessions.read() as session:
        words = text("SELECT content_of, content_sha256 FROM audit_events WHERE content_of IS NOT NULL ORDER BY id")
        assert {row.content_of: row.content_sha256 for row in session.execute(words)} == SEALS
    sessions.dispose()


def test_what_was_done_to_a_row_after_the_upgrade_is_found(old: Old) -> None:
    old.opened().dispose()
    with without_triggers(old.url) as connection:
        connection.exec_driver_sql("UPDATE reads SET label = 'malignant' WHERE id = 1")
    sessions = old.opened()
    (found,) = verify(sessions).findings
    assert str(found) == "changed reads 1 of event 93: the row has changed since the event was written"
    sessions.dispose()


@pytest.mark.parametrize("revision", ["0002", "0003"])
def test_an_older_database_is_chained_sealed_and_anchored_at_once(
    database_url: str, tmp_path: Path, revision: str
) -> None:
    at_revision(database_url, revision)
    sessions = open_database(database_url, data=tmp_path)
    expected = Verification(events=2 + len(SEALS), anchored=91 + len(SEALS), findings=(), rows=len(SEALS))
    assert verify(sessions) == expected
    sessions.dispose()


# Kills itself as soon as the upgrade reaches a statement that has these words, or when it saves, or has saved.
_KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from db import database
from db.audit.anchor import AnchorFile
from db.database import open_database

@event.listens_for(Engine, "before_cursor_execute")
def strike(connection, cursor, statement, parameters, context, executemany):
    if sys.argv[3] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

@event.listens_for(Engine, "commit")
def save(connection):
    if sys.argv[3] == "before saving":
        os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[3] == "after saving":
    AnchorFile.confirm = lambda self, added: os.kill(os.getpid(), signal.SIGKILL)

open_database(sys.argv[1], data=Path(sys.argv[2]))
"""
_MOMENTS = (
    "ADD COLUMN content_sha256",
    "content_sha256) VALUES",
    "version_num='0005'",
    "version_num='0011'",
    "before saving",
    "after saving",
)


@pytest.mark.parametrize("moment", _MOMENTS)
def test_an_upgrade_that_is_killed_keeps_every_row_and_raises_no_false_alarm(old: Old, moment: str) -> None:
    before = old.rows()
    killed = forked.run(_KILLED, old.url, old.data, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if moment != "after saving":
        assert old.rows() == before
    sessions = old.opened()
    assert_kept(old, before)
    found = verify(sessions)
    assert (found.findings, found.rows) == ((), len(SEALS))
    sessions.dispose()
