"""Augment training patches as other scanners, stains and sections would, without changing their label."""

import os
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from core.card import InputPolicy
from core.fitting.config import Augmentation, FitConfig, PublishedName
from core.imaging.patches import cut_patches, pad_to_patch
from core.results import RgbImage

if TYPE_CHECKING:
    import albumentations

# torchvision erases with zeros after standardising, which is the mean colour of ImageNet.
_ERASED_COLOUR = (124.0, 116.0, 104.0)
_SPARE = 256 / 224  # images are usually scaled to 256 px and cropped to 224 px

# Haematoxylin, eosin and DAB in RGB optical density: Ruifrok and Johnston, Anal Quant Cytol Histol 2001.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=np.float32)
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)
_UNMIX = np.linalg.inv(_STAINS)
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)  # optical density of each 8-bit value
_LARGEST_DENSITY = float(_DENSITY[0])


def training_patch(image: RgbImage, policy: InputPolicy, config: FitConfig, rng: np.random.Generator) -> RgbImage:
    """Cut one random square out of an image and augment it as configured: input_side x input_side x 3.

    The result depends on the state of `rng` and on nothing else that could differ between two runs.
    """
    if config.working_um_per_px is not None:
        # At the working scale an image may be smaller than a patch: it is mirrored, as in prediction.
        image = pad_to_patch(image, policy)
    if config.augmentations == "ours":
        return random_patch(image, policy, config.augmentation, rng)
    left, top, right, bottom = _random_box(image, policy, 1.0, rng)
    return published_patch(image[top:bottom, left:right], config.augmentations, policy.input_side, rng)


def random_patch(image: RgbImage, policy: InputPolicy, how: Augmentation, rng: np.random.Generator) -> RgbImage:
    """Cut one square at a random position, turn it into one of its eight views, and change its colours.

    The square goes through the same `cut_patches` as in prediction. A box never extends beyond the image, so for
    patches nearly as large as the image only smaller boxes, which enlarge the tissue, are drawn.
    """
    patch = _random_view(cut_patches(image, [_random_box(image, policy, how.zoom, rng)], policy.input_side)[0], rng)
    if rng.random() < how.blur:
        patch = cv2.GaussianBlur(patch, (0, 0), float(rng.uniform(0.4, 1.3))).astype(np.uint8)
    return recolour(patch, _random_mixing(how, rng), rng.normal(0, how.density) + rng.normal(0, how.density / 3, 3))


def recolour(patch: RgbImage, mixing: NDArray[np.float64], offset: NDArray[np.float64]) -> RgbImage:
    """Mix the channels of a patch in optical density (`mixing`, 3 x 3) and shift them (`offset`, 3)."""
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


def _random_view(patch: RgbImage, rng: np.random.Generator) -> RgbImage:
    mirrored = patch[:, ::-1] if rng.random() < 0.5 else patch
    return np.ascontiguousarray(np.rot90(mirrored, int(rng.integers(4))))


