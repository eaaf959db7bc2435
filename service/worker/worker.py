"""The worker process: claims queued images, two at a time, analyses them and stores the results.

The server starts and supervises it (`service/worker/supervisor.py`); `python -m service.worker` starts it manually.
It is the only long-lived process that loads torch. From the name of a worker, any process on the same computer can
find out whether it is still alive, and release the jobs of a dead one.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from core.card import Card, UnusableCheckpointError, checkpoint_sha256, read_card
from core.computing import Computing
from core.imaging.limits import UnreadableImageError
from core.results import Heatmap
from core.settings import Settings
from db import store
from db.database import Sessions, open_database
from db.files import DamagedFileError, Files
from db.values.jobs import Heartbeat, Job, StoredHeatmap
from db.values.reading import ModelIdentity
from service.engine.site_policy import read_site_policy
from service.worker.answering import answer_requests
from service.worker.checkpoint_in_service import find_checkpoint_in_service

if TYPE_CHECKING:
    from core.micro_batches import NetworkOwner
    from core.network.classifier import Classifier
    from core.pipeline import MagnificationClassifier


UNUSABLE_CHECKPOINT, REPLACED = 3, 4  # exit status; replaced: another checkpoint was put into service
READY, UNUSABLE = "ready", "unusable"  # first word of a line for the supervisor on standard output
COMPUTES = "computes"  # the same: then backend, device, and what there is to say about them
WATCHED = "--watched"  # stop when standard input closes, because then the server has ended
REQUESTS = "--requests"  # with a file descriptor: the connection over which the server asks for analyses
TRY = "--try"  # with a path: only report whether this checkpoint can be loaded

_POLL_SECONDS = 0.5
_JOBS_AT_ONCE = 2  # one is decoded or stored while the network looks at the other
_SILENT_SECONDS = 60.0  # twelve missed heartbeats: the worker of another computer has ended

_log = logging.getLogger("second_read.worker")


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


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that turns queued images into analyses."""

    name: str
    sessions: Sessions
    files: Files
    classifier: "MagnificationClassifier"
    model: ModelIdentity
    deployment: int | None = None  # number of the deployment that put this model into service
    beat_seconds: float = 5.0
    jobs_at_once: int = 1

    def run(self, stop: threading.Event) -> bool:
        """Work until `stop` is set or another checkpoint is put into service; return True in the latter case.

        The current jobs are always finished first.
        """
        silent = SilentJobs()
        with ThreadPoolExecutor(self.jobs_at_once, "jobs") as pool:
            lines = [pool.submit(self._work_until, stop, silent) for _ in range(self.jobs_at_once)]
        return any(line.result() for line in lines)

    def _work_until(self, stop: threading.Event, silent: "SilentJobs") -> bool:
        try:
            while not stop.is_set():
                if self._is_replaced():
                    return True
                if self.work_once():
                    continue
                silent.release(self.sessions)
                stop.wait(_POLL_SECONDS)
        except BaseException:
            stop.set()  # the others finish their jobs, then the process ends with this error
            raise
        return False

    def work_once(self) -> bool:
        """Claim one job and process it; return False if there is none."""
        with self.sessions.begin() as session:
            job = store.jobs.claim_job(session, self.name)
        if job is None:
            return False
        with self._heartbeat(job):
            self._process(job)
        return True

    def _is_replaced(self) -> bool:
        with self.sessions.read() as session:
            deployment = store.models.in_service(session)
        return deployment is not None and deployment.id != self.deployment

    def _process(self, job: Job) -> None:
        try:
            self._analyse(job)
        except UnreadableImageError as error:
            self._fail(job, str(error))
        except DamagedFileError:
            _log.exception("job %d", job.id)
            self._fail(job, "the stored image is damaged; restore it from a backup")
        except Exception as error:
            # One bad image must not stop the following ones; the reader sees that it failed.
            _log.exception("job %d", job.id)
            kind = type(error).__name__
            self._fail(job, f"the analysis stopped with an internal error ({kind}); the server log has details")

    def _analyse(self, job: Job) -> None:
        # The supervisor imports this module in the server, and so do the pages, which decode no image.
        from core.pipeline import analyse  # noqa: PLC0415

        classifier = self._by_choices_of_site().at(job.magnification)
        analysis = analyse(
            self.files.get(job.file_sha256),
            classifier,
            stored=True,
            um_per_px=job.um_per_px,
            judge_scope=not job.demonstration,
        )
        heatmap = None if analysis.heatmap is None else self._store_heatmap(analysis.heatmap)
        with self.sessions.begin() as session:
            is_saved = store.jobs.finish_job(session, job, self.name, analysis, model=self.model, heatmap=heatmap)
        if not is_saved:
            _log.warning("job %d was reassigned to another worker in the meantime; this result was discarded", job.id)

    def _by_choices_of_site(self) -> "MagnificationClassifier":
        """Return the classifier by the card as this site uses it."""
        with self.sessions.read() as session:
            policy = read_site_policy(session, self.model.version)
        return self.classifier.with_card(policy.apply(self.classifier.card))

    def _store_heatmap(self, heatmap: Heatmap) -> StoredHeatmap:
        from core.imaging.heatmaps import encode_heatmap  # noqa: PLC0415

        file_sha256 = self.files.put(encode_heatmap(heatmap))
        return StoredHeatmap(file_sha256, float(heatmap.min()), float(heatmap.max()))

    @contextmanager
    def _heartbeat(self, job: Job) -> Iterator[None]:
        """Record every few seconds that the job is still in progress."""
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
                    store.jobs.record_heartbeat(session, job.id, self.name)
            except Exception:
                # A missed heartbeat does no harm: a job is released only after sixty seconds without one.
                _log.exception("the heartbeat of job %d failed", job.id)

    def _fail(self, job: Job, message: str) -> None:
        with self.sessions.begin() as session:
            store.jobs.fail_job(session, job, self.name, message)


