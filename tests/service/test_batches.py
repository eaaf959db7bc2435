"""Batches that the server stores: not cut off by a busy database, and what was not stored is named."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from db import database, store
from db.database import Sessions
from db.files import Files
from db.values.reading import CaseState
from service import batches as batches_module
from service.batches import Batch, Batches
from service.intake import CasePlan, IntakeResult, Received
from tests.helpers.concurrency import wait_until
from tests.helpers.databases import open_new
from tests.helpers.full_disks import FullDisk
from tests.helpers.worklists import whole_worklist

IMAGES = 4
LONG = 60  # seconds; how long a test waits for what must come


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a database that does not wait long for whoever locks it."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    monkeypatch.setattr(batches_module, "_PAUSE_SECONDS", 0.05)
    return tmp_path / "test.sqlite"


@pytest.fixture
def sessions(path: Path) -> Iterator[Sessions]:
    """A real database."""
    opened = open_new(path)
    yield opened
    opened.dispose()


@pytest.fixture
def batches(sessions: Sessions, tmp_path: Path) -> Iterator[Batches]:
    """The batches of a server."""
    running = Batches(sessions, Files(tmp_path / "files"))
    yield running
    running.close()


@pytest.fixture
def reader(sessions: Sessions) -> int:
    """The account that brings images."""
    with sessions.begin() as session:
        return store.accounts.single_reader(session).id


class HeldImages:
    """Images of which each is handed over only when it is let go."""

    def __init__(self) -> None:
        self._let_go = threading.Semaphore(0)

    def let_go(self, images: int) -> None:
        for _ in range(images):
            self._let_go.release()

    def __iter__(self) -> Iterator[Received]:
        for number in range(1, IMAGES + 1):
            assert self._let_go.acquire(timeout=LONG)
            yield f"{number}.png", _png(number)


def _png(seed: int) -> bytes:
    return encode_png(generate_tissue(seed, "benign", 120, 160))


def _images(count: int = IMAGES) -> list[Received]:
    return [(f"{number}.png", _png(number)) for number in range(1, count + 1)]


def _states(sessions: Sessions, reader: int) -> list[tuple[str, int, CaseState]]:
    with sessions.read() as session:
        return [(row.accession, row.images, row.state) for row in whole_worklist(session, reader)]


def _stored(batch: Batch) -> list[str]:
    return [result.name for result in batch.progress.results if result.image_id is not None]


def test_a_case_is_incomplete_while_its_batch_is_stored_and_complete_at_its_end(
    sessions: Sessions, batches: Batches, reader: int
) -> None:
    held = HeldImages()
    batch = batches.store(CasePlan(reader, None, "S24-1"), held, IMAGES)
    held.let_go(3)
    wait_until(lambda: batch.progress.stored == 3)
    assert _states(sessions, reader) == [("S24-1", 3, CaseState.INCOMPLETE)]
    assert len(batches.running_intakes()) == 1
    held.let_go(1)
    assert batch.wait(LONG)
    assert batch.progress.ended
    assert _states(sessions, reader) == [("S24-1", IMAGES, CaseState.WAITING)]
    assert batches.running_intakes() == frozenset()


def test_a_locked_database_delays_a_batch_and_cuts_nothing_off(
    path: Path, sessions: Sessions, batches: Batches, reader: int
) -> None:
    held = HeldImages()
    batch = batches.store(CasePlan(reader, None), held, IMAGES)
    held.let_go(2)
    wait_until(lambda: batch.progress.stored == 2)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        held.let_go(2)
        wait_until(lambda: batch.progress.waits_for == "the database is busy")
        assert batch.progress.stored == 2
        other.execute("ROLLBACK")
    assert batch.wait(LONG)
    assert batch.progress.ended
    assert _stored(batch) == ["1.png", "2.png", "3.png", "4.png"]
    assert _states(sessions, reader) == [("C-0001", IMAGES, CaseState.WAITING)]


def test_a_full_disk_delays_a_batch_and_cuts_nothing_off(
    sessions: Sessions, batches: Batches, reader: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldImages()
    batch = batches.store(CasePlan(reader, None), held, IMAGES)
    held.let_go(2)
    wait_until(lambda: batch.progress.stored == 2)
    disk = FullDisk(monkeypatch)
    held.let_go(2)
    wait_until(lambda: batch.progress.waits_for == "the disk of the data folder is full")
    assert batch.progress.stored == 2
    disk.make_room()
    assert batch.wait(LONG)
    assert batch.progress.ended
    assert _stored(batch) == ["1.png", "2.png", "3.png", "4.png"]


def test_a_batch_that_gave_up_keeps_its_images_and_goes_on_when_asked(
    path: Path, sessions: Sessions, batches: Batches, reader: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "_PATIENCE_SECONDS", 0.1)
    held = HeldImages()
    batch = batches.store(CasePlan(reader, None), held, IMAGES)
    held.let_go(1)
    wait_until(lambda: batch.progress.stored == 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        held.let_go(3)
        assert batch.wait(LONG)
        assert (batch.progress.ended, batch.progress.stopped_by) == (False, "the database is busy")
        other.execute("ROLLBACK")
    assert _states(sessions, reader) == [("C-0001", 1, CaseState.INCOMPLETE)]
    assert batches.unseen(reader) is batch
    # Others may complete the case without the rest, as after a restart.
    assert batches.running_intakes() == frozenset()
    batch.start()
    assert batch.wait(LONG)
    assert (batch.progress.ended, batch.progress.stopped_by) == (True, "")
    assert _stored(batch) == ["1.png", "2.png", "3.png", "4.png"]
    assert _states(sessions, reader) == [("C-0001", IMAGES, CaseState.WAITING)]


def test_a_server_that_stops_leaves_the_case_incomplete_with_what_was_stored(
    sessions: Sessions, batches: Batches, reader: int
) -> None:
    held = HeldImages()
    batch = batches.store(CasePlan(reader, None), held, IMAGES)
    held.let_go(2)
    wait_until(lambda: batch.progress.stored == 2)
    stopping = threading.Thread(target=batches.close)
    stopping.start()
    wait_until(batch._stopping.is_set)
    held.let_go(2)
    stopping.join(LONG)
    assert batch.progress.stopped_by == "the server is being stopped"
    with sessions.read() as session:
        (left,) = store.intakes.open_intakes(session, reader)
    assert (left.received, left.missing) == (IMAGES, (3, 4))
    assert _states(sessions, reader) == [("C-0001", 2, CaseState.INCOMPLETE)]


def test_what_was_not_stored_is_named_with_its_reason(batches: Batches, reader: int) -> None:
    images: list[Received] = [*_images(2), ("notes.txt", b"hello"), ("gone.png", IntakeResult("gone.png", message="x"))]
    batch = batches.store(CasePlan(reader, None), images, len(images))
    assert batch.wait(LONG)
    refused = {result.name: bool(result.message) for result in batch.progress.results if result.image_id is None}
    assert refused == {"notes.txt": True, "gone.png": True}
    assert batch.progress.ended


def test_a_taken_case_number_is_refused_with_nothing_stored(sessions: Sessions, batches: Batches, reader: int) -> None:
    assert batches.store(CasePlan(reader, None, "S24-10"), _images(1), 1).wait(LONG)
    again = batches.store(CasePlan(reader, None, "s24-10 "), [("b.png", _png(9))], 1)
    assert again.wait(LONG)
    assert again.progress.refused == "there is already a case S24-10, which is the same number as s24-10"
    assert [accession for accession, _, _ in _states(sessions, reader)] == ["S24-10"]


def test_a_forgotten_image_joins_the_case(sessions: Sessions, batches: Batches, reader: int) -> None:
    first = batches.store(CasePlan(reader, None), _images(2), 2)
    assert first.wait(LONG)
    case_id = first.case_id
    again = batches.store(CasePlan(reader, None, case_id=case_id), _images(3), 3)
    assert again.wait(LONG)
    assert _stored(again) == ["3.png"]
    assert [result.already_in for result in again.progress.results] == ["C-0001", "C-0001", None]
    assert _states(sessions, reader) == [("C-0001", 3, CaseState.WAITING)]


def test_a_forgotten_image_is_refused_once_the_case_was_opened(
    sessions: Sessions, batches: Batches, reader: int
) -> None:
    first = batches.store(CasePlan(reader, None), _images(2), 2)
    assert first.wait(LONG)
    assert first.case_id is not None
    with sessions.begin() as session:
        store.open_case.open_case(session, first.case_id, reader)
    late = batches.store(CasePlan(reader, None, case_id=first.case_id), _images(3), 3)
    assert late.wait(LONG)
    assert _stored(late) == []
    assert "somebody has opened case C-0001" in (late.progress.results[2].message or "")


def test_two_batches_cannot_join_one_case_at_once(batches: Batches, reader: int) -> None:
    held = HeldImages()
    batch = batches.store(CasePlan(reader, None), held, IMAGES)
    held.let_go(1)
    wait_until(lambda: batch.case_id is not None)
    with pytest.raises(ValueError, match="still being stored"):
        batches.store(CasePlan(reader, None, case_id=batch.case_id), _images(1), 1)
    held.let_go(3)
    assert batch.wait(LONG)


def test_an_outcome_stays_until_it_was_seen(batches: Batches, reader: int) -> None:
    batch = batches.store(CasePlan(reader, None), _images(1), 1)
    assert batch.wait(LONG)
    assert batches.unseen(reader) is batch
    assert batches.unseen(reader + 1) is None
    batch.was_seen = True
    assert batches.unseen(reader) is None


def test_a_case_for_each_image_is_complete_at_once_and_the_batch_says_what_is_missing(
    sessions: Sessions, batches: Batches, reader: int
) -> None:
    held = HeldImages()
    batch = batches.store(CasePlan(reader, None, one_case=False), held, IMAGES)
    held.let_go(2)
    wait_until(lambda: batch.progress.stored == 2)
    assert [state for _, _, state in _states(sessions, reader)] == [CaseState.WAITING] * 2
    with sessions.read() as session:
        (left,) = store.intakes.open_intakes(session, reader)
    assert (left.case_id, left.missing) == (None, (3, 4))
    held.let_go(2)
    assert batch.wait(LONG)
    with sessions.read() as session:
        assert store.intakes.open_intakes(session, reader) == []
