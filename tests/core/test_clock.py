"""The clock of the process goes on when the computer's clock is set back, and follows it when it is set forward."""

from datetime import UTC, datetime, timedelta

from core import clock
from core.clock import SteadyClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Hands:
    """The two clocks of a computer, moved by hand."""

    def __init__(self) -> None:
        self.wall, self.ticks = NOON, 1000.0

    def pass_time(self, seconds: float) -> None:
        """Let both clocks run."""
        self.wall += timedelta(seconds=seconds)
        self.ticks += seconds

    def clock(self) -> SteadyClock:
        """Return a clock that follows these hands."""
        return SteadyClock(lambda: self.wall, lambda: self.ticks)


def test_it_tells_the_time_of_day() -> None:
    hands = Hands()
    steady = hands.clock()
    hands.pass_time(90)
    assert steady.now() == NOON + timedelta(seconds=90)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_clock_set_back_neither_stops_nor_turns_it_back() -> None:
    hands = Hands()
    steady = hands.clock()
    hands.pass_time(60)
    hands.wall -= timedelta(hours=5)
    assert steady.now() == NOON + timedelta(seconds=60)
    hands.pass_time(60)
    assert steady.now() == NOON + timedelta(seconds=120)


def test_time_that_passed_while_the_computer_slept_counts() -> None:
    hands = Hands()
    steady = hands.clock()
    hands.wall += timedelta(hours=8)
    assert steady.now() == NOON + timedelta(hours=8)
    hands.pass_time(5)
    assert steady.now() == NOON + timedelta(hours=8, seconds=5)