def work(*, watched: bool, requests: int | None = None) -> int:
    """Load the checkpoint, then work until a signal arrives or, if watched, the server closes our standard input.

    Args:
        watched: Whether a server watches this process.
        requests: The file descriptor of the connection over which it asks for analyses.

    Returns:
        The exit status.
    """
    stop, loaded = _prepare(), threading.Event()
    if watched:
        threading.Thread(target=_stop_with_server, args=(stop, loaded), daemon=True).start()
    return _work(Settings.from_environment(), stop, loaded, requests)


def try_checkpoint(path: Path) -> int:
    """Report whether this checkpoint can be loaded; return the exit status."""
    _prepare()
    try:
        print(READY, _load(Settings.from_environment(), path).version, flush=True)
    except UnusableCheckpointError as error:
        return _report_unusable(error, path)
    return 0


def _prepare() -> threading.Event:
    """Set up the log, and return an event that a signal to stop sets."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it would log the kind of database at every start
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _work(settings: Settings, stop: threading.Event, loaded: threading.Event, requests: int | None) -> int:
    sessions = open_database(settings.database, data=settings.data)
    release_dead_workers(sessions)
    with sessions.read() as session:
        chosen = find_checkpoint_in_service(session, settings)
    try:
        if chosen.deployment is not None:
            chosen.check_unchanged(checkpoint_sha256(chosen.path))
        classifier = _load_for_use(settings, chosen.path)
    except UnusableCheckpointError as error:
        return _report_unusable(error, chosen.path)
    model = identify_model(classifier.version, classifier.card)
    deployment = chosen.deployment.id if chosen.deployment else None
    with _owner_of(classifier, settings) as owner:
        if requests is not None:
            answer_requests(Connection(requests), owner, sessions, model.version, stop)
        shared = owner.classifier()
        files = Files(settings.files)
        worker = Worker(worker_name(), sessions, files, shared, model, deployment, jobs_at_once=_JOBS_AT_ONCE)
        loaded.set()
        _tell_computing(classifier.computing)
        classifier.tell_changes(_tell_computing)
        print(READY, model.version, flush=True)
        return REPLACED if worker.run(stop) else 0


@contextmanager
def _owner_of(classifier: "Classifier", settings: Settings) -> Iterator["NetworkOwner"]:
    from core.micro_batches import NetworkOwner  # noqa: PLC0415

    wanted = classifier.with_batch(settings.batch_views) if settings.batch_views else classifier
    owner = NetworkOwner(wanted, batch=wanted.batch, wait_seconds=settings.batch_wait_ms / 1000)
    try:
        yield owner
    finally:
        owner.close()


def identify_model(version: str, card: Card) -> ModelIdentity:
    """Return which model a checkpoint is."""
    return ModelIdentity(version, card.name, card.demonstration, card.site.origin if card.site else None)


def _report_unusable(error: UnusableCheckpointError, path: Path) -> int:
    # Only the file name, because this message reaches the browser.
    print(UNUSABLE, str(error).replace(str(path), path.name), flush=True)
    return UNUSABLE_CHECKPOINT


def _tell_computing(computing: Computing) -> None:
    if computing.caution is not None:
        _log.warning("%s", computing.caution)
    print(COMPUTES, computing.backend, computing.device, computing.caution or "", flush=True)


def _load(settings: Settings, path: Path) -> "Classifier":
    """Load a checkpoint only to see that it can be loaded."""
    _prepare_torch(settings, path)
    from core.network.checkpoint import load_classifier  # noqa: PLC0415

    return load_classifier(path, settings.device)


def _load_for_use(settings: Settings, path: Path) -> "Classifier":
    _prepare_torch(settings, path)
    from core.network.checkpoint import load_for_use  # noqa: PLC0415

    return load_for_use(path, settings.computing)


def _prepare_torch(settings: Settings, path: Path) -> None:
    # Before torch, whose import takes seconds: the supervisor retries a missing or unusable file again and again.
    read_card(path)
    if settings.threads:
        # torch reads the number of threads when it is imported.
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(settings.threads)


def _stop_with_server(stop: threading.Event, loaded: threading.Event) -> None:
    # Not sys.stdin: a thread that is blocked in it makes the interpreter abort at exit.
    while os.read(0, 1024):
        continue
    stop.set()
    if not loaded.is_set():
        os._exit(0)  # no job is in progress, and the import of torch cannot be interrupted in any other way
