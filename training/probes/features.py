"""The features of images from a frozen encoder: one vector for each image, and a few tokens for attention pooling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.card import Card
from core.data.datasets import LabelledImage
from core.data.images import read_image
from core.imaging.scale import known_um_per_px
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork
from core.pipeline import check_image, cut_normalised_patches
from core.results import Patches

_GRID = 4  # the tokens of a patch are averaged to 4 x 4, so that those of 8,000 images fit into memory
_BATCH = 16  # patches

Features = NDArray[np.float64]  # images x channels
Tokens = NDArray[np.float16]  # tokens of all patches of one image x channels


@dataclass(frozen=True, slots=True)
class EmbeddedImages:
    """Images with their features and tokens, in one order; `left_out` are the names and reasons of the others."""

    images: tuple[LabelledImage, ...]
    features: Features
    tokens: tuple[Tokens, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def malignant(self) -> NDArray[np.bool_]:
        """The truth of each image."""
        return np.array([image.malignancy == "malignant" for image in self.images])

    @property
    def patient_ids(self) -> NDArray[np.str_]:
        """The patient of each image."""
        return np.array([image.patient_id for image in self.images])

    def only(self, rows: NDArray[np.int64]) -> "EmbeddedImages":
        """Return the images at these places."""
        return EmbeddedImages(
            tuple(self.images[row] for row in rows), self.features[rows], tuple(self.tokens[row] for row in rows)
        )


def embed_images(
    images: Sequence[LabelledImage],
    network: HybridNetwork,
    card: Card,
    device: str = "cpu",
    advance: Callable[[], object] = lambda: None,
) -> EmbeddedImages:
    """Pass the upright patches of every image through the encoder once; the mean of the patches is its vector.

    Raises:
        ValueError: If no image can be used; the message has the first reason.
    """
    classifier = Classifier(network, card, "unsaved", device)
    kept, features, tokens, left_out = [], [], [], []
    for image in images:
        patches = _cut(image, classifier)
        if isinstance(patches, str):
            left_out.append((image.path.name, patches))
        else:
            vector, seen = _embed(patches, network, card, device)
            kept.append(image)
            features.append(vector)
            tokens.append(seen)
        advance()
    if not kept:
        raise ValueError(f"none of {len(images)} images can be used: {left_out[0][1] if left_out else 'none given'}")
    return EmbeddedImages(tuple(kept), np.stack(features), tuple(tokens), tuple(left_out))


def _cut(image: LabelledImage, classifier: Classifier) -> Patches | str:
    """Return the patches of an image as in serving, or the reason why there are none."""
    decoded = read_image(image)
    if isinstance(decoded, str):
        return decoded
    scale = known_um_per_px(image.um_per_px, decoded.scale)
    quality = check_image(decoded.pixels, classifier.card, scale)
    if not quality.readable:
        return "; ".join(quality.problems)
    return cut_normalised_patches(decoded.pixels, classifier, scale).patches


def _embed(patches: Patches, network: HybridNetwork, card: Card, device: str) -> tuple[NDArray[np.float64], Tokens]:
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (card.mean, card.std))
    (branch,) = network.branches
    vectors, seen = [], []
    with torch.inference_mode():
        for start in range(0, len(patches), _BATCH):
            batch = torch.from_numpy(patches[start : start + _BATCH]).to(device).permute(0, 3, 1, 2).float() / 255
            maps: Tensor = branch.features((batch - mean) / std)  # type: ignore[operator]
            vectors.append(branch.pool(maps))  # type: ignore[operator]
            seen.append(_coarsen(branch.tokens(maps)))  # type: ignore[operator]
    vector = torch.cat(vectors).double().mean(dim=0).cpu().numpy()
    return vector, torch.cat(seen).flatten(0, 1).half().cpu().numpy()


def _coarsen(tokens: Tensor) -> Tensor:
    """Average the tokens of square patches to a coarse grid, patches x tokens x channels."""
    side = round(tokens.shape[1] ** 0.5)
    grid = tokens.transpose(1, 2).unflatten(2, (side, side))
    return functional.adaptive_avg_pool2d(grid, min(side, _GRID)).flatten(2).transpose(1, 2)
