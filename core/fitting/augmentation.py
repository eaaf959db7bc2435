"""Change training patches as other scanners, stains and cuts would, without changing their label."""

import os
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from core.card import InputPolicy
from core.fitting.config import Augmentation, PublishedName
from core.imaging.patches import cut
from core.results import RgbImage

if TYPE_CHECKING:
    import albumentations

    from core.fitting.config import FitConfig


# torchvision erases with zeros after standardising, which is the mean colour of ImageNet.
_ERASED = (124.0, 116.0, 104.0)
_SPARE = 256 / 224  # images are usually scaled to 256 px, of which 224 are cut

# Haematoxylin, eosin and DAB in RGB optical density: Ruifrok and Johnston, Anal Quant Cytol Histol 2001.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class PublishedList:
    """Kinds and strengths of one list; as it stands, it changes nothing.

    `spare` is the side before the random cut, over the side after it, and `least_area` the smallest share of the
    patch that is cut and scaled up. `degrees` (either way), `shift`, `zoom` (shares of the side) and `shear`
    (degrees) are one affine step, mirrored at the edges. `brightness`, `contrast`, `saturation` and `hue` are
    the widths of a colour jitter as in torchvision. `blur` and `erase` are chances: of a Gaussian blur of 3 to
    5 px, and of one rectangle losing its pixels.
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
            raise ValueError(f"a list cuts at most the whole, and chances are at most 1: {self}")


def published_list(name: PublishedName) -> PublishedList:
    """Give the numbers of a list.

    hybrid: EfficientNetV2-S + ViT-B/16. Its authors' README names the kinds (256 px cut to 224, flips, colour jitter,
    rotation, affine, erasing) and says that the strengths changed by phase, but not what they were: the ones here are
    moderate, and the same in every phase.
    efficientnet: EfficientNet-B0 and its kin, binary and subtypes, with a random crop that is scaled up.
    resnet50: patches of 224 px, with flips, quarter turns and a mild colour jitter.
    vgg16: IDC patches, the image generator of Keras.
    cnn: the baseline trained from scratch, in its version with augmentation.
    none: the plain patch; the baseline without augmentation, and every frozen phase that says so.

    For the last five neither kinds nor strengths were known to us when this table was written: they are what
    projects of this sort use, and a row reproduced with them differs from the published one in this too.
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
    """Change one patch of any size as a published list does, and give it as side x side x 3.

    The same state of `rng` gives the same patch, whatever was made before.
    """
    height, width = patch.shape[:2]
    scaled = cut(patch, [(0, 0, width, height)], round(side * _LISTS[name].spare))[0]
    changed: RgbImage = _pipelines.of(name, side, rng)(image=scaled)["image"]
    return np.ascontiguousarray(changed)


class _Pipelines(threading.local):
    """Built pipelines, kept by each thread for itself: their generators are set anew for every patch."""

    def __init__(self) -> None:
        self._built: dict[tuple[PublishedName, int], albumentations.Compose] = {}
        self._random = random.Random()  # noqa: S311 - not for secrets

    def of(self, name: PublishedName, side: int, rng: np.random.Generator) -> "albumentations.Compose":
        """Give a pipeline that draws all its chances from `rng`."""
        if (name, side) not in self._built:
            self._built[name, side] = _build(_LISTS[name], side)
        pipeline = self._built[name, side]
        self._random.seed(int(rng.integers(2**63)))
        # Not set_random_seed: it gives every step the same seed, so that an image is mirrored exactly when it is
        # upended; and it costs fifty times as much.
        pipeline.set_random_state(rng, self._random)
        return pipeline


_pipelines = _Pipelines()


def _build(how: PublishedList, side: int) -> "albumentations.Compose":
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # or importing it asks the internet for a newer version
    import albumentations as A  # noqa: N812, PLC0415 - its usual name; it takes seconds, and most runs do without

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
                # Black corners, the usual filling, are no tissue and tell the angle.
                border_mode=cv2.BORDER_REFLECT_101,
                p=1,
            )
        )
    if how.brightness or how.contrast or how.saturation or how.hue:
        steps.append(A.ColorJitter(how.brightness, how.contrast, how.saturation, how.hue, p=1))
    if how.blur:
        steps.append(A.GaussianBlur(blur_limit=(3, 5), p=how.blur))
    if how.erase:
        steps.append(A.Erasing(scale=(0.02, 0.1), fill=_ERASED, p=how.erase))
    return A.Compose(steps)


_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)
_UNMIX = np.linalg.inv(_STAINS)
_DENSITY = -np.log((np.arange(256, dtype=np.float32) + 1) / 256)
_LARGEST_DENSITY = float(_DENSITY[0])


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
