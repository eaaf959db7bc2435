"""The time of this process, which never goes back: not even if somebody sets the computer's clock back."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class SteadyClock:
    """Tells the time of day, and goes on by the monotonic clock when the time of day jumps back."""

    def __init__(
        self, wall: Callable[[], datetime] = lambda: datetime.now(UTC), ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall, self._ticks = wall, ticks
        self._lock = threading.Lock()
        self._set, self._since = wall(), ticks()

    def now(self) -> datetime:
        """Return the time in UTC; never earlier than what was returned before, plus the time that has passed."""
        with self._lock:
            wall, ticks = self._wall(), self._ticks()
            expected = self._set + timedelta(seconds=ticks - self._since)
            # The monotonic clock may stand still while the computer sleeps, so a later time of day is believed.
            if wall > expected:
                self._set, self._since = wall, ticks
                return wall
            return expected


_CLOCK = SteadyClock()


def now() -> datetime:
    """Return the time of this process in UTC."""
    return _CLOCK.now()
