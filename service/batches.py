"""Storing batches of images in the server: closing a tab, another page or a busy database does not cut one off."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from db.database import Sessions
from db.errors import DatabaseBusyError, NotAllowedError
from db.files import Files
from service.intake import CasePlan, Intake, IntakeResult, Received

_PATIENCE_SECONDS = 600.0  # for a busy database, with each image
_PAUSE_SECONDS = 1.0  # between two attempts
_LAST_IMAGE_SECONDS = 10.0  # for the image that is being stored when the server stops
_UNEXPECTED = "an unexpected error, which the server log describes"
_SERVER_STOPS = "the server is being stopped"

_T = TypeVar("_T")
_log = logging.getLogger("second_read.batches")


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch is; `results` are those of its first images, in the order received."""

    received: int
    results: tuple[IntakeResult, ...]
    ended: bool  # nothing is left to store
    waits_for: str = ""  # why the next image is not stored yet
    stopped_by: str = ""  # why storing has stopped before its end
    refused: str = ""  # why nothing at all was stored

    @property
    def stored(self) -> int:
        """The number of images that were stored."""
        return sum(result.image_id is not None for result in self.results)


class Batch:
    """One batch that the server stores; the images that are left stay in memory until it has ended."""

    def __init__(self, intake: Intake, plan: CasePlan, images: Iterable[Received], received: int) -> None:
        self.account_id = plan.account_id
        self.was_seen = False  # its outcome was on a screen
        self._intake, self._joins = intake, plan.case_id
        self._left, self._received = iter(images), received
        self._next: Received | None = None
        self._results: list[IntakeResult] = []
        self._waits_for = self._stopped_by = self._refused = ""
        self._ended = False
        self._idle = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def progress(self) -> BatchProgress:
        """How far it is now."""
        return BatchProgress(
            self._received, tuple(self._results), self._ended, self._waits_for, self._stopped_by, self._refused
        )

    @property
    def is_running(self) -> bool:
        """Whether a thread is storing it now."""
        return self._thread is not None and not self._idle.is_set()

    @property
    def case_id(self) -> int | None:
        """The case of its images; None if it is not known yet, or if each has its own."""
        return self._joins or self._intake.case_id

    @property
    def intake_id(self) -> int | None:
        """Its intake in the database; None if it has none."""
        return self._intake.id

    def start(self) -> None:
        """Store what is left, in a thread; also after it has stopped."""
        if self.is_running or self._ended:
            return
        self._stopped_by = ""
        self._idle.clear()
        self._thread = threading.Thread(target=self._run, name="batch", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended or stopped; return whether it has."""
        return self._idle.wait(seconds)

    def stop(self) -> None:
        """Stop after the image that is being stored."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_LAST_IMAGE_SECONDS)

    def _run(self) -> None:
        try:
            self._store_images()
        except DatabaseBusyError as error:
            self._stopped_by = str(error)
        except Exception as error:
            # A thread has nobody to raise to: the page shows what it says here.
            if isinstance(error, ValueError | NotAllowedError) and not self.progress.stored:
                self._refused, self._ended = str(error), True
            else:
                _log.exception("a batch of images could not be stored to its end")
                self._stopped_by = _UNEXPECTED
        finally:
            self._waits_for = ""
            self._idle.set()

    def _store_images(self) -> None:
        while (received := self._next or next(self._left, None)) is not None:
            if self._stopping.is_set():
                self._next, self._stopped_by = received, _SERVER_STOPS
                return
            self._next = received
            position = len(self._results) + 1
            self._results.append(self._patiently(partial(self._intake.take_in, position, received)))
            self._next = None
        self._patiently(self._intake.end)
        self._ended = True

    def _patiently(self, act: Callable[[], _T]) -> _T:
        """Do something in the database, again and again while it is busy."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                done = act()
            except DatabaseBusyError as error:
                self._waits_for = str(error)
                if self._stopping.wait(_PAUSE_SECONDS) or time.monotonic() > until:
                    raise
            else:
                self._waits_for = ""
                return done


class Batches:
    """The batches of one server."""

    def __init__(self, sessions: Sessions, files: Files) -> None:
        self._sessions, self._files = sessions, files
        self._lock = threading.Lock()
        self._batches: list[Batch] = []

    def store(self, plan: CasePlan, images: Iterable[Received], received: int) -> Batch:
        """Start to store a batch, and return it.

        Raises:
            ValueError: If other images are joining its case right now.
        """
        with self._lock:
            if plan.case_id is not None and plan.case_id in self._running_cases():
                raise ValueError("images of this case are still being stored: wait for them first")
            # Outcomes that were seen need no memory.
            self._batches = [batch for batch in self._batches if not batch.was_seen or batch.is_running]
            batch = Batch(Intake(self._sessions, self._files, plan, received), plan, images, received)
            self._batches.append(batch)
            batch.start()
        return batch

    def unseen(self, account_id: int) -> Batch | None:
        """Return the oldest batch of an account whose outcome no screen has shown; None without one."""
        with self._lock:
            return next((one for one in self._batches if one.account_id == account_id and not one.was_seen), None)

    def running_intakes(self) -> frozenset[int]:
        """Return the intakes whose images are being stored now."""
        with self._lock:
            ids = [batch.intake_id for batch in self._batches if batch.is_running]
        return frozenset(number for number in ids if number is not None)

    def close(self) -> None:
        """Stop all batches; a case whose images were not all stored stays incomplete."""
        with self._lock:
            batches = list(self._batches)
        for batch in batches:
            batch.stop()

    def _running_cases(self) -> set[int]:
        return {batch.case_id for batch in self._batches if not batch.progress.ended and batch.case_id is not None}
