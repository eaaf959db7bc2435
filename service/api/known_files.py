"""What was found out about files that programs sent before, in memory only: equal bytes are the same image."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from core.imaging.scale import Scale

_MOST = 10_000  # files; a few hundred bytes each


@dataclass(frozen=True, slots=True)
class KnownFile:
    """How an image would be stored, by which it is recognised in cases, and the scale that its file states."""

    file_sha256: str
    scale: Scale | None


class KnownFiles:
    """The files that were sent last, by the digest of their bytes; the oldest go first."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[str, KnownFile] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, sha256: str) -> KnownFile | None:
        """Return what is known of a file."""
        with self._lock:
            if sha256 in self._kept:
                self._kept.move_to_end(sha256)
            return self._kept.get(sha256)

    def put(self, sha256: str, known: KnownFile) -> None:
        """Remember a file that could be decoded."""
        with self._lock:
            self._kept[sha256] = known
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
