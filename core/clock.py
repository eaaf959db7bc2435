"""The time of this process, which never goes back unheard: not even if somebody sets the computer's clock back."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

# Time servers correct a clock by less, and computers that share a database differ by less.
SET_BACK = timedelta(minutes=1)


def _wall() -> datetime:
    return datetime.now(UTC)


class SteadyClock:
    """Tells the time of day, and goes on by the monotonic clock when the time of day jumps back."""

    def __init__(self, wall: Callable[[], datetime] = _wall, ticks: Callable[[], float] = time.monotonic) -> None:
        self._wall, self._ticks = wall, ticks
        self._lock = threading.Lock()
        self._set, self._since = wall(), ticks()

    def now(self) -> datetime:
        """Return the time in UTC; never earlier than what was returned before, plus the time that has passed."""
        with self._lock:
            return max(self._read())

    def was_set_back(self) -> bool:
        """Return whether the computer's clock was set back, since the start or the last `accept`."""
        with self._lock:
            wall, expected = self._read()
            return expected - wall > SET_BACK

    def accept(self) -> None:
        """Go on from the time of the computer's clock, after it was recorded that it was set back."""
        with self._lock:
            self._set, self._since = self._wall(), self._ticks()

    def _read(self) -> tuple[datetime, datetime]:
        """Return the time of day, and the time that it should be at least."""
        wall, ticks = self._wall(), self._ticks()
        expected = self._set + timedelta(seconds=ticks - self._since)
        # The monotonic clock may stand still while the computer sleeps, so a later time of day is believed.
        if wall > expected:
            self._set, self._since = wall, ticks
        return wall, expected


_CLOCK = SteadyClock()


def now() -> datetime:
    """Return the time of this process in UTC."""
    return _CLOCK.now()


def was_set_back() -> bool:
    """Return whether the computer's clock was set back while this process ran, and this was not recorded yet."""
    return _CLOCK.was_set_back()


def accept() -> None:
    """Go on from the time of the computer's clock, after it was recorded that it was set back."""
    _CLOCK.accept()


def time_of_day() -> datetime:
    """Return the time of the computer's clock in UTC, set back or not."""
    return _wall()
