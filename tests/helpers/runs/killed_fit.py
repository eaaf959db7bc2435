"""Trains once undisturbed and once killed again and again: `python -m tests.helpers.runs.killed_fit FOLDER SEED`.

Nothing is computed in this process, so that its children may be forked with torch already imported.
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

from core.datasets import breakhis
from core.fit_config import Optimiser
from core.fitting import Work, fit
from tests.helpers.runs.fits import CONFIG, HEAD_THEN_LAST_THEN_ALL, tiny_network, weights_of

KILLED = replace(CONFIG, phases=HEAD_THEN_LAST_THEN_ALL, keep="best", optimiser=Optimiser(kind="adam"), dropout=0.2)


def train(folder: Path, name: str) -> None:
    """Train with its state in a folder of this name, and leave the weights and the history beside it."""
    torch.set_num_threads(1)
    images = breakhis(folder / "tissue")
    network = tiny_network(KILLED)
    history = fit(network, images, images[::2], KILLED, work=Work(folder / name, folder / f"{name}.cache"))
    torch.save(
        {"weights": weights_of(network), "losses": [epoch.loss for epoch in history.epochs]}, folder / f"{name}.pt"
    )


def in_child(work: Callable[[], None]) -> int:
    """Start something in a child process; give its number."""
    if child := os.fork():
        return child
    work()
    os._exit(0)


def kill_until_done(folder: Path, seconds: float, chance: random.Random) -> int:
    """Kill the run at random moments until it comes to its end in between; give how often it was killed."""
    kills = 0
    while True:
        child = in_child(lambda: train(folder, "killed"))
        # Half of the runs hardly get anywhere.
        end = time.monotonic() + seconds * chance.uniform(0.05, 0.9)
        while time.monotonic() < end:
            if os.waitpid(child, os.WNOHANG)[0]:
                return kills
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1


if __name__ == "__main__":
    root = Path(sys.argv[1])
    started = time.monotonic()
    os.waitpid(in_child(lambda: train(root, "whole")), 0)
    print(kill_until_done(root, time.monotonic() - started, random.Random(sys.argv[2])))  # noqa: S311
