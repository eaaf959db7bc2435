"""A server's queue of requests with workers of this process: real connections, a classifier without a network."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import Pipe

from core.answer_cache import AnswerCache
from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from core.micro_batches import NetworkOwner
from core.pipeline import MagnificationClassifier
from service.engine.client import EngineClient
from service.engine.queue import RequestQueue
from service.worker.answering import answer_requests
from tests.helpers.concurrency import wait_until
from tests.helpers.fakes import FakeClassifier
from tests.helpers.world import World

VERSION = "0123456789ab"

_BASE = generate_tissue(1, "malignant", 96, 96)


def watermarked(number: int) -> bytes:
    """Return an image whose darkness tells its number: so many of its pixels are black."""
    image = _BASE.copy()
    image.reshape(-1, 3)[:number] = 0
    return encode_png(image)


@dataclass(frozen=True)
class InnerWorker:
    """A worker of this process."""

    owner: NetworkOwner
    stopped: threading.Event
    _socket: socket.socket

    def end(self) -> None:
        """Hang up as a killed worker does, in the middle of whatever it has in hand."""
        self._socket.shutdown(socket.SHUT_RDWR)


@dataclass
class Engine:
    """A server's queue and client; workers are added as a test needs them."""

    world: World
    queue: RequestQueue
    client: EngineClient
    workers: list[InnerWorker] = field(default_factory=list)

    def add_worker(self, classifier: MagnificationClassifier | None = None, version: str = VERSION) -> InnerWorker:
        """Start a worker and wait until the server knows that it is ready."""
        ours, its_end = Pipe()
        link = self.queue.attach(ours)
        owner, stopped = NetworkOwner(classifier or FakeClassifier(), batch=2), threading.Event()
        worker = InnerWorker(owner, stopped, socket.socket(fileno=os.dup(its_end.fileno())))
        self.workers.append(worker)
        answer_requests(its_end, owner, self.world.sessions, version, stopped)
        wait_until(lambda: link.model_version is not None, "the worker to be ready")
        return worker

    def end_newest(self) -> None:
        """End the worker that was added last."""
        self.workers[-1].end()


@contextmanager
def running_engine(world: World, *, most_waiting: int = 64, cache_bytes: int = 0) -> Iterator[Engine]:
    """Return an engine without workers, all of which are ended in the end."""
    queue = RequestQueue(most_waiting)
    queue.open()
    engine = Engine(world, queue, EngineClient(world.sessions, queue, AnswerCache(cache_bytes)))
    try:
        yield engine
    finally:
        for worker in engine.workers:
            worker.end()
            worker.owner.close()
            worker._socket.close()
