"""The queue of requests in the server: hands each to a worker that has room, and again if that worker ends."""

import logging
import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection

from core.results import Analysis, Priority
from service.engine.messages import Asked, Cancelled, FromWorker, Ready, Refused, ToWorker
from service.engine.requests import AnalysisRequest, EngineBusyError, EngineUnavailableError
from service.engine.site_policy import SitePolicy

# Images that one worker has in hand: enough to fill its batches, and a cohort leaves room for those who wait.
AT_ONCE: dict[Priority, int] = {"interactive": 8, "cohort": 4}

_MOST_BYTES = 1_000_000_000  # of files that wait, for each priority
_MOST_LOSSES = 5  # workers that may end with the same image in hand; it may be the reason
_RECENT = 20  # answers from which the time of the next is estimated
_LONGEST_RETRY_SECONDS = 60

_log = logging.getLogger("second_read.engine")


@dataclass(frozen=True, slots=True)
class Result:
    """What a worker found, with which version of the model and by which choices of the site."""

    analysis: Analysis
    model_version: str
    policy: SitePolicy


@dataclass(slots=True, eq=False)
class Ticket:
    """A request on its way; `result` becomes the answer, or the reason why there is none."""

    number: int
    request: AnalysisRequest
    result: Future[Result] = field(default_factory=Future)
    losses: int = 0
    sent_at: float = 0.0


