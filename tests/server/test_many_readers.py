"""Twenty readers at once on one server, with a worker beside them: nothing is lost, nobody meets a lock."""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from db import store
from db.audit.verify import verify
from db.database import Sessions, WriteQueue, open_database
from db.values.audit import Action
from db.values.reading import Opinion, Read
from tests.helpers.concurrency import at_once
from tests.helpers.rows import OPENED
from tests.helpers.saving_server import saving
from tests.helpers.stress import amount, milliseconds
from tests.helpers.world import analyse_all, make_case, make_reader

READERS = 20
SECONDS = amount(60, 4)
CASES = amount(600, 60)
# A reader looks at a case between two clicks; the longest of these, which is still quicker than anybody reads.
_LOOKING_SECONDS = amount(6, 0)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Room:
    """What the readers read, what was saved and how long each click took."""

    sessions: Sessions
    cases: list[int]
    said: list[Read] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def read_until(self, end: float, reader: int) -> None:
        """Read case after case as the pages do, in an order of one's own; one case at least."""
        chance = random.Random(reader)  # noqa: S311 (no secret)
        time.sleep(chance.uniform(0, _LOOKING_SECONDS))
        for case_id in chance.sample(self.cases, len(self.cases)):
            self._read(case_id, reader, chance)
            if time.monotonic() > end:
                return

    def _read(self, case_id: int, reader: int, chance: random.Random) -> None:
        note = f"{reader} on {case_id}"
        self._timed("worklist", lambda: self._look(reader))
        self._timed("open", lambda: self._open(case_id, reader))
        time.sleep(chance.uniform(0, _LOOKING_SECONDS))
        first = Opinion(chance.choice(("benign", "malignant")), chance.randint(1, 5), note=note)
        self.said.append(self._timed("save first", lambda: self._first(case_id, reader, first)))
        self._timed("open", lambda: self._open(case_id, reader))
        time.sleep(chance.uniform(0, _LOOKING_SECONDS))
        final = Opinion("malignant", chance.randint(1, 5), note=note)
        self.said.append(self._timed("save final", lambda: self._final(case_id, reader, final)))

    def _look(self, reader: int) -> None:
        with self.sessions.read() as session:
            store.worklist.state_counts(session, reader)
            store.worklist.worklist(session, reader)
            store.worklist.find_next_case(session, reader)

    def _open(self, case_id: int, reader: int) -> None:
        # As the page does it.
        with self.sessions.read() as session:
            case = store.open_case.case_view(session, case_id, reader)
        with self.sessions.begin() as session:
            store.open_case.record_opened(session, case, reader)

    def _first(self, case_id: int, reader: int, opinion: Opinion) -> Read:
        with self.sessions.begin() as session:
            return store.reads.record_first_read(session, case_id, reader, opinion, OPENED)

    def _final(self, case_id: int, reader: int, opinion: Opinion) -> Read:
        with self.sessions.begin() as session:
            return store.reads.record_final_read(session, case_id, reader, opinion, OPENED)

    def _timed(self, what: str, work: Callable[[], _T]) -> _T:
        start = time.perf_counter()
        found = work()
        self.seconds[what].append(time.perf_counter() - start)
        return found


@contextmanager
def _opened(url: str, data: Path) -> Iterator[tuple[Room, list[int]]]:
    sessions = open_database(url, data=data)
    with sessions.begin() as session:
        readers = [make_reader(session, f"dr. {number}") for number in range(READERS)]
    with sessions.begin() as session:
        cases = [make_case(session, readers[0]) for _ in range(CASES)]
    analyse_all(sessions)
    yield Room(sessions, cases), readers
    sessions.dispose()


@pytest.mark.slow
def test_twenty_readers_lose_nothing_and_meet_no_lock(database_url: str, tmp_path: Path) -> None:
    with _opened(database_url, tmp_path) as (room, readers):
        with room.sessions.begin() as session:
            others = [make_reader(session, "dr. beside them")]
        # Another process writes all the while, more often than the worker.
        with saving(database_url, tmp_path, others, pause_seconds=0.2) as (_, pipe):
            assert pipe.recv()
            end = time.monotonic() + SECONDS
            assert at_once(READERS, lambda number: room.read_until(end, readers[number])) == [None] * READERS
        with room.sessions.read() as session:
            stored = [read for reader in readers for read in store.reads.own_reads(session, reader)]
            trail = store.audit.audit_trail(session, limit=None)
        assert sorted(stored, key=_number) == sorted(room.said, key=_number)
        assert len({(read.case_id, read.reader, read.stage) for read in stored}) == len(stored)
        told = Counter(event.action for event in trail if event.account != "dr. beside them")
        assert told[Action.FIRST_READ] + told[Action.FINAL_READ] == len(stored) > READERS
        assert verify(room.sessions).findings == ()
        print(f"\n{READERS} readers for {SECONDS} s on {room.sessions.dialect}: {len(stored)} reads saved")
        for what, seconds in room.seconds.items():
            print(milliseconds(what, seconds))


def _number(read: Read) -> int:
    return read.id


def test_writers_have_their_turns_in_the_order_in_which_they_came() -> None:
    turns, order = WriteQueue(30), list[int]()

    def write(number: int) -> None:
        with turns.wait_to_write():
            order.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    with turns.wait_to_write():
        for place, thread in enumerate(threads, 1):
            thread.start()
            while turns.waiting < place:
                time.sleep(0.001)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == list(range(10))


def test_who_runs_out_of_patience_goes_on_and_holds_up_nobody() -> None:
    turns = WriteQueue(0.01)
    with turns.wait_to_write():
        with turns.wait_to_write():
            assert turns.waiting == 1
        assert turns.waiting == 0
    with pytest.raises(KeyError), turns.wait_to_write():
        raise KeyError
    assert turns.waiting == 0
