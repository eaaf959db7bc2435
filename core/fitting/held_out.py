"""Validation images, cut as in prediction and evaluated in one view after every epoch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from core.card import InputPolicy
from core.data.datasets import LabelledImage
from core.fitting import distributed
from core.fitting.config import FitConfig
from core.fitting.feature_cache import Features, PatchList, compute_features
from core.fitting.images import hash_patch_list
from core.fitting.loading import make_ahead, standardise
from core.fitting.pixel_cache import open_pixels
from core.fitting.sampling import Places
from core.imaging.patches import cut_patches, fit_boxes, pad_to_patch
from core.labels import magnification_index
from core.network.hybrid import HybridNetwork
from core.results import Box, Patches, RgbImage
from core.statistics.predictions import auc

_PATCHES_AT_ONCE = 32
_ROWS_AT_ONCE = 2048
_SMALLEST_PROBABILITY = 1e-6


class HeldOutImages:
    """Images that are never trained on; each process evaluates a part of them, and the parts are summed."""

    def __init__(
        self, images: Sequence[LabelledImage], config: FitConfig, folder: Path | None, device: torch.device
    ) -> None:
        self._images = images
        self._config = config
        self._device = device
        self._pixels = open_pixels(images, config, folder)
        self._classes = np.array([image.class_in(config.label_set) for image in images])
        magnifications = torch.tensor([magnification_index(image.magnification) for image in images])
        self._magnifications = magnifications.to(device)
        self._boxes: list[tuple[int, Box]] = [
            (number, box)
            for number, image in enumerate(self._pixels.images)
            for box in _boxes(image, self._pixels.policy)
        ]
        self._owners = np.array([number for number, _ in self._boxes], dtype=np.int64)

    def features(self, network: HybridNetwork, folder: Path | None) -> Features:
        """Compute the features of frozen branches for every patch, so that `judge` needs the head alone.

        They have full precision, as in `judge` and in prediction, whatever precision training uses.
        """
        name = hash_patch_list("held out", self._images, self._config)
        patches = PatchList(len(self._boxes), self._cut_patch, name)
        exact = replace(self._config, optimiser=replace(self._config.optimiser, precision="fp32"))
        return compute_features(network, patches, exact, folder, self._device)

    def mean_features(self, network: HybridNetwork, folder: Path | None) -> NDArray[np.float64]:
        """Return the mean over its patches of what the head sees of each image: images x channels."""
        rows = self.features(network, folder).rows
        totals = np.zeros((len(self._images), rows.shape[1]))
        np.add.at(totals, self._owners, rows)
        return np.asarray(totals / np.bincount(self._owners)[:, None])

    def judge(self, network: HybridNetwork, features: Features | None = None) -> tuple[float, float | None]:
        """Return the mean loss by image and, if both malignancies occur, the AUC; the network is in eval mode."""
        probabilities = self._probabilities(network, features)
        malignant_classes = list(self._config.label_set.malignant_indices)
        malignant = np.isin(self._classes, malignant_classes)
        true_probabilities = np.clip(
            probabilities[np.arange(len(probabilities)), self._classes], _SMALLEST_PROBABILITY, 1
        )
        has_both = 0 < malignant.sum() < len(malignant)
        auc_or_none = auc(malignant, probabilities[:, malignant_classes].sum(axis=1)) if has_both else None
        return float(-np.log(true_probabilities).mean()), auc_or_none

    def _probabilities(self, network: HybridNetwork, features: Features | None) -> NDArray[np.float64]:
        """Return the mean probabilities over the patches of each image, images x classes."""
        total = torch.zeros(len(self._images), len(self._config.label_set.classes), dtype=torch.float64)
        rows = np.arange(len(self._owners))[distributed.rank() :: distributed.world_size()]
        with torch.no_grad():
            for chunk, logits in self._logits(network, features, rows):
                softmax = logits.double().softmax(dim=1).cpu()
                total.index_add_(0, torch.from_numpy(self._owners[chunk]), softmax)
        sums = distributed.sum_over_processes(total.to(self._device)).cpu().numpy()
        mean: NDArray[np.float64] = sums / np.bincount(self._owners)[:, None]
        return mean

    def _logits(
        self, network: HybridNetwork, features: Features | None, rows: Places
    ) -> Iterator[tuple[Places, torch.Tensor]]:
        if features is not None:
            for chunk in _chunks(rows, _ROWS_AT_ONCE):
                yield chunk, network.logits_of(features.take(chunk), self._magnifications[self._owners[chunk]])
            return
        chunks = _chunks(rows, _PATCHES_AT_ONCE)
        for chunk, patches in zip(chunks, make_ahead(self._cut_patches, chunks), strict=True):
            images = standardise(patches, self._config, self._device)
            yield chunk, network(images, self._magnifications[self._owners[chunk]])

    def _cut_patches(self, rows: Places) -> Patches:
        return np.stack([self._cut_patch(int(row)) for row in rows])

    def _cut_patch(self, row: int) -> RgbImage:
        number, box = self._boxes[row]
        image = pad_to_patch(self._pixels.images[number], self._pixels.policy)
        patch: RgbImage = cut_patches(image, [box], self._config.input_policy.input_side)[0]
        return patch


def _chunks(rows: Places, size: int) -> list[Places]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _boxes(image: RgbImage, policy: InputPolicy) -> list[Box]:
    height, width = pad_to_patch(image, policy).shape[:2]
    return fit_boxes(height, width, policy)
