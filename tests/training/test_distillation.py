"""A vision transformer learns the features of a convolutional network from images alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from core.data.datasets import LabelledImage
from core.fitting import distillation
from core.fitting.build import build_network
from core.fitting.config import read_config
from core.fitting.distillation import Distillation, DistilledStep, distil
from tests.helpers.images.dataset_trees import breakhis_tree
from tests.helpers.runs.fits import CONFIG
from training.distil import app

PAIR = replace(
    CONFIG,
    branches=("tf_efficientnet_lite0", "test_vit"),
    input_policy=replace(CONFIG.input_policy, input_side=64, patch_side=64, stride=64),
    cache_side=0,
)
SHORT = Distillation(steps=6, batch_size=4)


def weights(images: list[LabelledImage], state: Path, how: Distillation = SHORT) -> dict[str, Tensor]:
    return distil(PAIR, images, how, state=state)


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.slow
def test_the_transformer_learns_to_predict_the_feature_map(images: list[LabelledImage], tmp_path: Path) -> None:
    steps: list[DistilledStep] = []
    how = Distillation(steps=60, batch_size=8)
    distil(PAIR, images, how, state=tmp_path / "state", progress=steps.append)
    assert [step.number for step in steps] == list(range(1, 61))
    explained = [step.explained for step in steps]
    assert np.mean(explained[:5]) < 0.1
    assert np.mean(explained[-10:]) > np.mean(explained[:5]) + 0.2


def test_labels_are_not_used(images: list[LabelledImage], tmp_path: Path) -> None:
    labels = [image.label for image in images]
    turned = [replace(image, label=label, patient_id="one") for image, label in zip(images, labels[::-1], strict=True)]
    assert [image.label for image in turned] != labels
    assert_same(weights(images, tmp_path / "a"), weights(turned, tmp_path / "b"))


def test_a_stopped_run_goes_on_to_the_same_weights(
    images: list[LabelledImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "_SAVED_EVERY", 2)
    unbroken = weights(images, tmp_path / "unbroken")

    def stop(step: DistilledStep) -> None:
        if step.number == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil(PAIR, images, SHORT, state=tmp_path / "state", progress=stop)
    resumed: list[DistilledStep] = []
    after = distil(PAIR, images, SHORT, state=tmp_path / "state", progress=resumed.append)
    assert [step.number for step in resumed] == [5, 6]
    assert_same(after, unbroken)


def test_the_state_of_another_distillation_is_refused(images: list[LabelledImage], tmp_path: Path) -> None:
    weights(images, tmp_path / "state")
    with pytest.raises(ValueError, match="state of another distillation"):
        weights(images, tmp_path / "state", replace(SHORT, learning_rate=1e-4))
    with pytest.raises(ValueError, match="state of another distillation"):
        weights(images[1:], tmp_path / "state")


@pytest.mark.parametrize("branches", [("tf_efficientnet_lite0",), ("test_vit",), ("test_vit", "test_vit")])
def test_it_takes_one_branch_of_either_kind(
    branches: tuple[str, ...], images: list[LabelledImage], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="one vision transformer, and one convolutional network"):
        distil(replace(PAIR, branches=branches), images, SHORT, state=tmp_path / "state")


@pytest.mark.slow
def test_the_command_writes_weights_that_a_run_starts_from(tmp_path: Path) -> None:
    tree, out = breakhis_tree(tmp_path / "data"), tmp_path / "vit.safetensors"
    config = Path("training/configs/starter.toml")
    options = ("--steps=2", "--batch-size=2", "--set=input_policy.input_side=64")
    done = CliRunner().invoke(app, [str(config), f"--data={tree}", f"--out={out}", *options])
    assert done.exit_code == 0, done.output
    assert "labels were not used" in done.output
    assert not list(tmp_path.glob("*.state"))
    settings, _ = read_config(config, ["input_policy.input_side=64"])
    network = build_network(settings, {settings.branches[1]: out})
    stored = load_file(out)
    loaded = {name.removeprefix("branches.1.net."): tensor for name, tensor in network.state_dict().items()}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in stored.items())
