"""Analyses that were given before, in memory only, bounded in bytes."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from core.results import Analysis

_BYTES_BESIDE_ARRAYS = 4096  # an analysis without its arrays, its key and its place, generously

Key = TypeVar("Key")  # all that an analysis depends on


class AnswerCache(Generic[Key]):
    """The analyses that were used last; the oldest go first."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Key, Analysis] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Analysis | None:
        """Return an analysis that was kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, analysis: Analysis) -> None:
        """Keep an analysis, unless it is larger than all of the cache may be."""
        with self._lock:
            if key in self._kept or _size(analysis) > self._most_bytes:
                return
            self._kept[key] = analysis
            self._bytes += _size(analysis)
            while self._bytes > self._most_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= _size(oldest)


def _size(analysis: Analysis) -> int:
    arrays = (analysis.heatmap, analysis.scope_map, analysis.embedding)
    return _BYTES_BESIDE_ARRAYS + sum(one.nbytes for one in arrays if one is not None)
