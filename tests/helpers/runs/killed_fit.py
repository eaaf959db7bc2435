"""Trains once undisturbed and once killed again and again: `python -m tests.helpers.runs.killed_fit FOLDER SEED`.

Nothing is computed in this process, so that its children may be forked with torch already imported. A child that is to
be killed waits before its end, so that the kill comes first on a busy machine, too.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch._dynamo  # by the first optimiser of each child, otherwise

from core.data.datasets import list_breakhis
from core.fitting.config import Optimiser
from core.fitting.loop import Work, fit
from core.run_history import Epoch
from tests.helpers.runs.fits import CONFIG, HEAD_THEN_LAST_THEN_ALL, tiny_network, weights_of

KILLS = 5
KILLED = replace(CONFIG, phases=HEAD_THEN_LAST_THEN_ALL, keep="best", optimiser=Optimiser(kind="adam"), dropout=0.2)


def train(folder: Path, name: str, wait: Callable[[], None] = lambda: None) -> None:
    """Train with its state in a folder of this name, and leave the weights and the history beside it.

    `wait` is called as the last epoch ends, and again before anything is left.
    """
    torch.set_num_threads(1)
    images = list_breakhis(folder / "tissue")
    network = tiny_network(KILLED)

    def wait_at_the_last(epoch: Epoch) -> None:
        if epoch.number == KILLED.epochs:
            wait()

    work = Work(folder / name, folder / f"{name}.cache")
    history = fit(network, images, images[::2], KILLED, work=work, progress=wait_at_the_last)
    wait()
    torch.save(
        {"weights": weights_of(network), "losses": [epoch.loss for epoch in history.epochs]}, folder / f"{name}.pt"
    )


def in_child(work: Callable[[], None]) -> int:
    """Start something in a child process; give its number."""
    if child := os.fork():
        return child
    work()
    os._exit(0)


def killed_by_signal(folder: Path, seconds: float) -> bool:
    """Start the run, kill it after so many seconds, and return whether the kill came before its end."""
    reading, writing = os.pipe()

    def wait() -> None:
        os.read(reading, 1)  # nobody writes: it returns only if the parent has ended and left no one to kill this

    def train_and_wait() -> None:
        os.close(writing)
        train(folder, "killed", wait)

    child = in_child(train_and_wait)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    return os.WIFSIGNALED(status)


def kill_and_finish(folder: Path, seconds: float, chance: random.Random) -> int:
    """Kill the run at random moments and then let it come to its end; return how often it was killed."""
    # Half of the runs hardly get anywhere.
    kills = sum(killed_by_signal(folder, seconds * chance.uniform(0.05, 0.9)) for _ in range(KILLS))
    os.waitpid(in_child(lambda: train(folder, "killed")), 0)
    return kills


if __name__ == "__main__":
    root = Path(sys.argv[1])
    started = time.monotonic()
    os.waitpid(in_child(lambda: train(root, "whole")), 0)
    print(kill_and_finish(root, time.monotonic() - started, random.Random(sys.argv[2])))  # noqa: S311
