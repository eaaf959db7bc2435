"""Time a frozen phase over cached features against one that runs the backbone, on the published hybrid."""

import copy
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import torch

from core.card import InputPolicy
from core.data.datasets import LabelledImage
from core.fitting.build import build_network
from core.fitting.config import FitConfig, Optimiser, Phase
from core.fitting.loop import fit
from core.imaging.demo import generate_tissue
from core.labels import BINARY
from core.network.hybrid import PUBLISHED_BRANCHES, HybridNetwork
from core.run_history import History
from training.benchmark.timing import Ratio, ratio

_IMAGES = 32
_EPOCHS = 10
_FROZEN = Phase("frozen", _EPOCHS, "head", 1e-3, schedule="constant", cached=1)
_CONFIG = FitConfig(
    name="the published hybrid",
    branches=PUBLISHED_BRANCHES,
    head="published",
    input_policy=InputPolicy("resize"),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    phases=(_FROZEN,),
    optimiser=Optimiser(weight_decay=0.01),
    batch_size=_IMAGES,
)


def frozen_phase(rounds: int) -> list[Ratio]:
    """Time one epoch, and a phase of ten epochs including the filling of the cache.

    One epoch through the backbone is timed for its ten, which all take equally long.
    """
    torch.manual_seed(0)
    network = build_network(_CONFIG)
    one_epoch = replace(_CONFIG, phases=(replace(_FROZEN, epochs=1, cached=0),))
    with tempfile.TemporaryDirectory() as folder:
        images = _write_tissue(Path(folder))
        by_epoch, by_phase = [], []
        for _ in range(rounds):
            uncached, _ = _train_timed(network, images, one_epoch)
            cached, whole = _train_timed(network, images, _CONFIG)
            # The first epochs warm up the allocator in both cases; the median represents a long phase.
            seconds = sorted(epoch.seconds for epoch in cached.epochs)[_EPOCHS // 2]
            by_epoch.append(uncached.epochs[0].seconds / seconds)
            by_phase.append(_EPOCHS * uncached.epochs[0].seconds / whole)
    note = f"{_IMAGES} images in a batch, published head, {torch.get_num_threads()} threads"
    return [
        ratio("frozen phase: an epoch over cached features against the backbone", ">= 200", by_epoch, note),
        ratio("frozen phase: ten epochs, the cache filled first", ">= 8", by_phase, "one copy of each image"),
    ]


def _train_timed(network: HybridNetwork, images: Sequence[LabelledImage], config: FitConfig) -> tuple[History, float]:
    """Train a copy and return its history and the seconds, including reading the images."""
    trained = copy.deepcopy(network)
    start = time.perf_counter()
    history = fit(trained, images, [], config)
    return history, time.perf_counter() - start


def _write_tissue(folder: Path) -> list[LabelledImage]:
    images = []
    for number in range(_IMAGES):
        kind = BINARY.malignancy(BINARY.classes[number % 2])
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), generate_tissue(number, kind, 230, 350)[..., ::-1])
        images.append(LabelledImage(path, kind, str(number), "", BINARY.name))
    return images
