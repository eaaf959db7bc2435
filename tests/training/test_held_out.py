from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.card import Card, InputPolicy
from core.data.datasets import LabelledImage
from core.fitting.config import FitConfig
from core.fitting.held_out import HeldOutImages
from core.imaging.decode import decode_image
from core.network.classifier import Classifier
from core.pipeline import analyse_image
from core.statistics.predictions import auc
from tests.helpers.runs.fits import CONFIG, tiny_network

CPU = torch.device("cpu")
SMALLER = InputPolicy("patches", input_side=32, patch_side=24, stride=20)
# Wider than the images are high: serving mirrors them at their edges.
LARGER = InputPolicy("patches", input_side=32, patch_side=52, stride=52)


def card_of(config: FitConfig) -> Card:
    return Card(
        config.name,
        config.label_set,
        config.branches,
        config.head,
        config.input_policy,
        config.mean,
        config.std,
        views="one",
        magnification=config.magnification,
    )


@pytest.mark.parametrize("policy", [SMALLER, LARGER, InputPolicy("resize", input_side=32)])
@pytest.mark.parametrize("task", ["binary", "subtypes"])
def test_held_out_images_are_judged_as_they_are_served_in_one_view(
    images: list[LabelledImage], policy: InputPolicy, task: str
) -> None:
    config = replace(CONFIG, input_policy=policy, task=task)  # type: ignore[arg-type]
    network = tiny_network(config).eval()
    loss, ranked = HeldOutImages(images, config, None, CPU).judge(network)
    classifier = Classifier(network, card_of(config), "unsaved")
    served = []
    for image in images:
        prediction = analyse_image(decode_image(image.path.read_bytes()).pixels, classifier).prediction
        assert prediction is not None
        served.append((prediction.probabilities[image.class_in(config.label_set)], prediction.malignant_probability))
    right, malignant = np.array(served).T
    assert loss == pytest.approx(-np.log(right).mean(), abs=1e-5)
    assert ranked == auc(np.array([image.malignancy == "malignant" for image in images]), malignant)


def test_the_magnification_of_held_out_images_is_told(images: list[LabelledImage]) -> None:
    config = replace(CONFIG, magnification="input")
    network = tiny_network(config).eval()
    elsewhere = [replace(image, magnification="400X") for image in images]
    assert HeldOutImages(images, config, None, CPU).judge(network) != HeldOutImages(elsewhere, config, None, CPU).judge(
        network
    )


def test_held_out_pixels_may_come_from_a_cache(images: list[LabelledImage], tmp_path: Path) -> None:
    network = tiny_network(CONFIG).eval()
    plain = HeldOutImages(images, CONFIG, None, CPU).judge(network)
    assert HeldOutImages(images, CONFIG, tmp_path, CPU).judge(network) == plain
