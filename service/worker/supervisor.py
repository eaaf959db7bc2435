"""The supervisor: keeps the worker processes running beside the server, and reports why if it cannot."""

import logging
import os
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from pathlib import Path

from core.computing import BACKENDS, Computing
from core.settings import Settings
from db.database import Sessions
from service.engine.queue import RequestQueue, WorkerLink
from service.worker.lost_workers import release_dead_workers
from service.worker.protocol import (
    COMPUTES,
    READY,
    REPLACED,
    REQUESTS,
    UNUSABLE,
    UNUSABLE_CHECKPOINT,
    WATCHED,
)

_PROJECT = Path(__file__).resolve().parents[2]

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 30.0
_PATIENCE_SECONDS = 5.0  # for the current job when the server stops; after a kill, the next start repeats the job

_log = logging.getLogger("second_read.watcher")


class Supervisor:
    """Keeps as many workers running as the settings say, restarts those that die, and stops them with the server.

    `requests` are the images that its workers analyse besides those that are stored.
    """

    def __init__(self, settings: Settings, sessions: Sessions) -> None:
        self.requests = RequestQueue(settings.queue)
        self._workers = tuple(_WatchedWorker(settings, sessions, self.requests) for _ in range(settings.workers))

    @property
    def model_version(self) -> str | None:
        """First twelve hex digits of the loaded checkpoint's sha256; None while no worker has loaded one."""
        return next((worker.model_version for worker in self._workers if worker.model_version), None)

    @property
    def computing(self) -> Computing | None:
        """How a worker computes, one with a caution before others; None while no worker has said."""
        said = [worker.computing for worker in self._workers if worker.computing]
        return next((one for one in said if one.caution), said[0] if said else None)

    @property
    def problem(self) -> str | None:
        """Why a worker analyses nothing, as a message for readers; None while there is no problem."""
        return next((worker.problem for worker in self._workers if worker.problem), None)

    @property
    def pid(self) -> int | None:
        """Process id of the first worker that is running; None while none is."""
        return next((worker.pid for worker in self._workers if worker.pid), None)

    def start(self) -> None:
        """Start supervising in a thread for each worker."""
        if self._workers:
            self.requests.open()
        for worker in self._workers:
            worker.start()

    def stop(self) -> None:
        """Let the workers finish their jobs within a few seconds; then kill them and queue their jobs again.

        Does nothing if the supervisor was never started.
        """
        for worker in self._workers:
            worker.ask_to_stop()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for worker in self._workers:
            worker.stop(max(0.0, deadline - time.monotonic()))
        self.requests.give_up("the server is stopping")


class _WatchedWorker:
    """One worker process, and the thread that starts it again when it has ended."""

    def __init__(self, settings: Settings, sessions: Sessions, requests: RequestQueue) -> None:
        self.model_version: str | None = None
        self.problem: str | None = None
        self.computing: Computing | None = None
        self._settings = settings
        self._sessions = sessions
        self._requests = requests
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process else None

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        with self._lock:
            self._stopping.set()
            if self._process and self._process.stdin:
                self._process.stdin.close()

    def stop(self, patience: float) -> None:
        """Wait this many seconds for the worker to end; then kill it."""
        process = self._process
        if self._thread.is_alive():
            self._thread.join(patience)
        if self._thread.is_alive() and process:
            process.kill()
            self._thread.join()

    def _watch(self) -> None:
        delay = _FIRST_DELAY_SECONDS
        while not self._stopping.is_set():
            try:
                was_ready = self._run_worker()
                release_dead_workers(self._sessions)
            except Exception:
                # The supervisor must survive a lack of memory for a process, or a database that is not responding.
                was_ready = False
                _log.exception("the worker could not be started or its jobs could not be released; trying again")
            if not was_ready:
                self._requests.give_up(self.problem or "the worker could not be started; the server log has details")
            delay = _FIRST_DELAY_SECONDS if was_ready else min(2 * delay, _LONGEST_DELAY_SECONDS)
            self._stopping.wait(delay)

    def _run_worker(self) -> bool:
        """Start one worker, wait until it ends, and return whether it was ready at any time."""
        with self._lock:
            if self._stopping.is_set():
                return False
            process, link = _start_worker(self._settings, self._requests)
            self._process = process
        was_ready = False
        with process:
            for line in process.stdout or ():
                was_ready = self._handle_line(line.strip()) or was_ready
        link.join()
        self._process = self.model_version = self.computing = None
        if not self._stopping.is_set() and process.returncode not in (UNUSABLE_CHECKPOINT, REPLACED):
            self.problem = f"the worker stopped unexpectedly (status {process.returncode}) and is being restarted"
            _log.error("%s", self.problem)
        return was_ready

    def _handle_line(self, line: str) -> bool:
        """Take over the state that the worker reports on standard output; return whether it is ready."""
        word, _, rest = line.partition(" ")
        if word == READY:
            self.model_version, self.problem = rest, None
        elif word == COMPUTES:
            self.computing = _read_computing(rest)
        elif word == UNUSABLE:
            self.problem = rest
            _log.error("images cannot be analysed: %s", rest)
        return word == READY


def _read_computing(said: str) -> Computing | None:
    backend, device, caution = (*said.split(" ", 2), "", "")[:3]
    known = next((one for one in BACKENDS if one == backend), None)
    return Computing(known, device, caution or None) if known else None


def _start_worker(settings: Settings, requests: RequestQueue) -> "tuple[subprocess.Popen[str], WorkerLink]":
    # A pair of sockets without a name: nobody but this server and this worker can reach it, so neither asks who is
    # there, and its end is seen at once when either is killed.
    ours, its_end = Pipe()
    with its_end:
        process = subprocess.Popen(
            # -P: a folder named core/ in the working directory must not replace ours.
            [sys.executable, "-P", "-m", "service.worker", WATCHED, REQUESTS, str(its_end.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=worker_environment(settings),
            start_new_session=True,  # Ctrl-C in the terminal reaches only the server, which then stops the worker
            pass_fds=[its_end.fileno()],
        )
    return process, requests.attach(ours)


def worker_environment(settings: Settings) -> dict[str, str]:
    """Return environment variables with which a process finds our code and these settings, wherever it starts."""
    paths = [str(_PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "SECOND_READ_DATA": str(settings.data),
        "SECOND_READ_DATABASE": settings.database,
        "SECOND_READ_CHECKPOINT": str(settings.checkpoint),
        "SECOND_READ_DEVICE": settings.device,
        "SECOND_READ_BACKEND": settings.backend,
        "SECOND_READ_THREADS": str(settings.threads),
        "SECOND_READ_BATCH_VIEWS": str(settings.batch_views),
        "SECOND_READ_BATCH_WAIT_MS": str(settings.batch_wait_ms),
    }
