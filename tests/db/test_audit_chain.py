"""The audit trail stays one chain, whoever writes and whatever is killed, and its anchor keeps up."""

import json
import signal
from pathlib import Path

import openpyxl
import pytest
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.exc import IntegrityError
from typer.testing import CliRunner, Result

from db import store
from db.__main__ import app
from db.audit.anchor import AnchorFile, AnchorLine
from db.audit.chain import GENESIS, AddedEvents, Link
from db.audit.trail import record_event
from db.audit.verify import verify
from db.database import Sessions, open_database
from db.store import audit as store_audit
from db.values.audit import EventFilter, Verification
from tests.db.test_upgrade import old_database
from tests.helpers import forked
from tests.helpers.concurrency import at_once
from tests.helpers.rows import BENIGN, OPENED
from tests.helpers.world import make_case, make_reader


@pytest.fixture
def anchored(with_tables: None, database_url: str, tmp_path: Path) -> Sessions:
    """Sessions of an empty database whose anchor is in a folder, once on SQLite and once on PostgreSQL."""
    return open_database(database_url, data=tmp_path)


def add(sessions: Sessions, *subjects: str) -> None:
    with sessions.begin() as session:
        for subject in subjects:
            record_event(session, None, "added", subject)


def heads(sessions: Sessions) -> AnchorFile:
    assert sessions.anchor
    return sessions.anchor


def states(sessions: Sessions) -> list[tuple[str, int, int]]:
    lines = [line for line in heads(sessions).lines() if isinstance(line, AnchorLine)]
    return [(line.state, line.added.first, line.added.last) for line in lines]


def test_the_hash_of_an_event_never_changes_from_one_version_of_the_program_to_the_next() -> None:
    link = Link(GENESIS, 7, OPENED, None, "case opened", 'C-0001 é\n"')
    assert link.hash == "eee8107aae72b5956407844f3da0ff76ffbc85faa9bbdcad603c730a3d7d4d3d"


def test_every_event_follows_the_one_before_and_is_announced_and_confirmed(anchored: Sessions) -> None:
    add(anchored, "a", "b")
    add(anchored, "c")
    assert verify(anchored) == Verification(events=3, anchored=3, findings=())
    expected = [("begun", 0, 0), ("saving", 1, 2), ("saved", 1, 2), ("saving", 3, 3), ("saved", 3, 3)]
    assert states(anchored) == expected


def test_the_trail_within_a_click_has_what_the_click_recorded(anchored: Sessions) -> None:
    with anchored.begin() as session:
        record_event(session, None, "added", "a")
        assert [event.subject for event in store.audit.audit_trail(session)] == ["a"]
        record_event(session, None, "added", "b")
    assert states(anchored)[1:] == [("saving", 1, 2), ("saved", 1, 2)]
    assert verify(anchored).whole


def test_a_click_that_fails_leaves_the_chain_whole_and_its_number_to_the_next(anchored: Sessions) -> None:
    with pytest.raises(IntegrityError), anchored.begin() as session:
        record_event(session, 4711, "tried", "a")
    add(anchored, "b")
    assert verify(anchored) == Verification(events=1, anchored=1, findings=())


def test_a_click_that_cannot_be_anchored_is_not_saved(anchored: Sessions) -> None:
    add(anchored, "a")
    heads(anchored).path.rename(heads(anchored).path.with_suffix(".away"))
    heads(anchored).path.mkdir()
    with pytest.raises(OSError, match="directory"):
        add(anchored, "b")
    with anchored.read() as session:
        assert [event.subject for event in store.audit.audit_trail(session)] == ["a"]


def test_twenty_writers_at_once_keep_the_chain_whole(anchored: Sessions) -> None:
    def write(number: int) -> None:
        for step in range(5):
            add(anchored, f"{number} {step}", f"{number} {step} again")

    assert at_once(20, write) == [None] * 20
    assert verify(anchored) == Verification(events=200, anchored=200, findings=())


def test_the_chain_is_whole_while_writers_go_on(anchored: Sessions) -> None:
    def work(number: int) -> list[Verification]:
        if number:
            for step in range(30):
                add(anchored, f"{number} {step}")
            return []
        return [verify(anchored) for _ in range(10)]

    looked, *others = at_once(4, work)
    assert others == [[]] * 3
    assert isinstance(looked, list)
    assert [found.findings for found in looked] == [()] * 10


