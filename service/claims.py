"""Names workers so that anyone on the same computer can tell whether one still lives, and frees what the dead held."""

import os
import socket

import psutil

from db import store
from db.session import Sessions


def worker_name() -> str:
    """Name this process as host:pid:start; the start tells it from a later process with the same pid."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(psutil.Process())}"


def release_dead_workers(sessions: Sessions) -> int:
    """Queue again what workers of this computer held when they died; give the number of jobs."""
    with sessions.read() as session:
        dead = [name for name in store.running_workers(session) if is_dead(name)]
    released = 0
    for name in dead:
        with sessions.begin() as session:
            released += store.release_jobs(session, name)
    return released


def is_dead(name: str) -> bool:
    """Say whether a worker of this computer no longer runs; of other computers we cannot know, so no."""
    host, pid, start = (*name.split(":"), "", "")[:3]
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or _start(process) != start
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, ValueError):
        return False


def _start(process: psutil.Process) -> str:
    return f"{process.create_time():.2f}"
