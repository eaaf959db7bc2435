"""Work that starts in many threads at once, and waiting for what another thread or process does."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

_T = TypeVar("_T")


def at_once(threads: int, work: Callable[[int], object]) -> list[object]:
    """Start the same work in many threads at the same moment and return what each returned or raised."""
    barrier = Barrier(threads)

    def run(number: int) -> object:
        barrier.wait()
        try:
            return work(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def run_async(work: Coroutine[object, object, _T]) -> _T:
    """Run a coroutine in a thread of its own: the browser tests leave a loop running in this one."""
    with ThreadPoolExecutor(1) as beside:
        return beside.submit(asyncio.run, work).result()


def wait_until(true: Callable[[], bool], what: str = "it to be true", seconds: float = 90) -> None:
    """Look again and again until it is true; never longer than so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)