def _random_mixing(how: Augmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random matrix that changes the amounts and colours of the stains and the saturation."""
    amounts = np.exp(np.clip(rng.normal(0, 1, 3), -2, 2) * how.stain)
    mixing = _UNMIX @ np.diag(amounts) @ _STAINS + rng.normal(0, how.mixing, (3, 3))
    greyness = float(rng.random()) if rng.random() < how.grey else 0.0
    return np.asarray((1 - greyness) * mixing + greyness * np.full((3, 3), 1 / 3))


@dataclass(frozen=True, slots=True)
class PublishedList:
    """The kinds and strengths of one published list of augmentations; the defaults change nothing.

    `spare` is the side before the random crop divided by the side after it, and `least_area` the smallest share of the
    patch that is cropped and scaled up. `degrees` (either way), `shift`, `zoom` (shares of the side) and `shear`
    (degrees) form one affine step, mirrored at the edges. `brightness`, `contrast`, `saturation` and `hue` are the
    widths of a colour jitter as in torchvision. `blur` and `erase` are probabilities: of a Gaussian blur of 3 to 5 px,
    and of one rectangle being erased.
    """

    spare: float = 1.0
    least_area: float = 1.0
    mirror: bool = False
    upend: bool = False
    quarter_turns: bool = False
    degrees: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    blur: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        if self.spare < 1 or not 0 < self.least_area <= 1 or not max(self.blur, self.erase) <= 1:
            raise ValueError(
                f"spare must be at least 1, least_area above 0 and at most 1, blur and erase at most 1: {self}"
            )


def published_list(name: PublishedName) -> PublishedList:
    """Return the kinds and strengths of a published list.

    hybrid: EfficientNetV2-S + ViT-B/16. Its authors' README lists the kinds (256 px cropped to 224, flips, colour
    jitter, rotation, affine, erasing) and states that the strengths changed by phase, but not their values: those here
    are moderate, and the same in every phase.
    efficientnet: EfficientNet-B0 and similar networks, binary and subtypes, with a random crop that is scaled up.
    resnet50: patches of 224 px, with flips, quarter turns and a mild colour jitter.
    vgg16: IDC patches, the image generator of Keras.
    cnn: the baseline trained from scratch, in its version with augmentation.
    none: the unchanged patch; the baseline without augmentation, and every frozen phase that is configured so.

    For the last five, neither kinds nor strengths were known when this table was written: they are common choices of
    similar projects, so a reproduced row differs from the published one in this respect, too.
    """
    return _LISTS[name]


_LISTS: dict[PublishedName, PublishedList] = {
    "hybrid": PublishedList(
        spare=_SPARE,
        mirror=True,
        upend=True,
        degrees=15,
        shift=0.05,
        zoom=0.1,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        hue=0.05,
        erase=0.2,
    ),
    "efficientnet": PublishedList(
        spare=_SPARE,
        least_area=0.8,
        mirror=True,
        upend=True,
        quarter_turns=True,
        degrees=15,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        hue=0.05,
        blur=0.1,
    ),
    "resnet50": PublishedList(
        mirror=True, upend=True, quarter_turns=True, brightness=0.1, contrast=0.1, saturation=0.1, hue=0.02
    ),
    "vgg16": PublishedList(mirror=True, upend=True, degrees=20, shift=0.1, zoom=0.1, shear=5),
    "cnn": PublishedList(mirror=True, upend=True, degrees=20, zoom=0.1, brightness=0.1),
    "none": PublishedList(),
}


def published_patch(patch: RgbImage, name: PublishedName, side: int, rng: np.random.Generator) -> RgbImage:
    """Augment one patch of any size with a published list and return it as side x side x 3.

    Equal states of `rng` give equal patches, whatever was made before.
    """
    height, width = patch.shape[:2]
    scaled = cut_patches(patch, [(0, 0, width, height)], round(side * _LISTS[name].spare))[0]
    changed: RgbImage = _pipelines.of(name, side, rng)(image=scaled)["image"]
    return np.ascontiguousarray(changed)


class _Pipelines(threading.local):
    """Pipelines, cached in each thread separately because their generators are set for every patch."""

    def __init__(self) -> None:
        self._built: dict[tuple[PublishedName, int], albumentations.Compose] = {}
        self._random = random.Random()  # noqa: S311 - not for secrets

    def of(self, name: PublishedName, side: int, rng: np.random.Generator) -> "albumentations.Compose":
        """Return a pipeline that takes all its randomness from `rng`."""
        if (name, side) not in self._built:
            self._built[name, side] = _build(_LISTS[name], side)
        pipeline = self._built[name, side]
        self._random.seed(int(rng.integers(2**63)))
        # Not set_random_seed: it gives every step the same seed, so that an image would be flipped horizontally exactly
        # when it is flipped vertically; and it takes fifty times as long.
        pipeline.set_random_state(rng, self._random)
        return pipeline


_pipelines = _Pipelines()


def _build(how: PublishedList, side: int) -> "albumentations.Compose":
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise the import looks for a newer version online
    import albumentations as A  # noqa: N812, PLC0415 - its usual name; importing takes seconds, and most runs do not need it

    steps: list[A.BasicTransform] = []
    if how.least_area < 1:
        steps.append(A.RandomResizedCrop((side, side), scale=(how.least_area, 1), p=1))
    elif how.spare > 1:
        steps.append(A.RandomCrop(side, side, p=1))
    if how.mirror:
        steps.append(A.HorizontalFlip(p=0.5))
    if how.upend:
        steps.append(A.VerticalFlip(p=0.5))
    if how.quarter_turns:
        steps.append(A.RandomRotate90(p=1))
    if how.degrees or how.shift or how.zoom or how.shear:
        steps.append(
            A.Affine(
                rotate=(-how.degrees, how.degrees),
                translate_percent=(-how.shift, how.shift),
                scale=(1 - how.zoom, 1 + how.zoom),
                shear=(-how.shear, how.shear),
                keep_ratio=True,
                # Black corners, the usual fill, are not tissue and reveal the angle.
                border_mode=cv2.BORDER_REFLECT_101,
                p=1,
            )
        )
    if how.brightness or how.contrast or how.saturation or how.hue:
        steps.append(A.ColorJitter(how.brightness, how.contrast, how.saturation, how.hue, p=1))
    if how.blur:
        steps.append(A.GaussianBlur(blur_limit=(3, 5), p=how.blur))
    if how.erase:
        steps.append(A.Erasing(scale=(0.02, 0.1), fill=_ERASED_COLOUR, p=how.erase))
    return A.Compose(steps)
