"""The jobs of workers that have ended are queued again: by name on this computer, by their silence on others.

From the name of a worker, any process on the same computer can find out whether it is still alive.
"""

import os
import socket
import threading
import time
from collections.abc import Callable

import psutil

from db import store
from db.database import Sessions
from db.values.jobs import Heartbeat

_SILENT_SECONDS = 60.0  # twelve missed heartbeats: the worker of another computer has ended


def worker_name() -> str:
    """Return host:pid:start of this process; the start time distinguishes it from a later process with the same pid."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_time(psutil.Process())}"


def release_dead_workers(sessions: Sessions) -> int:
    """Queue the jobs of dead workers of this computer again, and return their number."""
    with sessions.read() as session:
        dead = [name for name in store.jobs.running_workers(session) if is_dead(name)]
    released = 0
    for name in dead:
        with sessions.begin() as session:
            released += store.jobs.release_jobs(session, name)
    return released


def is_dead(name: str) -> bool:
    """Return whether a worker of this computer has ended; False for workers of other computers, which we cannot see."""
    host, pid, start = (*name.split(":"), "", "")[:3]
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or _start_time(process) != start
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, ValueError):
        return False


def _start_time(process: psutil.Process) -> str:
    return f"{process.create_time():.2f}"


class SilentJobs:
    """Queues the jobs of workers again that have been silent for a minute, by a clock that never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked_at = -_SILENT_SECONDS
        self._since: dict[Heartbeat, float] = {}  # when each was first seen
        self._looking = threading.Lock()

    def release(self, sessions: Sessions) -> int:
        """Look at the heartbeats, a few times a minute, and return how many jobs were queued again."""
        with self._looking:
            return self._release(sessions)

    def _release(self, sessions: Sessions) -> int:
        now = self._clock()
        if now - self._looked_at < _SILENT_SECONDS / 4:
            return 0
        self._looked_at = now
        with sessions.read() as session:
            beats = store.jobs.running_heartbeats(session)
        self._since = {beat: self._since.get(beat, now) for beat in beats}
        silent = [beat for beat, since in self._since.items() if now - since >= _SILENT_SECONDS]
        if not silent:
            return 0
        with sessions.begin() as session:
            return store.jobs.release_silent_jobs(session, silent)
