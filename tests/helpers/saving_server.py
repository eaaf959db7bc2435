"""A process that saves reads as the app does, and says over a pipe what it has saved; made to be killed."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

from db import store
from db.database import Sessions, open_database
from db.values.reading import Opinion, Read, Vote
from tests.helpers.rows import MODEL, OPENED, analysis, heatmap
from tests.helpers.world import make_case

# Forks from a process that has imported everything, so that a server is there in a hundredth of the time.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.helpers.saving_server", "db.upgrade"])


@contextmanager
def saving(
    url: str, data: Path, readers: list[int], *, pause_seconds: float = 0
) -> Iterator[tuple[int, "Connection[Read, Read]"]]:
    """Run the process until the block ends; give its number and the pipe on which it acknowledges reads.

    Its readers wait a while after each read.
    """
    heard, said = _context.Pipe(duplex=False)
    process = _context.Process(target=_serve, args=(url, data, readers, said, pause_seconds))
    process.start()
    said.close()
    assert process.pid is not None
    try:
        yield process.pid, heard
    finally:
        process.kill()
        process.join()
        heard.close()


def acknowledged(pipe: "Connection[Read, Read]") -> list[Read]:
    """Read what is left in the pipe of a process that was killed; the last message may be torn."""
    found = []
    try:
        while True:
            found.append(pipe.recv())
    except (EOFError, OSError):
        return found


def _serve(url: str, data: Path, readers: list[int], pipe: "Connection[Read, Read]", pause_seconds: float) -> None:
    sessions = open_database(url, data=data)
    lock = threading.Lock()

    def say(read: Read) -> None:
        with lock:
            pipe.send(read)
        time.sleep(pause_seconds)

    threads = [threading.Thread(target=_read_on, args=(sessions, reader, say), daemon=True) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _read_on(sessions: Sessions, reader: int, say: Callable[[Read], None]) -> None:
    """Read one new case after the other: the first read, the reveal, the final read, an amendment."""
    for number in count(1):
        with sessions.begin() as session:
            case_id = make_case(session, reader)
        _analyse_one(sessions)
        note = f"case {number} of reader {reader}"
        first, final = Opinion("benign", 1 + number % 5, note=note), Opinion("malignant", 3, note=note, vote=Vote.NO)
        with sessions.begin() as session:
            store.open_case.open_case(session, case_id, reader)
        with sessions.begin() as session:
            read = store.reads.record_first_read(session, case_id, reader, first, OPENED)
        say(read)
        with sessions.begin() as session:
            seen = store.open_case.open_case(session, case_id, reader).on_screen
        with sessions.begin() as session:
            read = store.reads.record_final_read(session, case_id, reader, final, OPENED, seen=seen)
        say(read)
        amended = Opinion(None, None, note=f"{note}, seen again")
        with sessions.begin() as session:
            read = store.reads.amend_read(session, case_id, reader, amended, OPENED, replaces=read.id)
        say(read)


def _analyse_one(sessions: Sessions) -> None:
    with sessions.begin() as session:
        job = store.jobs.claim_job(session, "w")
    if job is not None:
        with sessions.begin() as session:
            store.jobs.finish_job(session, job, "w", analysis(), model=MODEL, heatmap=heatmap(f"map of {job.image_id}"))
