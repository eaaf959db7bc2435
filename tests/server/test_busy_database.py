"""While another program locks the database, every page says that it is busy, and goes on when it is free."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from db import store
from tests.helpers.browser_tab import clicking_tab
from tests.helpers.databases import open_new
from tests.helpers.server import running_server
from tests.helpers.world import analyse_all, let_all_meet_the_model, make_case

pytestmark = pytest.mark.slow

BUSY = "The database is busy. What you have entered is kept."


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file of a database as another program does, readers included, until the block ends."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_locked_database_is_told_and_the_click_succeeds_when_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "second_read.sqlite"
    sessions = open_new(path)
    with sessions.begin() as session:
        reader = store.accounts.single_reader(session).id
        case_id = make_case(session, reader)
    analyse_all(sessions)
    let_all_meet_the_model(sessions)
    with running_server(tmp_path, "127.0.0.1") as server, clicking_tab(server.port) as tab:
        tab.open("read_case", f"case={case_id}")
        tab.press("▲", "4")
        with locked(path):
            tab.press("Save and reveal")
            assert BUSY in tab.words
        tab.press("Try again")
        assert BUSY not in tab.words
        assert "Your first opinion" in tab.words
        tab.press("Save and reveal")
        assert "Model says" in tab.words
        with locked(path):
            tab.open("evaluation")
            assert BUSY in tab.words
        tab.press("Try again")
        assert BUSY not in tab.words
    with sessions.read() as session:
        (read,) = store.reads.own_reads(session, reader)
    assert (read.opinion.label, read.opinion.confidence) == ("malignant", 4)
    sessions.dispose()
