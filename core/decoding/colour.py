"""Bring samples of any colour space to 8-bit sRGB so that the pixels mean the same."""

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from core.decoding.limits import EXPORT_AGAIN, UnreadableImageError
from core.results import RgbImage

Samples8 = NDArray[np.uint8]  # height x width x channels
Samples = NDArray[np.uint8] | NDArray[np.uint16]
ToSrgb = Callable[[Samples8], RgbImage]

_FULL_RANGE = 1 << 14  # a bright 16-bit image that stays below holds 10, 12 or 14 bits
_SPACES = {1: ("L", "GRAY"), 3: ("RGB", "RGB "), 4: ("CMYK", "CMYK")}  # channels: Pillow's mode, the profile's space


def to_eight_bits(samples: Samples, bits: int) -> Samples8:
    """Scale samples so that the largest number of `bits` bits becomes 255."""
    if bits == 8:
        return samples.astype(np.uint8, copy=False)
    white = (1 << bits) - 1
    table = (np.arange(1 << bits, dtype=np.uint32) * 255 + white // 2) // white
    return np.take(table.astype(np.uint8), samples)


def check_full_range(largest: int) -> None:
    """Refuse 16-bit samples that do not use their range: camera software stores 12 bits so, and white is unknown.

    Raises:
        UnreadableImageError: If `largest`, the largest sample on the 16-bit scale, stays in the lowest quarter.
    """
    if largest < _FULL_RANGE:
        raise UnreadableImageError(
            f"the 16-bit values of the image stop at {largest:,} of 65,535, so it cannot be told what is white. "
            f"{EXPORT_AGAIN}"
        )


def on_white(rgb: RgbImage, alpha: Samples8, *, premultiplied: bool = False) -> RgbImage:
    """Lay an image over white, the colour of an empty slide; `alpha` is height x width."""
    if premultiplied:
        shown: RgbImage = np.minimum(rgb, alpha[..., None]) + (255 - alpha[..., None])
        return shown
    front = Image.fromarray(np.ascontiguousarray(rgb))
    mask = Image.fromarray(np.ascontiguousarray(alpha))
    laid: RgbImage = np.asarray(Image.composite(front, Image.new("RGB", front.size, "white"), mask))
    return laid


def plain_to_srgb(samples: Samples8) -> RgbImage:
    """Convert grey, RGB or CMYK samples that carry no profile."""
    channels = samples.shape[2]
    if channels == 1:
        return np.repeat(samples, 3, axis=2)
    if channels == 4:
        size = (samples.shape[1], samples.shape[0])
        # Pillow's plain formula, 255 - ink for each ink and black, as every viewer without a profile does.
        converted: RgbImage = np.asarray(Image.frombytes("CMYK", size, samples.tobytes()).convert("RGB"))
        return converted
    return samples


def gamma_to_srgb(gamma: float) -> ToSrgb:
    """Convert from a PNG's stated gamma to the usual 1/2.2 (PNG specification, 13.13)."""
    table: Samples8 = np.rint(255 * (np.arange(256) / 255) ** (1 / (2.2 * gamma))).astype(np.uint8)

    def convert(samples: Samples8) -> RgbImage:
        bent: Samples8 = table[samples]
        return plain_to_srgb(bent)

    return convert


def lab_to_srgb() -> ToSrgb:
    """Convert 8-bit CIE L*a*b* as TIFF stores it: D50, a* and b* as signed bytes (TIFF 6.0, section 23)."""
    # Pillow reads raw "LAB" bytes as TIFF stores them and raises a* and b* by the 128 that lcms wants.
    return _transform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")


def profile_to_srgb(profile: bytes, channels: int) -> tuple[ToSrgb, str | None]:
    """Make the conversion an embedded colour profile asks for, with a note for the reader."""
    mode, space = _SPACES[channels]
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        found, name = opened.profile.xcolor_space, ImageCms.getProfileDescription(opened).strip()
        if found == "RGB " and channels == 1:
            mode, space = "RGB", "RGB "
        if found != space:
            return plain_to_srgb, f"the colour profile is for {found.strip()} and was not used"
        if name.startswith("sRGB"):
            return plain_to_srgb, None
        transform = _transform(opened, mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return plain_to_srgb, "the colour profile is damaged and was not used"
    if mode == "RGB":
        return lambda samples: transform(plain_to_srgb(samples)), f"converted from {name or 'its own'} colours to sRGB"
    return transform, f"converted from {name or 'its own'} colours to sRGB"


def _transform(source: ImageCms.ImageCmsProfile, mode: str) -> ToSrgb:
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")

    def convert(samples: Samples8) -> RgbImage:
        flat = samples[..., 0] if mode == "L" else samples
        height, width = flat.shape[:2]
        image = Image.frombytes(mode, (width, height), np.ascontiguousarray(flat).tobytes())
        converted = ImageCms.applyTransform(image, transform)
        if converted is None:
            raise UnreadableImageError(f"the colours of the image cannot be converted. {EXPORT_AGAIN}")
        return np.asarray(converted)

    return convert
