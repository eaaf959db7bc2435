"""Trains in as many processes as torchrun starts, or in one: `python -m tests.helpers.runs.shared_fit FOLDER`."""

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from core.data.datasets import list_breakhis
from core.fitting import distributed
from core.fitting.config import FitConfig, Loss, Optimiser, Phase, Sampling
from core.fitting.loop import Work, fit
from core.run_history import Epoch
from tests.helpers.runs.fits import CONFIG, tiny_network

# No batch statistics, no dropout: what one process computes, two compute together.
ONE_STEP = replace(
    CONFIG,
    branches=("test_vit",),
    phases=(Phase("all", 1, "all", 1e-3),),
    sampling=Sampling("shuffled"),
    loss=Loss("focal", class_weights="balanced", smoothing=0.1),
    optimiser=Optimiser(accumulation=3),
    magnification="auxiliary",
)
WHOLE = replace(
    ONE_STEP,
    phases=(Phase("head", 2, "head", 1e-2, cached=2), Phase("last", 2, "last:1", 1e-3), Phase("all", 2, "all", 1e-4)),
    optimiser=Optimiser(weight_decay=0.1, clip=1.0),
    keep="best",
)


# Every process needs more than one image to take statistics of.
BATCH_STATISTICS = replace(WHOLE, branches=("test_efficientnet",), batch_size=8, keep="last")


class StoppedError(Exception):
    """The run was ended on purpose."""


def stop_in_the_middle(epoch: Epoch) -> None:
    """End a run after its third epoch."""
    if epoch.number == 3:
        raise StoppedError


def train(folder: Path, name: str, config: FitConfig, *, stopped: bool = False) -> None:
    """Train, perhaps with a stop in between, and leave the state, the history and the weights in the folder."""
    images = list_breakhis(folder / "tissue")
    network = tiny_network(config)
    work = Work(folder / name / "state", folder / name / "cache")
    # An odd number of images: the shares of two processes differ in size.
    if stopped:
        with suppress(StoppedError):
            fit(network, images[:-1], images[::2], config, work=work, progress=stop_in_the_middle)
    history = fit(network, images[:-1], images[::2], config, work=work)
    figures = [(e.loss, e.validation_loss, e.validation_auc, e.learning_rate) for e in history.epochs]
    kept = {"weights": network.state_dict(), "figures": figures, "kept": history.kept}
    torch.save(kept, folder / name / f"kept-{distributed.rank()}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.start()
    together = f"{distributed.world_size()}"
    train(Path(sys.argv[1]), f"{together} one step", ONE_STEP)
    train(Path(sys.argv[1]), f"{together} whole", WHOLE)
    train(Path(sys.argv[1]), f"{together} stopped", WHOLE, stopped=True)
    train(Path(sys.argv[1]), f"{together} batch statistics", BATCH_STATISTICS)
    distributed.stop()
