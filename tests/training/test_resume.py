from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.data.datasets import LabelledImage
from core.fitting.config import Phase
from core.fitting.loop import Work, fit
from core.run_history import Epoch
from tests.helpers import forked
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.runs.fits import CONFIG, HEAD_THEN_LAST_THEN_ALL, tiny_network, weights_of

# Dropout draws from torch's generator, which has to be the same after a stop, too.
THREE = replace(CONFIG, phases=HEAD_THEN_LAST_THEN_ALL, dropout=0.2)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_run_stopped_after_every_epoch_ends_with_the_same_weights_and_history(
    images: list[LabelledImage], tmp_path: Path, averaging: float, keep: str
) -> None:
    config = replace(THREE, averaging=averaging, keep=keep)  # type: ignore[arg-type]
    whole = tiny_network(config)
    history = fit(whole, images, images[::2], config)

    def stop(epoch: Epoch) -> None:
        raise StoppedError

    for _ in history.epochs:
        with pytest.raises(StoppedError):
            fit(tiny_network(config), images, images[::2], config, work=Work(tmp_path), progress=stop)
    resumed = tiny_network(replace(config, seed=5))  # the weights it begins with no longer matter
    assert fit(resumed, images, images[::2], config, work=Work(tmp_path), progress=stop) == history
    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_a_run_goes_on_after_its_patience_ended_a_phase(images: list[LabelledImage], tmp_path: Path) -> None:
    still = Phase("still", 5, "head", 1e-12, cached=1, patience=1)
    config = replace(CONFIG, phases=(still, Phase("all", 1, "all", 1e-3)))
    whole, resumed = tiny_network(config), tiny_network(config)
    history = fit(whole, images, images, config)
    assert len(history.epochs) < 6

    def stop_before_the_last_phase(epoch: Epoch) -> None:
        if epoch.number == len(history.epochs) - 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        fit(resumed, images, images, config, work=Work(tmp_path), progress=stop_before_the_last_phase)
    assert fit(resumed, images, images, config, work=Work(tmp_path)) == history
    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_a_finished_run_gives_its_outcome_again_without_its_pixels(tmp_path: Path) -> None:
    images = tissue_folder(tmp_path / "tissue")
    first, again = tiny_network(CONFIG), tiny_network(CONFIG)
    history = fit(first, images, images[:2], CONFIG, work=Work(tmp_path / "state"))
    for image in images:
        image.path.unlink()
    assert fit(again, images, images[:2], CONFIG, work=Work(tmp_path / "state")) == history
    assert torch.equal(weights_of(first), weights_of(again))


def test_a_folder_holds_no_more_than_is_needed(images: list[LabelledImage], tmp_path: Path) -> None:
    fit(tiny_network(THREE), images, images, THREE, work=Work(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"state.pt", "phase-3.pt"}


def test_the_state_of_another_run_is_refused(images: list[LabelledImage], tmp_path: Path) -> None:
    fit(tiny_network(CONFIG), images, images[:2], CONFIG, work=Work(tmp_path))
    with pytest.raises(ValueError, match="another run: not the same config"):
        fit(tiny_network(CONFIG), images, images[:2], replace(CONFIG, batch_size=6), work=Work(tmp_path))
    for train, validation in ((images[1:], images[:2]), (images, images[:3]), (images[::-1], images[:2])):
        with pytest.raises(ValueError, match="another run: not the same images"):
            fit(tiny_network(CONFIG), train, validation, CONFIG, work=Work(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_killed_at_random_moments_ends_with_the_same_weights(tmp_path: Path, seed: int) -> None:
    tissue_folder(tmp_path / "tissue")
    ended = forked.run("tests.helpers.runs.killed_fit", tmp_path, seed, imported=forked.TRAINING)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) > 0
    whole, killed = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("whole", "killed"))
    assert torch.equal(whole["weights"], killed["weights"])
    assert whole["losses"] == killed["losses"]
