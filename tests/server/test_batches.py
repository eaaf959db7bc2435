"""A batch outlives its tab, a locked database and, as far as it was acknowledged, a killed server."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from db import store
from db.audit.verify import verify
from db.database import Sessions
from db.store.worklist import case_state
from db.values.intakes import OpenIntake
from db.values.reading import CaseState
from tests.helpers.browser_tab import ClickingTab, clicking_tab
from tests.helpers.concurrency import wait_until
from tests.helpers.databases import open_new
from tests.helpers.images.tissue import tissue_png
from tests.helpers.server import running_server

pytestmark = pytest.mark.slow

IMAGES = 10
FILES = [(f"image {number}.png", tissue_png(number, 900, 1200)) for number in range(1, IMAGES + 1)]
CASE = 1


class _Stored:
    """What is in the database of a server that runs or has been killed."""

    def __init__(self, data: Path) -> None:
        self.path = data / "second_read.sqlite"
        self.sessions: Sessions = open_new(self.path)
        with self.sessions.begin() as session:
            self.reader = store.accounts.single_reader(session).id

    def count(self) -> int:
        with self.sessions.read() as session:
            return len(store.open_case.case_images(session, CASE))

    def state(self) -> CaseState:
        with self.sessions.read() as session:
            return case_state(session, CASE, self.reader)

    def open_intakes(self) -> list[OpenIntake]:
        with self.sessions.read() as session:
            return store.intakes.open_intakes(session, self.reader)

    @contextmanager
    def locked_in_the_middle(self) -> Iterator[int]:
        """Lock the database as another program does, as soon as some images are stored; gives how many these are."""
        wait_until(lambda: self.count() > 0)
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=60)) as other:
            other.execute("BEGIN EXCLUSIVE")
            (stored,) = other.execute("SELECT count(*) FROM images").fetchone()
            assert stored < IMAGES, "the batch was stored before the database could be locked"
            yield stored
            other.execute("ROLLBACK")


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[_Stored]:
    """The empty database of a server in `tmp_path`."""
    found = _Stored(tmp_path)
    yield found
    found.sessions.dispose()


def _send_batch(tab: ClickingTab) -> None:
    """Choose the images in a new tab, and begin to store them."""
    tab.open("upload_cases")
    tab.upload("PNG, JPEG or TIFF images", FILES)
    tab.send("Store images")


def _acknowledged(tab: ClickingTab) -> int:
    """Return how many images the page has called stored."""
    said = [int(found) for raw in tab.received for found in re.findall(rb"(\d+) of 10 images stored", raw)]
    return max(said, default=0)


def test_a_tab_that_is_closed_in_the_middle_leaves_its_batch_to_the_server(stored: _Stored, tmp_path: Path) -> None:
    with running_server(tmp_path, "127.0.0.1") as server:
        with clicking_tab(server.port) as tab:
            _send_batch(tab)
            wait_until(lambda: stored.count() > 0)
            assert stored.state() is CaseState.INCOMPLETE
        wait_until(lambda: not stored.open_intakes() and stored.count() == IMAGES)
        assert stored.state() is not CaseState.INCOMPLETE
        with clicking_tab(server.port) as tab:
            tab.open("upload_cases")
            # The outcome has waited for somebody to look at it.
            assert all(name in tab.all_words for name, _ in FILES)
    assert verify(stored.sessions).findings == ()


def test_a_database_that_another_program_locks_delays_a_batch_whose_tab_is_gone(
    stored: _Stored, tmp_path: Path
) -> None:
    with running_server(tmp_path, "127.0.0.1") as server:
        with clicking_tab(server.port) as tab:
            _send_batch(tab)
            with stored.locked_in_the_middle():
                # Longer than the server waits for a lock, so that it must try again.
                wait_until(lambda: _waits(tab), seconds=120)
        wait_until(lambda: not stored.open_intakes() and stored.count() == IMAGES)
    assert verify(stored.sessions).findings == ()


def _waits(tab: ClickingTab) -> bool:
    tab._receive()
    return b"Waiting, because the database is busy" in tab.received[-1]


def test_a_killed_server_keeps_what_it_acknowledged_and_says_what_is_missing(stored: _Stored, tmp_path: Path) -> None:
    with running_server(tmp_path, "127.0.0.1") as server, clicking_tab(server.port) as tab:
        _send_batch(tab)
        with stored.locked_in_the_middle():
            server.process.kill()
            server.process.wait(30)
        said = _acknowledged(tab)
    kept = stored.count()
    assert 0 < kept < IMAGES
    assert said <= kept
    assert stored.state() is CaseState.INCOMPLETE
    (left,) = stored.open_intakes()
    assert left.missing == tuple(range(kept + 1, IMAGES + 1))
    assert verify(stored.sessions).findings == ()
    with running_server(tmp_path, "127.0.0.1") as server, clicking_tab(server.port) as tab:
        tab.open("read_case", f"case={CASE}")
        assert "This case is incomplete" in tab.words
        tab.open("upload_cases")
        missing = str(IMAGES) if kept == IMAGES - 1 else f"{kept + 1} to {IMAGES}"
        assert f"{missing} of {IMAGES}, in upload order" in tab.words
        tab.press(f"Complete the case with the {kept} image")
        assert stored.state() is not CaseState.INCOMPLETE
        assert stored.count() == kept
    assert verify(stored.sessions).findings == ()
