"""Counts attempts, so that nobody can try passwords for long; kept in memory, because one process serves all."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

# More keys than honest readers ever make; beyond it the longest unused one is forgotten.
_KEYS_KEPT = 10_000


class Throttle:
    """Allows so many attempts for each key within a time that moves along."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, deque[float]] = OrderedDict()

    def attempt(self, key: str) -> float:
        """Count an attempt and give 0, or give the seconds to wait; those who wait are not counted again.

        Counted before the password is looked at: a hundred attempts at once are a hundred attempts.
        """
        now = self._clock()
        with self._lock:
            attempts = self._attempts.setdefault(key, deque())
            self._attempts.move_to_end(key)
            while len(self._attempts) > _KEYS_KEPT:
                self._attempts.popitem(last=False)
            while attempts and now - attempts[0] >= self._seconds:
                attempts.popleft()
            if len(attempts) >= self._most:
                return attempts[0] + self._seconds - now
            attempts.append(now)
            return 0.0

    def forgive(self, key: str) -> None:
        """Take back the last attempt of a key: it was right."""
        with self._lock:
            attempts = self._attempts.get(key)
            if attempts:
                attempts.pop()
