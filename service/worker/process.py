"""The process of a worker: loads the checkpoint in service, works, and reports to the server.

The server starts and supervises it (`service/worker/supervisor.py`); `python -m service.worker` starts it manually.
It is the only long-lived process that loads torch.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from core.card import Card, UnusableCheckpointError, checkpoint_sha256, read_card
from core.computing import Computing
from core.settings import Settings
from db.database import open_database
from db.files import Files
from db.values.reading import ModelIdentity
from service.worker.answering import answer_requests
from service.worker.checkpoint_in_service import find_checkpoint_in_service
from service.worker.lost_workers import release_dead_workers, worker_name
from service.worker.protocol import COMPUTES, READY, REPLACED, UNUSABLE, UNUSABLE_CHECKPOINT
from service.worker.worker import Worker

if TYPE_CHECKING:
    from core.micro_batches import NetworkOwner
    from core.network.classifier import Classifier

_JOBS_AT_ONCE = 2  # one is decoded or stored while the network looks at the other

_log = logging.getLogger("second_read.worker")


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
