"""The worker process: claims queued images one at a time, analyses them and stores the results.

Started and watched by the app (`service/worker/supervisor.py`), or by hand: `python -m service.worker`. It is the only
long-lived process that loads torch. Workers are named so that anyone on the same computer can tell whether one is
still alive, and the jobs of dead ones are released."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

from core.card import UnusableCheckpointError, checkpoint_sha256, read_card
from core.imaging.heatmaps import encode_heatmap
from core.imaging.limits import UnreadableImageError
from core.pipeline import Classifies, analyse
from core.results import Heatmap
from core.settings import Settings
from db import store
from db.database import Sessions, open_database
from db.files import DamagedFileError, Files
from db.values.reading import Job, ModelIdentity, StoredHeatmap
from service.worker.checkpoint_in_service import chosen_checkpoint

if TYPE_CHECKING:
    from core.network.classifier import Classifier


UNUSABLE_CHECKPOINT, REPLACED = 3, 4  # exit status; replaced: another checkpoint was put into service
READY, UNUSABLE = "ready", "unusable"  # first word of a line to the supervisor on standard output
WATCHED = "--watched"  # stop when standard input closes: then the watching server is gone
TRY = "--try"  # with a path: only say whether this checkpoint can be loaded

_POLL_SECONDS = 0.5
_STALE = timedelta(seconds=60)  # twelve missed beats: the worker of another computer is gone

_log = logging.getLogger("second_read.worker")


def worker_name() -> str:
    """Name this process as host:pid:start; the start tells it from a later process with the same pid."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start(psutil.Process())}"


def release_dead_workers(sessions: Sessions) -> int:
    """Queue again what workers of this computer held when they died; give the number of jobs."""
    with sessions.read() as session:
        dead = [name for name in store.jobs.running_workers(session) if is_dead(name)]
    released = 0
    for name in dead:
        with sessions.begin() as session:
            released += store.jobs.release_jobs(session, name)
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


