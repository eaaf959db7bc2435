"""A worker: claims queued images, two at a time, analyses them and stores the results."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from core.imaging.limits import UnreadableImageError
from core.results import Analysis, Heatmap
from db import store
from db.database import Sessions
from db.errors import DatabaseBusyError
from db.files import DamagedFileError, Files
from db.values.jobs import Job, StoredHeatmap
from db.values.reading import ModelIdentity
from service.engine.site_policy import read_site_policy
from service.worker.lost_workers import SilentJobs

if TYPE_CHECKING:
    from core.pipeline import MagnificationClassifier

_POLL_SECONDS = 0.5
_BUSY_SECONDS = 5.0  # between two tries while the database is busy or away

_T = TypeVar("_T")
_log = logging.getLogger("second_read.worker")


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

        The current jobs are finished first, unless the database is busy when the worker is told to stop.
        """
        silent = SilentJobs()
        with ThreadPoolExecutor(self.jobs_at_once, "jobs") as pool:
            lines = [pool.submit(self._work_until, stop, silent) for _ in range(self.jobs_at_once)]
        return any(line.result() for line in lines)

    def _work_until(self, stop: threading.Event, silent: SilentJobs) -> bool:
        try:
            while not stop.is_set():
                try:
                    if self._is_replaced():
                        return True
                    if self.work_once(stop):
                        continue
                    silent.release(self.sessions)
                    stop.wait(_POLL_SECONDS)
                except DatabaseBusyError as error:
                    _wait_while_busy(error, stop)
        except BaseException:
            stop.set()  # the others finish their jobs, then the process ends with this error
            raise
        return False

    def work_once(self, stop: threading.Event | None = None) -> bool:
        """Claim one job and process it; return False if there is none.

        Raises:
            DatabaseBusyError: If no job can be claimed now, or the database stays busy until `stop` is set; the job is
                then queued again when this worker has ended.
        """
        with self.sessions.begin() as session:
            job = store.jobs.claim_job(session, self.name)
        if job is None:
            return False
        with self._heartbeat(job):
            self._process(job, stop or threading.Event())
        return True

    def _is_replaced(self) -> bool:
        with self.sessions.read() as session:
            deployment = store.models.in_service(session)
        return deployment is not None and deployment.id != self.deployment

    def _process(self, job: Job, stop: threading.Event) -> None:
        try:
            self._analyse(job, stop)
        except DatabaseBusyError:
            raise  # that is no fault of the image
        except UnreadableImageError as error:
            self._fail(job, str(error), stop)
        except DamagedFileError:
            _log.exception("job %d", job.id)
            self._fail(job, "the stored image is damaged; restore it from a backup", stop)
        except Exception as error:
            # One bad image must not stop the following ones; the reader sees that it failed.
            _log.exception("job %d", job.id)
            kind = type(error).__name__
            self._fail(job, f"the analysis stopped with an internal error ({kind}); the server log has details", stop)

    def _analyse(self, job: Job, stop: threading.Event) -> None:
        # The supervisor imports this module in the server, and so do the pages, which decode no image.
        from core.pipeline import analyse  # noqa: PLC0415

        classifier = _patiently(self._by_choices_of_site, stop).at(job.magnification)
        analysis = analyse(
            self.files.get(job.file_sha256),
            classifier,
            stored=True,
            um_per_px=job.um_per_px,
            judge_scope=not job.demonstration,
        )
        heatmap = _patiently(partial(self._store_heatmap, analysis.heatmap), stop)
        scope_map = _patiently(partial(self._store_scope_map, analysis), stop)

        def save() -> bool:
            with self.sessions.begin() as session:
                return store.jobs.finish_job(
                    session, job, self.name, analysis, model=self.model, heatmap=heatmap, scope_map_sha256=scope_map
                )

        if not _patiently(save, stop):
            _log.warning("job %d was reassigned to another worker in the meantime; this result was discarded", job.id)

    def _by_choices_of_site(self) -> "MagnificationClassifier":
        """Return the classifier by the card as this site uses it."""
        with self.sessions.read() as session:
            policy = read_site_policy(session, self.model.version)
        return self.classifier.with_card(policy.apply(self.classifier.card))

    def _store_heatmap(self, heatmap: Heatmap | None) -> StoredHeatmap | None:
        from core.imaging.heatmaps import encode_heatmap  # noqa: PLC0415

        if heatmap is None:
            return None
        file_sha256 = self.files.put(encode_heatmap(heatmap))
        return StoredHeatmap(file_sha256, float(heatmap.min()), float(heatmap.max()))

    def _store_scope_map(self, analysis: Analysis) -> str | None:
        """Store where an image is unlike the training images, if it is by its looks and not for its scale alone."""
        from core.imaging.heatmaps import encode_scope_map  # noqa: PLC0415

        if analysis.looks not in ("unusual", "out") or analysis.scope_map is None:
            return None
        return self.files.put(encode_scope_map(analysis.scope_map))

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

    def _fail(self, job: Job, message: str, stop: threading.Event) -> None:
        def save() -> None:
            with self.sessions.begin() as session:
                store.jobs.fail_job(session, job, self.name, message)

        _patiently(save, stop)


def _patiently(act: Callable[[], _T], stop: threading.Event) -> _T:
    """Do something in the database or on its disk, again and again while that is busy or full.

    An analysis is not made twice for that.

    Raises:
        DatabaseBusyError: If it is still busy when the worker is to stop.
    """
    while True:
        try:
            return act()
        except DatabaseBusyError as error:
            if _wait_while_busy(error, stop):
                raise


def _wait_while_busy(error: DatabaseBusyError, stop: threading.Event) -> bool:
    """Wait before the next try; return True if the worker is to stop instead."""
    _log.warning("%s; trying again in %.0f s", error, _BUSY_SECONDS)
    return stop.wait(_BUSY_SECONDS)
