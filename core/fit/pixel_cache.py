"""The images of a run, decoded once: stain-normalised, scaled, in memory or mapped from a file."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import imagecodecs
import PIL

from core.card import InputPolicy, StainTarget
from core.datasets import LabelledImage
from core.fit.pixel_store import PixelStore, Progress
from core.fit_config import FitConfig
from core.images import UnreadableImageError, decode_image
from core.results import RgbImage
from core.stain import stain_normaliser

_FORMAT = 1  # raised when decoding, stain normalisation or scaling changes what is kept
# Another version of these may round another way.
_PIXEL_PACKAGES = (cv2.__version__, imagecodecs.__version__, PIL.__version__)


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Images ready to be cut, and the input policy in their pixels; the arrays cannot be written to."""

    images: Sequence[RgbImage]
    policy: InputPolicy


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What is done to an image before it is kept; a patch, or the whole image when squeezed, gets `side` px."""

    stain: StainTarget | None
    scaling: Literal["none", "squeezed", "shrunk"]
    side: int = 0
    patch_side: int = 0

    @property
    def name(self) -> str:
        """Name of the file that holds images made this way."""
        whole = json.dumps([_FORMAT, asdict(self), _PIXEL_PACKAGES])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def prepare(self, path: Path, data: bytes) -> RgbImage:
        """Decode a file's bytes and bring stain and size to what is kept.

        Raises:
            UnreadableImageError: If the bytes cannot be read; the message names the file.
        """
        try:
            pixels = decode_image(data).pixels
        except UnreadableImageError as error:
            raise UnreadableImageError(f"{path}: {error}") from error
        image = self._scaled(stain_normaliser(self.stain)(pixels))
        image.flags.writeable = False
        return image

    def _scaled(self, image: RgbImage) -> RgbImage:
        height, width = image.shape[:2]
        if self.scaling == "squeezed":  # never enlarged: that would cost bytes and add nothing
            size = (min(self.side, width), min(self.side, height))
        elif self.scaling == "shrunk":
            size = (round(width * self.side / self.patch_side), round(height * self.side / self.patch_side))
        else:
            return image
        if size == (width, height):
            return image
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(image.dtype, copy=False)


def open_pixels(
    images: Sequence[LabelledImage],
    config: FitConfig,
    folder: Path | None,
    progress: Progress = lambda ready, total: None,
) -> Pixels:
    """Give the pixels of images as a run wants them: decoded and stain-normalised as in serving, and scaled.

    A patch, or under `resize` the whole image, has `cache_side` px, or its own size if that is smaller.
    Without a folder they are arrays in memory. In a folder each is made once, ever, and mapped: read from disk as
    it is drawn, and given back by the system when memory runs short. Several processes may share it.

    Raises:
        UnreadableImageError: If a file cannot be read; the message names it.
        ValueError: If patches would be kept smaller than the network wants them.
    """
    recipe, policy = _recipe(config)
    if folder is not None:
        store = PixelStore(folder, recipe.name)
        return Pixels(store.fetch([image.path for image in images], recipe.prepare, progress), policy)
    made = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for pixels in pool.map(lambda image: recipe.prepare(image.path, image.path.read_bytes()), images):
            made.append(pixels)
            progress(len(made), len(images))
    return Pixels(tuple(made), policy)


def _recipe(config: FitConfig) -> tuple[_Recipe, InputPolicy]:
    """Say what is done to each image, and give the input policy in pixels of the outcome."""
    policy, side = config.input_policy, config.cache_side
    if not side:
        return _Recipe(config.stain, "none"), policy
    if side < policy.input_side:
        raise ValueError(
            f"cache_side {side} is smaller than the input side {policy.input_side}: "
            "the network would see enlarged images; make it at least as large, or 0 for the full size"
        )
    if policy.kind == "resize":
        return _Recipe(config.stain, "squeezed", side), policy
    if side >= policy.patch_side:
        return _Recipe(config.stain, "none"), policy
    stride = max(1, round(policy.stride * side / policy.patch_side))
    return _Recipe(config.stain, "shrunk", side, policy.patch_side), replace(policy, patch_side=side, stride=stride)
