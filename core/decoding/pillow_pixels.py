"""Turn an image that Pillow has opened into sRGB pixels, whatever its mode."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from core.decoding.assembly import BAND_PIXELS, Band, assemble, turn_upright
from core.decoding.colour import (
    Samples,
    ToSrgb,
    check_full_range,
    gamma_to_srgb,
    plain_to_srgb,
    profile_to_srgb,
    to_eight_bits,
)
from core.decoding.limits import EXPORT_AGAIN, UnreadableImageError, check_size
from core.results import RgbImage

_ORIENTATION = 274  # EXIF and TIFF use the same tag
_CHANNELS = {"1": 1, "L": 1, "LA": 1, "I;16": 1, "CMYK": 4}  # of colour, by Pillow's mode; all others have three


def decode_opened(
    image: Image.Image, *, samples: Samples | None = None, gamma: float | None = None, sixteen_bits: bool = False
) -> tuple[RgbImage, tuple[str, ...]]:
    """Decode once, or take the `samples` another decoder found: height x width, or x channels with alpha last.

    When it fails, the image object must be dropped: touched again, it gives black pixels.

    Raises:
        UnreadableImageError: If its pixels cannot be converted so that they mean the same.
    """
    check_size(*image.size)
    # Asked for the EXIF of a PNG without any, Pillow decodes the whole image to look behind it.
    silent = image.format == "PNG" and "exif" not in image.info
    orientation = 1 if silent else image.getexif().get(_ORIENTATION, 1)
    if samples is None:
        bands = _loaded_bands(image, sixteen_bits=sixteen_bits)
        channels = 3 if "transparency" in image.info else _CHANNELS.get(image.mode, 3)
    else:
        if samples.dtype == np.uint16:
            transparent = samples.ndim == 3 and samples.shape[2] in (2, 4)
            check_full_range(int((samples[..., :-1] if transparent else samples).max()))
        bands = _sample_bands(samples)
        channels = 1 if samples.ndim == 2 or samples.shape[2] == 2 else 3
    convert, colour_note = _conversion(image, channels, gamma)
    white_note: tuple[str, ...] = ()
    if samples is not None and convert is plain_to_srgb and samples.ndim == 3 and samples.shape[2] == 3:
        pixels = to_eight_bits(samples, 8 * samples.dtype.itemsize)  # already what is wanted
    else:
        pixels, white_note = assemble(*image.size, bands, convert)
    pixels, turn_note = turn_upright(pixels, orientation)
    return pixels, (*colour_note, *white_note, *turn_note)


def _loaded_bands(image: Image.Image, *, sixteen_bits: bool) -> Iterator[Band]:
    entries = _palette_entries(image)
    image.load()
    if image.mode == "P" and int(np.asarray(image).max()) >= entries:
        raise UnreadableImageError("the file is damaged: it uses colours its colour table lacks. Export it again.")
    if image.format in ("JPEG", "MPO"):
        _check_grey_end(image)
    if sixteen_bits:
        _check_sixteen_bits(image)
    return _bands(image)


def _sample_bands(samples: Samples) -> Iterator[Band]:
    whole = samples[..., None] if samples.ndim == 2 else samples
    transparent = whole.shape[2] in (2, 4)
    colours = whole.shape[2] - transparent
    rows = max(1, BAND_PIXELS // whole.shape[1])
    for top in range(0, len(whole), rows):
        part = whole[top : top + rows]
        eight = to_eight_bits(part, 8 * part.dtype.itemsize)
        yield Band(top, eight[..., :colours], eight[..., -1] if transparent else None)


def _palette_entries(image: Image.Image) -> int:
    """Number of colours in the table of the file; once loaded, Pillow fills the table up to 256."""
    if image.palette is None:
        return 0
    mode, table = image.palette.getdata()
    return len(table) // len(mode)


def _check_grey_end(image: Image.Image) -> None:
    """Refuse a JPEG whose last block is even mid-grey: decoders paint that where the data have run out."""
    width, height = image.size
    corner = np.asarray(image.crop((width - 8, height - 8, width, height)))
    if np.isin(corner[..., :3], (127, 128)).all():
        raise UnreadableImageError("the last part of the JPEG is missing. Export it again.")


def _check_sixteen_bits(image: Image.Image) -> None:
    """Check the range of a 16-bit PNG; of colours Pillow keeps the upper bytes."""
    if image.mode == "I;16":
        check_full_range(int(np.asarray(image).max()))
    else:
        colours = [band for band in image.getbands() if band != "A"]
        check_full_range(257 * max(int(np.asarray(image.getchannel(band)).max()) for band in colours))


def _conversion(image: Image.Image, channels: int, gamma: float | None) -> tuple[ToSrgb, tuple[str, ...]]:
    profile = image.info.get("icc_profile")
    if profile:
        convert, note = profile_to_srgb(profile, channels)
        return convert, (note,) if note else ()
    if gamma is not None:
        return gamma_to_srgb(gamma), (f"converted from gamma {gamma:.2f} to sRGB",)
    return plain_to_srgb, ("converted from CMYK without a colour profile",) if image.mode == "CMYK" else ()


def _bands(image: Image.Image) -> Iterator[Band]:
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        part = image.crop((0, top, image.width, min(top + rows, image.height)))
        yield _sixteen_bit_band(part, top) if part.mode == "I;16" else _band(part, top)


def _band(part: Image.Image, top: int) -> Band:
    transparent = "transparency" in part.info or part.mode == "PA"
    if part.mode in ("1", "L", "P", "PA", "RGB") and transparent:
        part = part.convert("RGBA")
    elif part.mode in ("1", "P"):
        part = part.convert("L" if part.mode == "1" else "RGB")
    samples = np.asarray(part)
    if part.mode in ("LA", "RGBA"):
        return Band(top, samples[..., :-1], samples[..., -1])
    if part.mode == "L":
        return Band(top, samples[..., None])
    if part.mode in ("RGB", "CMYK"):
        return Band(top, samples)
    raise UnreadableImageError(f"the image holds pixels of the kind {part.mode}. {EXPORT_AGAIN}")


def _sixteen_bit_band(part: Image.Image, top: int) -> Band:
    samples = np.asarray(part)
    grey = to_eight_bits(samples, 16)[..., None]
    if "transparency" not in part.info:
        return Band(top, grey)
    alpha = np.where(samples == part.info["transparency"], 0, 255).astype(np.uint8)
    return Band(top, np.repeat(grey, 3, axis=2), alpha)