def test_readers_who_wait_for_each_others_cases_do_not_wait_for_the_chain(anchored: Sessions) -> None:
    """Were the chain locked before the case, two clicks would wait for each other for ever."""
    with anchored.begin() as session:
        reader = make_reader(session)
        case_id = make_case(session, reader)

    def write(number: int) -> None:
        for step in range(10):
            with anchored.begin() as session:
                if number % 2:
                    record_event(session, reader, "before", f"{number} {step}")
                store.reads.record_first_read(
                    session, case_id, make_reader(session, f"{number} {step}"), BENIGN, OPENED
                )

    assert at_once(6, write) == [None] * 6
    assert verify(anchored).whole


# Adds events one by one and kills itself at the third, before or after it is in the database.
_KILLED = """
from db.audit.trail import record_event
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.orm import Session
from db import store
from db.database import open_database

sessions, seen = open_database(sys.argv[1], data=Path(sys.argv[2])), []

@event.listens_for(Session, sys.argv[3])
def strike(session):
    seen.append(session)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

for number in range(9):
    with sessions.begin() as session:
        record_event(session, None, "added", str(number))
"""


@pytest.mark.parametrize(("moment", "saved"), [("before_commit", 2), ("after_commit", 3)])
def test_a_server_killed_around_a_click_raises_no_false_alarm(
    anchored: Sessions, database_url: str, tmp_path: Path, moment: str, saved: int
) -> None:
    killed = forked.run(_KILLED, database_url, tmp_path, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert verify(anchored).findings == ()
    add(anchored, "next")
    found = verify(anchored)
    assert (found.events, found.findings) == (saved + 1, ())


def test_a_line_that_a_power_cut_left_half_written_is_no_alarm(anchored: Sessions) -> None:
    add(anchored, "a")
    whole = heads(anchored).path.read_bytes()
    heads(anchored).path.write_bytes(whole[:-30])
    assert verify(anchored).findings == ()
    add(anchored, "b")
    assert [isinstance(line, AnchorLine) for line in heads(anchored).lines()] == [True] * 4
    assert verify(anchored) == Verification(events=2, anchored=2, findings=())


def test_a_file_of_heads_that_is_lost_or_begun_anew_is_told(
    anchored: Sessions, database_url: str, tmp_path: Path
) -> None:
    add(anchored, "a", "b")
    heads(anchored).path.unlink()
    assert [str(found) for found in verify(anchored).findings] == [
        "unanchored: the anchor file is missing or empty, so events cut off the end cannot be detected"
    ]
    again = open_database(database_url, data=tmp_path)
    add(again, "c")
    (found,) = verify(again).findings
    assert (found.kind, found.first, found.last) == ("unanchored", 1, 2)
    assert "started again" in found.words


def test_an_old_copy_of_the_heads_shows_that_both_were_cut(anchored: Sessions, tmp_path: Path) -> None:
    add(anchored, "a")
    add(anchored, "b")
    copy = heads(anchored).lines()
    add(anchored, "c")
    assert verify(anchored, copy=copy).findings == ()
    cut = [line for line in copy if isinstance(line, AnchorLine) and line.added.last < 2]
    (found,) = verify(anchored, copy=[*copy, AnchorLine(OPENED, "saved", AddedEvents(2, 2, "f" * 64))]).findings
    assert (found.kind, found.first, found.last) == ("changed", 2, 2)
    assert verify(anchored, copy=cut).findings == ()


def test_a_missing_trigger_is_told(anchored: Sessions, database_url: str) -> None:
    on = "" if anchored.dialect == "sqlite" else " ON audit_events"
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg") if on else database_url)
    with engine.begin() as connection:
        connection.execute(text(f"DROP TRIGGER audit_events_no_delete{on}"))
    engine.dispose()
    assert [str(found) for found in verify(anchored).findings] == [
        "unprotected: the trigger that refuses to delete events is missing"
    ]


def test_an_upgraded_trail_is_chained_from_its_first_event_and_says_since_when(
    database_url: str, tmp_path: Path
) -> None:
    old_database(database_url)
    upgraded = open_database(database_url, data=tmp_path)
    assert verify(upgraded) == Verification(events=7, anchored=96, findings=(), rows=5)
    with upgraded.read() as session:
        *_, chained, first = store.audit.audit_trail(session)
    assert (chained.number, chained.account, chained.subject) == (91, None, "1 events before this one")
    assert (first.number, first.action, first.subject) == (90, "case added", "C-0001")
    add(upgraded, "next")
    assert verify(upgraded) == Verification(events=8, anchored=97, findings=(), rows=5)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["audit", *arguments])


