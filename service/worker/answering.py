"""Answers, in a worker, the server's requests for analyses: beside each other, while the network has one owner."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from core.imaging.limits import UnreadableImageError
from core.results import Analysis
from db.database import Sessions
from db.errors import DatabaseBusyError
from service.engine.messages import Answered, Asked, FromWorker, Ready, Refused, ToWorker
from service.engine.queue import AT_ONCE
from service.engine.site_policy import SitePolicy, read_site_policy

if TYPE_CHECKING:
    from core.micro_batches import NetworkOwner

# Of images with more pixels, one at a time: each takes ten times its pixels in memory on its way.
_LARGE_PIXELS = 10_000_000

_log = logging.getLogger("second_read.worker")


def answer_requests(
    connection: "Connection[FromWorker, ToWorker]",
    owner: "NetworkOwner",
    sessions: Sessions,
    model_version: str,
    stop: threading.Event,
) -> None:
    """Tell the server that the worker is ready, and answer in threads of their own until the server hangs up.

    Then `stop` is set: a worker that cannot be asked any more makes room for another.
    """
    answering = _Answering(connection, owner, sessions, model_version)
    threading.Thread(target=answering.listen, args=(stop,), name="listening to the server", daemon=True).start()


class _Answering:
    """The requests that this worker has in hand."""

    def __init__(
        self,
        connection: "Connection[FromWorker, ToWorker]",
        owner: "NetworkOwner",
        sessions: Sessions,
        model_version: str,
    ) -> None:
        self._connection = connection
        self._owner = owner
        self._sessions = sessions
        self._model_version = model_version
        self._pools = {priority: ThreadPoolExecutor(images, priority) for priority, images in AT_ONCE.items()}
        self._cancelled: dict[int, threading.Event] = {}
        self._saying, self._decoding, self._large = threading.Lock(), threading.Lock(), threading.Lock()

    def listen(self, stop: threading.Event) -> None:
        """Take what the server says until it hangs up."""
        try:
            self._say(Ready(self._model_version))
            while True:
                self._take(self._connection.recv())
        except (EOFError, OSError):
            _log.info("the server closed its connection")
        finally:
            stop.set()

    def _take(self, message: ToWorker) -> None:
        if isinstance(message, Asked):
            cancelled = self._cancelled[message.number] = threading.Event()
            self._pools[message.request.priority].submit(self._answer, message, cancelled)
        elif message.number in self._cancelled:
            self._cancelled[message.number].set()

    def _answer(self, asked: Asked, cancelled: threading.Event) -> None:
        from core.micro_batches import CancelledAnalysisError  # noqa: PLC0415

        try:
            answer: FromWorker = Answered(asked.number, *self._analyse(asked, cancelled))
        except (UnreadableImageError, DatabaseBusyError) as error:
            answer = Refused(asked.number, error)
        except CancelledAnalysisError as error:
            if not cancelled.is_set():
                return  # this worker ends, and the server asks another
            answer = Refused(asked.number, error)
        except Exception as error:
            _log.exception("request %d", asked.number)
            kind = type(error).__name__
            problem = f"the analysis stopped with an internal error ({kind}); the server log has details"
            answer = Refused(asked.number, RuntimeError(problem))
        self._cancelled.pop(asked.number, None)
        try:
            self._say(answer)
        except OSError:
            _log.info("the server closed its connection before request %d was answered", asked.number)

    def _analyse(self, asked: Asked, cancelled: threading.Event) -> tuple[Analysis, SitePolicy]:
        # The supervisor imports this module in the server, where pages need no pipeline.
        from core.imaging.decode import decode_image  # noqa: PLC0415
        from core.imaging.scale import known_um_per_px  # noqa: PLC0415
        from core.pipeline import analyse_image  # noqa: PLC0415

        request = asked.request
        with self._owner.image(request.priority, cancelled.is_set) as classifier:
            with self._sessions.read() as session:
                policy = read_site_policy(session, self._model_version)
            with self._decoding:
                decoded = decode_image(request.data)
            is_large = decoded.pixels.shape[0] * decoded.pixels.shape[1] > _LARGE_PIXELS
            with self._large if is_large else nullcontext():
                analysis = analyse_image(
                    decoded.pixels,
                    classifier.with_card(policy.apply(classifier.card)),
                    heatmap=request.heatmap,
                    notes=decoded.notes,
                    um_per_px=known_um_per_px(request.um_per_px, decoded.scale),
                )
        return analysis, policy

    def _say(self, message: FromWorker) -> None:
        with self._saying:
            self._connection.send(message)
