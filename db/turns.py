"""Lets the threads that write to one SQLite file in one after the other, in the order in which they came.

SQLite itself has no queue: whoever finds the file taken sleeps for up to a tenth of a second and tries again,
while others overtake. With twenty readers a click then waited for seconds. The queue is for fairness only:
what keeps writers apart, those of other processes too, is SQLite's own lock.
"""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A queue of threads."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._queue: deque[threading.Event] = deque()  # the first one has its turn

    @property
    def waiting(self) -> int:
        """Count the threads that wait for their turn."""
        return max(0, len(self._queue) - 1)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, which lasts until the block ends; out of patience, go on without it."""
        mine = threading.Event()
        with self._lock:
            self._queue.append(mine)
            self._queue[0].set()
        mine.wait(self._patience_seconds)
        try:
            yield
        finally:
            with self._lock:
                self._queue.remove(mine)
                if self._queue:
                    self._queue[0].set()
