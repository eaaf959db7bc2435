"""How published projects change their training patches, in one table, carried out by albumentations."""

import os
import random
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from core.patches import cut
from core.results import RgbImage

if TYPE_CHECKING:
    import albumentations

PublishedName = Literal["hybrid", "efficientnet", "resnet50", "vgg16", "cnn", "none"]

# torchvision erases with zeros after standardising, which is the mean colour of ImageNet.
_ERASED = (124.0, 116.0, 104.0)
_SPARE = 256 / 224  # images are usually scaled to 256 px, of which 224 are cut


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
