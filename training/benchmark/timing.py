"""Paired timing: peer and ours alternate, so that ratios stay valid while the machine's speed drifts."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of peer to ours (or another figure) over paired rounds, with its goal."""

    name: str
    goal: str
    median: float
    low: float
    high: float
    rounds: int
    note: str = ""


def time_in_pairs(peer: Callable[[], object], ours: Callable[[], object], rounds: int) -> list[float]:
    """Time peer and ours in alternating order, after one warm-up each; return the peer's time / ours per round."""
    peer()
    ours()
    ratios = []
    for number in range(rounds):
        order = (peer, ours) if number % 2 else (ours, peer)
        seconds = {step: seconds_of(step) for step in order}
        ratios.append(seconds[peer] / seconds[ours])
    return ratios


def seconds_of(step: Callable[[], object]) -> float:
    """Return how long a step takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def ratio(name: str, goal: str, values: list[float], note: str = "") -> Ratio:
    """Return the median and range of the values of one figure."""
    return Ratio(name, goal, statistics.median(values), min(values), max(values), len(values), note)
