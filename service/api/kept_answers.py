"""Answers to requests with a key, kept in memory: the same request again gets the same answer and is carried out once.

Nothing of a prediction is written to the database or to a file, so these answers are gone when the server stops.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from db.errors import KeyReusedError
from db.values.programs import KeyedRequest

_MOST_BYTES = 100_000_000  # of all answers; the oldest are forgotten beyond
_KEPT_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON that a request was answered with; `settled` if the same request will always get the same."""

    status: int
    body: bytes
    settled: bool = True


@dataclass(frozen=True, slots=True)
class _Kept:
    request_sha256: str
    answer: Answer
    at: float


@dataclass(frozen=True, slots=True)
class _Running:
    request_sha256: str
    task: "asyncio.Task[Answer]"


class KeptAnswers:
    """The answers of one server; to be used from one event loop."""

    def __init__(self, most_bytes: int = _MOST_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._most_bytes = most_bytes
        self._clock = clock
        self._kept: OrderedDict[tuple[int, str], _Kept] = OrderedDict()
        self._bytes = 0
        self._running: dict[tuple[int, str], _Running] = {}

    async def once(self, request: KeyedRequest, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the kept answer; else carry the request out, or wait for it if it is being carried out.

        It is carried out to its end even if the program goes away, which will ask again with the same key.

        Raises:
            KeyReusedError: If the key was sent with another request.
        """
        place = (request.token_id, request.key)
        self._forget_old()
        known = self._kept.get(place) or self._running.get(place)
        if known is not None and known.request_sha256 != request.request_sha256:
            raise KeyReusedError
        if isinstance(known, _Kept):
            return known.answer
        if known is None:
            known = _Running(request.request_sha256, asyncio.ensure_future(self._carry_out(request, work)))
            self._running[place] = known
        return await asyncio.shield(known.task)

    async def _carry_out(self, request: KeyedRequest, work: Callable[[], Awaitable[Answer]]) -> Answer:
        place = (request.token_id, request.key)
        try:
            answer = await work()
            if answer.settled and len(answer.body) <= self._most_bytes:
                self._kept[place] = _Kept(request.request_sha256, answer, self._clock())
                self._bytes += len(answer.body)
            return answer
        finally:
            del self._running[place]

    def _forget_old(self) -> None:
        too_old = self._clock() - _KEPT_SECONDS
        while self._kept and (self._bytes > self._most_bytes or next(iter(self._kept.values())).at < too_old):
            _, forgotten = self._kept.popitem(last=False)
            self._bytes -= len(forgotten.answer.body)
