"""What is made once is the same for all threads, also for those that come first together."""

import time

from db.queries.cached import cache_statement
from tests.helpers.concurrency import at_once

THREADS = 8


@cache_statement
def part() -> object:
    time.sleep(0.01)
    return object()


@cache_statement
def whole(*, doubled: bool = False) -> tuple[object, ...]:
    return (part(), part()) if doubled else (part(),)


def test_threads_that_come_first_together_get_the_same() -> None:
    found = at_once(THREADS, lambda _: whole())
    assert found == [whole()] * THREADS
    assert whole() is whole()


def test_each_argument_has_its_own_and_shares_the_parts() -> None:
    assert whole(doubled=True) == (part(), part())
    assert whole(doubled=True) is whole(doubled=True)
    assert whole() != whole(doubled=True)