class RequestQueue:
    """Requests that wait, and the workers of this server that take them."""

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._changed = threading.Condition()
        self._numbers = count(1)
        self._waiting: dict[Priority, deque[Ticket]] = {"interactive": deque(), "cohort": deque()}
        self._lost: deque[Ticket] = deque()  # a worker ended with them in hand
        self._links: list[WorkerLink] = []
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        self._problem: str | None = "the server has not started a worker that analyses images"

    @property
    def model_version(self) -> str | None:
        """The version of the model that a ready worker has loaded; None while none is ready."""
        with self._changed:
            return next((link.model_version for link in self._links if link.model_version), None)

    def open(self) -> None:
        """Take requests from now on; they wait until a worker is ready."""
        with self._changed:
            self._problem = None

    def give_up(self, problem: str) -> None:
        """Answer all that wait, and all that come, with the problem until a worker is ready; not while one runs."""
        with self._changed:
            if self._links:
                return
            self._problem = problem
            given_up = [*self._lost, *self._waiting["interactive"], *self._waiting["cohort"]]
            for queue in (self._lost, *self._waiting.values()):
                queue.clear()
        for ticket in given_up:
            _fail(ticket, EngineUnavailableError(problem))

    def submit(self, request: AnalysisRequest) -> Ticket:
        """Queue a request.

        Raises:
            EngineBusyError: If too many of its priority are waiting.
            EngineUnavailableError: If no worker is ready and none is about to be.
        """
        with self._changed:
            if self._problem is not None:
                raise EngineUnavailableError(self._problem)
            waiting = self._waiting[request.priority]
            too_large = sum(len(ticket.request.data) for ticket in waiting) + len(request.data) > _MOST_BYTES
            if len(waiting) >= self._most_waiting or (waiting and too_large):
                raise EngineBusyError(self._retry_after(len(waiting)))
            ticket = Ticket(next(self._numbers), request)
            waiting.append(ticket)
            self._changed.notify_all()
            return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Take a request back, wherever it is."""
        with self._changed:
            for queue in (self._lost, *self._waiting.values()):
                if ticket in queue:
                    queue.remove(ticket)
            for link in self._links:
                if ticket.number in link.in_hand:
                    link.to_cancel.append(ticket.number)
            self._changed.notify_all()

    def attach(self, connection: "Connection[ToWorker, FromWorker]") -> "WorkerLink":
        """Give a worker that was just started its share as soon as it is ready, until it closes the connection."""
        link = WorkerLink(self, connection)
        with self._changed:
            self._links.append(link)
        link.start()
        return link

    def next_for(self, link: "WorkerLink") -> ToWorker | None:
        """Wait for what is to be said to a worker next; None once it has ended."""
        with self._changed:
            while not link.has_ended:
                if link.to_cancel:
                    return Cancelled(link.to_cancel.popleft())
                if ticket := self._pick(link):
                    ticket.sent_at = time.monotonic()
                    link.in_hand[ticket.number] = ticket
                    return Asked(ticket.number, ticket.request)
                self._changed.wait()
            return None

    def take(self, link: "WorkerLink", message: FromWorker) -> None:
        """Take what a worker says."""
        with self._changed:
            if isinstance(message, Ready):
                link.model_version, self._problem = message.model_version, None
                self._changed.notify_all()
                return
            ticket = link.in_hand.pop(message.number)
            self._seconds.append(time.monotonic() - ticket.sent_at)
            version = link.model_version or ""
            self._changed.notify_all()
        if isinstance(message, Refused):
            _fail(ticket, message.error)
        elif ticket.result.set_running_or_notify_cancel():
            ticket.result.set_result(Result(message.analysis, version, message.policy))

    def lose(self, link: "WorkerLink") -> None:
        """Queue what an ended worker had in hand again, except what has ended too many."""
        with self._changed:
            link.has_ended = True
            self._links.remove(link)
            hopeless = []
            for ticket in link.in_hand.values():
                ticket.losses += 1
                if ticket.losses >= _MOST_LOSSES or ticket.result.cancelled():
                    hopeless.append(ticket)
                else:
                    self._lost.append(ticket)
            self._changed.notify_all()
        for ticket in hopeless:
            _fail(ticket, EngineUnavailableError(f"{ticket.losses} workers ended while analysing this image"))

    def _pick(self, link: "WorkerLink") -> Ticket | None:
        """Return what a worker gets next, if it has room for it."""
        if link.model_version is None or any(ticket.losses for ticket in link.in_hand.values()):
            return None
        if self._lost:
            # Alone, so that an image that ends workers is found out and takes no others along.
            return None if link.in_hand else self._lost.popleft()
        for priority in ("interactive", "cohort"):
            in_hand = sum(ticket.request.priority == priority for ticket in link.in_hand.values())
            if self._waiting[priority] and in_hand < AT_ONCE[priority]:
                return self._waiting[priority].popleft()
        return None

    def _retry_after(self, waiting: int) -> int:
        workers = sum(link.model_version is not None for link in self._links) or 1
        each = sum(self._seconds) / len(self._seconds) if self._seconds else 1.0
        return min(_LONGEST_RETRY_SECONDS, max(1, math.ceil(each * waiting / (workers * AT_ONCE["interactive"]))))


class WorkerLink:
    """The connection to one worker process: a thread that asks, and one that takes the answers."""

    def __init__(self, queue: RequestQueue, connection: "Connection[ToWorker, FromWorker]") -> None:
        self.model_version: str | None = None
        self.in_hand: dict[int, Ticket] = {}
        self.to_cancel: deque[int] = deque()
        self.has_ended = False
        self._queue = queue
        self._connection = connection
        self._asking = threading.Thread(target=self._ask, name="asking a worker", daemon=True)
        self._listening = threading.Thread(target=self._listen, name="listening to a worker", daemon=True)

    def start(self) -> None:
        """Start both threads."""
        self._asking.start()
        self._listening.start()

    def join(self) -> None:
        """Wait until the worker has closed its end, and its requests are queued again."""
        self._listening.join()

    def _ask(self) -> None:
        try:
            while message := self._queue.next_for(self):
                self._connection.send(message)
        except OSError:
            # The worker has ended; the other thread reads the end of its connection, and queues its requests again.
            _log.info("a worker ended while it was asked")

    def _listen(self) -> None:
        try:
            while True:
                self._queue.take(self, self._connection.recv())
        except (EOFError, OSError):
            _log.debug("a worker closed its connection")
        except Exception:
            _log.exception("a worker's message could not be read; the worker is given up")
        finally:
            self._queue.lose(self)
            self._asking.join()
            self._connection.close()


def _fail(ticket: Ticket, error: Exception) -> None:
    if ticket.result.set_running_or_notify_cancel():
        ticket.result.set_exception(error)
