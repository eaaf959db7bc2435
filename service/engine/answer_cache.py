"""Answers that were given before, in memory only, bounded in bytes."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from core.results import Analysis
from service.engine.requests import AnalysisRequest
from service.engine.site_policy import SitePolicy

_BYTES_BESIDE_MAPS = 4096  # an analysis without maps, its key and its place, generously


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


class AnswerCache:
    """The answers that were used last; the oldest go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[AnswerKey, Analysis] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: AnswerKey) -> Analysis | None:
        """Return an answer that was given before."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: AnswerKey, analysis: Analysis) -> None:
        """Keep an answer, unless it is larger than all of the cache may be."""
        with self._lock:
            if key in self._kept or _size(analysis) > self._most_bytes:
                return
            self._kept[key] = analysis
            self._bytes += _size(analysis)
            while self._bytes > self._most_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= _size(oldest)


def _size(analysis: Analysis) -> int:
    maps = (analysis.heatmap, analysis.scope_map)
    return _BYTES_BESIDE_MAPS + sum(one.nbytes for one in maps if one is not None)
