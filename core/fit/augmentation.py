"""Changes training patches as other scanners, stains and cuts would, without changing their label."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from core.card import InputPolicy
from core.fit.published_augmentation import PublishedName, published_patch
from core.patches import cut
from core.results import RgbImage

if TYPE_CHECKING:
    from core.fit_config import FitConfig

Augmentations = Literal["ours"] | PublishedName  # "ours": the numbers of `Augmentation`; the others are published lists

# Haematoxylin, eosin and DAB in RGB optical density: Ruifrok and Johnston, Anal Quant Cytol Histol 2001.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=np.float32)
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)
_UNMIX = np.linalg.inv(_STAINS)
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)
_LARGEST_DENSITY = float(_DENSITY[0])


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How strongly training patches are changed; every number at 0 (`zoom` at 1) changes nothing.

    `stain`, `mixing` and `density` are standard deviations: of the log amount of each stain, of the
    mixing between colour channels, and of the optical density as a whole. `grey` and `blur` are the
    chances to lose some of the colour and some of the sharpness. `zoom` is the largest factor of scale.
    """

    stain: float = 0.3
    mixing: float = 0.05
    density: float = 0.1
    grey: float = 0.3
    blur: float = 0.2
    zoom: float = 1.4

    def __post_init__(self) -> None:
        if min(self.stain, self.mixing, self.density, self.grey, self.blur) < 0 or max(self.grey, self.blur) > 1:
            raise ValueError(f"augmentation must not be negative, and chances not above 1: {self}")
        if self.zoom < 1:
            raise ValueError(f"zoom must be at least 1, got {self.zoom}")


def training_patch(image: RgbImage, policy: InputPolicy, config: "FitConfig", rng: np.random.Generator) -> RgbImage:
    """Cut one square out of an image and change it as a run's file asks: input_side x input_side x 3.

    It depends on the state of `rng` and on nothing else that could differ between two runs.
    """
    if config.augmentations == "ours":
        return random_patch(image, policy, config.augmentation, rng)
    left, top, right, bottom = _random_box(image, policy, 1.0, rng)
    return published_patch(image[top:bottom, left:right], config.augmentations, policy.input_side, rng)


def random_patch(image: RgbImage, policy: InputPolicy, how: Augmentation, rng: np.random.Generator) -> RgbImage:
    """Cut one square where chance will have it, show it as one of its eight views, and change its colours.

    The square goes through the same `cut` as in serving. A box never leaves the image, so near the size
    of the image only smaller boxes, which enlarge the tissue, are drawn.
    """
    patch = _turned(cut(image, [_random_box(image, policy, how.zoom, rng)], policy.input_side)[0], rng)
    if rng.random() < how.blur:
        patch = cv2.GaussianBlur(patch, (0, 0), float(rng.uniform(0.4, 1.3))).astype(np.uint8)
    return recolour(patch, _random_mixing(how, rng), rng.normal(0, how.density) + rng.normal(0, how.density / 3, 3))


def recolour(patch: RgbImage, mixing: NDArray[np.float64], offset: NDArray[np.float64]) -> RgbImage:
    """Mix the channels of a patch in optical density (3 x 3) and add to them (3)."""
    density = _DENSITY[patch].reshape(-1, 3) @ mixing.astype(np.float32) + offset.astype(np.float32)
    light = np.exp(-np.clip(density, 0, _LARGEST_DENSITY)) * 256 - 1
    recoloured: RgbImage = np.rint(np.clip(light, 0, 255)).astype(np.uint8).reshape(patch.shape)
    return recoloured


def _random_box(
    image: RgbImage, policy: InputPolicy, zoom: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    factor = float(np.exp(rng.uniform(-np.log(zoom), np.log(zoom))))
    whole = (height, width) if policy.kind == "resize" else (policy.patch_side, policy.patch_side)
    tall, wide = (min(round(side * factor), most) for side, most in zip(whole, (height, width), strict=True))
    if policy.kind == "patches":
        tall = wide = min(tall, wide)
    top, left = int(rng.integers(height - tall + 1)), int(rng.integers(width - wide + 1))
    return left, top, left + wide, top + tall


def _turned(patch: RgbImage, rng: np.random.Generator) -> RgbImage:
    mirrored = patch[:, ::-1] if rng.random() < 0.5 else patch
    return np.ascontiguousarray(np.rot90(mirrored, int(rng.integers(4))))


def _random_mixing(how: Augmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the matrix that changes the amounts of the stains, their colours, and the colourfulness."""
    amounts = np.exp(np.clip(rng.normal(0, 1, 3), -2, 2) * how.stain)
    mixing = _UNMIX @ np.diag(amounts) @ _STAINS + rng.normal(0, how.mixing, (3, 3))
    greyness = float(rng.random()) if rng.random() < how.grey else 0.0
    return np.asarray((1 - greyness) * mixing + greyness * np.full((3, 3), 1 / 3))