class ClassifiesAt(Classifies, Protocol):
    """What the worker needs of a classifier: that of the pipeline, for each magnification."""

    def at(self, magnification: str | None) -> Classifies:
        """Give the same classifier for images of one magnification, or of an unknown one."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that turns queued images into analyses."""

    name: str
    sessions: Sessions
    files: Files
    classifier: ClassifiesAt
    model: ModelIdentity
    deployment: int | None = None  # number of the deployment that put this model into service
    beat_seconds: float = 5.0

    def run(self, stop: threading.Event) -> bool:
        """Work until told to stop, or another checkpoint is put into service, which gives True.

        A job that was begun is finished first.
        """
        looked_for_stale = time.monotonic()
        while not stop.is_set():
            if self._is_replaced():
                return True
            if self.work_once():
                continue
            if time.monotonic() - looked_for_stale > _STALE.total_seconds():
                _release_stale(self.sessions)
                looked_for_stale = time.monotonic()
            stop.wait(_POLL_SECONDS)
        return False

    def work_once(self) -> bool:
        """Claim one job and see it through; False when there is none."""
        with self.sessions.begin() as session:
            job = store.jobs.claim_job(session, self.name)
        if job is None:
            return False
        with self._heartbeat(job):
            self._see_through(job)
        return True

    def _is_replaced(self) -> bool:
        with self.sessions.read() as session:
            deployment = store.models.in_service(session)
        return deployment is not None and deployment.id != self.deployment

    def _see_through(self, job: Job) -> None:
        try:
            self._analyse(job)
        except UnreadableImageError as error:
            self._fail(job, str(error))
        except DamagedFileError:
            _log.exception("job %d", job.id)
            self._fail(job, "the stored image is damaged; restore it from a backup")
        except Exception as error:
            # Whatever one image does, the next ones still get their turn; the reader sees that it failed.
            _log.exception("job %d", job.id)
            kind = type(error).__name__
            self._fail(job, f"the analysis stopped with an internal error ({kind}); the log of the server has more")

    def _analyse(self, job: Job) -> None:
        analysis = analyse(self.files.get(job.file_sha256), self.classifier.at(job.magnification))
        heatmap = None if analysis.heatmap is None else self._store_heatmap(analysis.heatmap)
        with self.sessions.begin() as session:
            kept = store.jobs.finish_job(session, job, self.name, analysis, model=self.model, heatmap=heatmap)
        if not kept:
            _log.warning("job %d was given to another worker meanwhile; this result was dropped", job.id)

    def _store_heatmap(self, heatmap: Heatmap) -> StoredHeatmap:
        file_sha256 = self.files.put(encode_heatmap(heatmap))
        return StoredHeatmap(file_sha256, float(heatmap.min()), float(heatmap.max()))

    @contextmanager
    def _heartbeat(self, job: Job) -> Iterator[None]:
        """Say every few seconds that the job is still being worked on."""
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(job, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _beat(self, job: Job, done: threading.Event) -> None:
        while not done.wait(self.beat_seconds):
            try:
                with self.sessions.begin() as session:
                    store.jobs.beat(session, job.id, self.name)
            except Exception:
                # A missed beat is not worth a job: sixty seconds of them are needed to lose it.
                _log.exception("heartbeat of job %d", job.id)

    def _fail(self, job: Job, message: str) -> None:
        with self.sessions.begin() as session:
            store.jobs.fail_job(session, job, self.name, message)


def main() -> int:
    """Load the checkpoint once, then work until the server closes our standard input or a signal comes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # which database it is, said at every start
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings.from_environment()
    if TRY in sys.argv[1:]:
        return _try(settings, Path(sys.argv[-1]))
    if WATCHED in sys.argv[1:]:
        threading.Thread(target=_stop_with_the_server, args=(stop,), daemon=True).start()
    return _work(settings, stop)


def _work(settings: Settings, stop: threading.Event) -> int:
    sessions = open_database(settings.database, data=settings.data)
    release_dead_workers(sessions)
    _release_stale(sessions)
    with sessions.read() as session:
        chosen = chosen_checkpoint(session, settings)
    try:
        if chosen.deployment is not None:
            chosen.check_unchanged(checkpoint_sha256(chosen.path))
        classifier = _load(settings, chosen.path)
    except UnusableCheckpointError as error:
        return _unusable(error, chosen.path)
    model = ModelIdentity(classifier.version, classifier.card.name, classifier.card.demonstration)
    deployment = chosen.deployment.id if chosen.deployment else None
    worker = Worker(worker_name(), sessions, Files(settings.files), classifier, model, deployment)
    print(READY, model.version, flush=True)
    return REPLACED if worker.run(stop) else 0


def _try(settings: Settings, path: Path) -> int:
    try:
        print(READY, _load(settings, path).version, flush=True)
    except UnusableCheckpointError as error:
        return _unusable(error, path)
    return 0


def _unusable(error: UnusableCheckpointError, path: Path) -> int:
    # By name only: this sentence reaches the browser.
    print(UNUSABLE, str(error).replace(str(path), path.name), flush=True)
    return UNUSABLE_CHECKPOINT


def _load(settings: Settings, path: Path) -> "Classifier":
    # Without torch, whose import takes seconds: a file that is missing or no checkpoint is tried again and again.
    read_card(path)
    if settings.threads:
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(settings.threads)
    # torch reads the number of threads when it is first imported.
    from core.network.checkpoint import load_classifier  # noqa: PLC0415

    return load_classifier(path, settings.device)


def _release_stale(sessions: Sessions) -> None:
    with sessions.begin() as session:
        store.jobs.release_stale_jobs(session, _STALE)


def _stop_with_the_server(stop: threading.Event) -> None:
    # Not sys.stdin: a thread blocked inside it makes the interpreter abort when it ends.
    while os.read(0, 1024):
        continue
    stop.set()
