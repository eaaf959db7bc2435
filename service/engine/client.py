"""Analyses the images of requests in the server, which loads no torch: asks the workers, or remembers."""

import asyncio
import hashlib
import time
from dataclasses import dataclass

from core.answer_cache import AnswerCache
from core.imaging.scale import known_um_per_px
from core.results import Analysis
from db.database import Sessions
from service.engine.queue import RequestQueue
from service.engine.requests import AnalysisAnswer, AnalysisRequest
from service.engine.site_policy import SitePolicy, read_site_policy


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """All that an answer depends on; two requests with the same key have the same answer."""

    sha256: str
    model_version: str
    policy: SitePolicy
    heatmap: bool
    um_per_px: float | None

    @classmethod
    def of(cls, request: AnalysisRequest, sha256: str, model_version: str, policy: SitePolicy) -> "AnswerKey":
        """Return the key of a request."""
        return cls(sha256, model_version, policy, request.heatmap, request.um_per_px)


class EngineClient:
    """The `Analyser` of a server; what is posted stays in memory and is forgotten with its answer."""

    def __init__(self, sessions: Sessions, queue: RequestQueue, cache: AnswerCache[AnswerKey]) -> None:
        self._sessions = sessions
        self._queue = queue
        self._cache = cache

    async def analyse(self, request: AnalysisRequest) -> AnalysisAnswer:
        """Analyse one image; cancelling the task cancels the work.

        Raises:
            UnreadableImageError: If the bytes cannot be decoded as an image.
            ValueError: If the scale is none of a microscope image.
            EngineBusyError: If too many images are waiting.
            EngineUnavailableError: If no worker is ready and none is about to be.
        """
        known_um_per_px(request.um_per_px, None)
        start = time.monotonic()
        sha256, found = await asyncio.to_thread(self._remember, request)
        if found is not None:
            return AnalysisAnswer(*found, cached=True, seconds=time.monotonic() - start)
        ticket = self._queue.submit(request)
        try:
            result = await asyncio.wrap_future(ticket.result)
        except asyncio.CancelledError:
            self._queue.cancel(ticket)
            raise
        self._cache.put(AnswerKey.of(request, sha256, result.model_version, result.policy), result.analysis)
        return AnalysisAnswer(result.analysis, result.model_version, cached=False, seconds=time.monotonic() - start)

    def _remember(self, request: AnalysisRequest) -> tuple[str, tuple[Analysis, str] | None]:
        """Return the hash of the file, and its analysis with the model's version if the same was asked before."""
        sha256, version = hashlib.sha256(request.data).hexdigest(), self._queue.model_version
        if version is None:
            return sha256, None
        with self._sessions.read() as session:
            policy = read_site_policy(session, version)
        found = self._cache.get(AnswerKey.of(request, sha256, version, policy))
        return sha256, None if found is None else (found, version)