def test_the_command_says_by_its_exit_status_what_it_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    sessions = open_database(url)
    add(sessions, "a")
    whole = command("verify", "--database", url, "--json")
    assert (whole.exit_code, json.loads(whole.stdout)["whole"]) == (0, True)
    heads(sessions).path.unlink()
    broken = command("verify", "--database", url)
    assert broken.exit_code == 1
    assert "FOUND unanchored" in broken.stdout
    absent = command("verify", "--database", f"sqlite:///{tmp_path / 'none.sqlite'}")
    assert absent.exit_code == 2
    assert "there is no database at" in absent.stderr
    assert not (tmp_path / "none.sqlite").exists()


def test_events_are_listed_by_what_is_asked_and_no_cell_is_a_formula(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    sessions = open_database(url)
    add(sessions, "=1+1", "C-0001", "\x1b[2J\n")
    with sessions.begin() as session:
        record_event(session, make_reader(session), "case opened", "C-0001")
    listed = command("list", "--database", url, "--csv").stdout.splitlines()
    assert listed[0] == "event,at,account,action,subject"
    assert [line.split(",")[0] for line in listed[1:]] == ["5", "4", "3", "2", "1"]
    assert listed[5].endswith(",added,'=1+1")
    assert listed[3].endswith(r",added,'\x1b[2J\n'")
    assert len(command("list", "--database", url, "--subject", "C-0001").stdout.splitlines()) == 2
    assert len(command("list", "--database", url, "--account", "dr. a").stdout.splitlines()) == 1
    assert len(command("list", "--database", url, "--until", "2026-01-01").stdout.splitlines()) == 0
    assert len(command("list", "--database", url, "--limit", "1").stdout.splitlines()) == 1
    workbook = tmp_path / "exports" / "events.xlsx"
    assert command("list", "--database", url, "--xlsx", str(workbook), "--limit", "0").stdout == ""
    events, meanings = openpyxl.load_workbook(workbook).worksheets
    rows = list(events.values)
    assert rows[0] == ("event", "at", "account", "action", "subject")
    assert [row[0] for row in rows[1:]] == [5, 4, 3, 2, 1]
    assert rows[5][3:] == ("added", "=1+1")
    assert [row[0] for row in meanings.values] == ["column", *rows[0]]
    refused = command("list", "--database", url, "--xlsx", str(workbook / "below a file.xlsx"))
    assert refused.exit_code == 2
    assert "events.xlsx" in refused.stderr
    assert command("list", "--database", url, "--csv", "--xlsx", str(workbook)).exit_code == 2


def test_a_long_trail_is_given_before_its_end_is_fetched(anchored: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_audit, "AT_ONCE", 2)
    with anchored.begin() as session:
        for number in range(5):
            record_event(session, None, "written", f"event {number}")
    fetched: list[str] = []
    with anchored.read() as session:
        expected = store.audit.audit_trail(session, limit=None)
        events = store.audit.each_event(session, EventFilter())

        def note(_c: object, _k: object, statement: str, *_: object) -> None:
            fetched.append(statement)

        engine = session.get_bind()
        event.listen(engine, "before_cursor_execute", note)
        found = [next(events), next(events)]
        assert len(fetched) == 1, "the third event has not been asked for yet"
        found += events
        event.remove(engine, "before_cursor_execute", note)
        assert list(store.audit.each_event(session, EventFilter(), 3)) == expected[:3]
    assert found == expected
    assert len(fetched) == len(expected) // 2 + 1
