"""A server is killed again and again while it saves reads: what it acknowledged is there, and the database is whole."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed

from db import store
from db.audit.anchor import AnchorLine
from db.audit.chain import AddedEvents
from db.audit.trail import record_event
from db.audit.verify import verify
from db.database import Sessions, open_database
from db.values.reading import Read
from tests.helpers.browser_tab import clicking_tab
from tests.helpers.concurrency import wait_until
from tests.helpers.databases import open_new
from tests.helpers.rows import OPENED
from tests.helpers.saving_server import acknowledged, saving
from tests.helpers.server import running_server
from tests.helpers.stress import DATABASES, amount
from tests.helpers.world import analyse_all, let_all_meet_the_model, make_case, make_reader

pytestmark = pytest.mark.slow

KILLS, APP_KILLS = amount(200, 8), amount(30, 1)
_LONGEST_LIFE_SECONDS = 0.4  # after the first read; a reader saves five times in it


def _assert_whole(sessions: Sessions) -> None:
    if sessions.dialect == "sqlite":
        with sessions.read() as session:
            assert session.scalar(text("PRAGMA integrity_check")) == "ok"
            assert session.execute(text("PRAGMA foreign_key_check")).all() == []
    assert verify(sessions).findings == ()


def _assert_kept(sessions: Sessions, readers: list[int], said: list[Read]) -> None:
    with sessions.read() as session:
        stored = [read for reader in readers for read in store.reads.own_reads(session, reader)]
    assert not set(said) - set(stored)
    # No second first read, and no final read beside another: a click is there whole or not at all.
    once = Counter((read.case_id, read.reader, read.stage, read.supersedes) for read in stored)
    assert set(once.values()) == {1}


def test_a_server_killed_at_random_moments_loses_no_acknowledged_read(database_url: str, tmp_path: Path) -> None:
    sessions = open_database(database_url, data=tmp_path)
    with sessions.begin() as session:
        readers = [make_reader(session, f"dr. {letter}") for letter in "abc"]
    moment = random.Random(4)  # noqa: S311 (when to strike, no secret)
    said: list[Read] = []
    for _ in range(KILLS):
        with saving(database_url, tmp_path, readers) as (pid, pipe):
            said.append(pipe.recv())
            time.sleep(moment.uniform(0, _LONGEST_LIFE_SECONDS))
            os.kill(pid, signal.SIGKILL)
            said += acknowledged(pipe)
        restarted = open_database(database_url, data=tmp_path)
        _assert_whole(restarted)
        _assert_kept(restarted, readers, said)
        restarted.dispose()
    print(f"\n{KILLS} kills on {sessions.dialect}: {len(said)} acknowledged reads, none lost")
    sessions.dispose()


def test_a_longer_click_after_one_that_was_cut_off_raises_no_false_alarm(tmp_path: Path) -> None:
    sessions = open_new(tmp_path / "a.sqlite")
    with sessions.begin() as session:
        record_event(session, None, "before", "")
    assert sessions.anchor
    # What a server leaves that is killed between its announcement and the commit.
    sessions.anchor.announce(AddedEvents(2, 2, "f" * 64))
    with sessions.begin() as session:
        record_event(session, None, "one", "")
        record_event(session, None, "and another", "")
    assert verify(sessions).findings == ()
    confirmed = sessions.anchor.lines()
    for changed in (AddedEvents(2, 3, "e" * 64), AddedEvents(2, 2, "e" * 64)):
        found = verify(sessions, copy=[*confirmed, AnchorLine(OPENED, "saved", changed)]).findings
        assert [one.kind for one in found] == ["changed"]
    sessions.dispose()


def _read_on(port: int, cases: Iterator[int], said: list[tuple[int, str]]) -> None:
    """Read through the pages until the server is gone, and note what the page said was saved."""
    try:
        with clicking_tab(port) as tab:
            for case_id in cases:
                tab.open("read_case", f"case={case_id}")
                tab.press("▲", "4", "Save and reveal")
                assert "Model says" in tab.words
                said.append((case_id, "first"))
                tab.press("Keep mine", "Save and open next case")
                assert f"C-{case_id:04} saved" in tab.words
                said.append((case_id, "final"))
    except (ConnectionClosed, OSError):
        return


@pytest.mark.parametrize("database_url", DATABASES, indirect=True)
def test_the_app_killed_under_its_readers_loses_nothing_that_a_page_called_saved(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_READ_DATABASE", database_url)
    sessions = open_database(database_url, data=tmp_path)
    with sessions.begin() as session:
        reader = store.accounts.single_reader(session).id
        cases = [make_case(session, reader) for _ in range(12 * APP_KILLS)]
    analyse_all(sessions)
    let_all_meet_the_model(sessions)
    moment, waiting = random.Random(5), iter(cases)  # noqa: S311 (when to strike, no secret)
    said: list[tuple[int, str]] = []
    for _ in range(APP_KILLS):
        before = len(said)
        with running_server(tmp_path, "127.0.0.1") as server:
            reading = threading.Thread(target=_read_on, args=(server.port, waiting, said))
            reading.start()
            wait_until(lambda before=before: len(said) > before, seconds=60)  # type: ignore[misc]
            time.sleep(moment.uniform(0, 1))
            server.process.kill()
            reading.join()
        _assert_whole(sessions)
        with sessions.read() as session:
            stored = {(read.case_id, read.stage.value) for read in store.reads.own_reads(session, reader)}
        assert set(said) <= stored
    print(f"\n{APP_KILLS} kills of the app on {sessions.dialect}: {len(said)} reads called saved, none lost")
    sessions.dispose()
