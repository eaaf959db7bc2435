"""Convert decoded samples of any mode and colour space to upright 8-bit sRGB pixels."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError, check_size
from core.results import RgbImage

Samples8 = NDArray[np.uint8]  # height x width x channels
Samples = NDArray[np.uint8] | NDArray[np.uint16]
ToSrgb = Callable[[Samples8], RgbImage]

BAND_PIXELS = 1 << 21  # converted at once, so that conversion takes little memory beyond the image itself

_FULL_RANGE = 1 << 14  # a 16-bit image whose largest sample is below holds only 10, 12 or 14 bits
_SPACES = {1: ("L", "GRAY"), 3: ("RGB", "RGB "), 4: ("CMYK", "CMYK")}  # channels: Pillow's mode, the profile's space
_ORIENTATION = 274  # EXIF and TIFF use the same tag
_CHANNELS = {"1": 1, "L": 1, "LA": 1, "I;16": 1, "CMYK": 4}  # of colour, by Pillow's mode; all others have three

# Any other name is text from the file: it may name a hospital or a person, and notes are exported.
_KNOWN_PROFILES = (
    *("Adobe RGB", "Apple RGB", "Display P3", "P3", "DCI-P3", "ProPhoto RGB", "Wide Gamut RGB", "ColorMatch RGB"),
    *("Generic RGB", "Rec. 2020", "Rec2020", "ITU-R BT", "Dot Gain", "Gray Gamma", "Generic Gray"),
    *("U.S. Web Coated", "Coated FOGRA", "SWOP", "Japan Color", "Generic CMYK"),
)
_LONGEST_NAME = 40  # characters, of those names

_ROUNDING = 3  # levels of 255; profiles of sRGB differ by 1 or 2

_ON_WHITE = "transparent areas were placed on white"
_TURNED = "turned upright as the file specifies"
CMYK_WITHOUT_PROFILE = "converted from CMYK without a colour profile"


def to_eight_bits(samples: Samples, bits: int) -> Samples8:
    """Scale samples so that the largest value of `bits` bits becomes 255."""
    if bits == 8:
        return samples.astype(np.uint8, copy=False)
    white = (1 << bits) - 1
    table = (np.arange(1 << bits, dtype=np.uint32) * 255 + white // 2) // white
    return np.take(table.astype(np.uint8), samples)


def stretch_stated_range(samples: Samples, bits: int) -> Samples:
    """Scale 16-bit samples to their full range, if they lie in the lowest `bits` bits that their file states.

    A file that follows the PNG specification (11.3.2.3, sBIT) has done so already, by repeating or zeroing low bits.
    """
    white, unused = (1 << bits) - 1, 16 - bits
    if int(samples.max()) > white:
        return samples
    high = samples >> unused
    zeroed, repeated = high << unused, (high << unused) | (high >> max(0, bits - unused))
    if np.array_equal(samples, zeroed) or np.array_equal(samples, repeated):
        return samples
    return ((samples.astype(np.uint32) * 65535 + white // 2) // white).astype(np.uint16)


def check_full_range(largest: int) -> None:
    """Refuse 16-bit samples that do not use their range: camera software stores 12 bits this way, so white is unknown.

    Raises:
        UnreadableImageError: If `largest`, the largest sample on the 16-bit scale, is in the lowest quarter.
    """
    if largest < _FULL_RANGE:
        raise UnreadableImageError(
            f"the 16-bit values of the image end at {largest:,} of 65,535, so the white level is unknown. "
            f"{EXPORT_AGAIN}"
        )


def composite_on_white(rgb: RgbImage, alpha: Samples8, *, premultiplied: bool = False) -> RgbImage:
    """Composite an image on white, the colour of an empty slide; `alpha` is height x width."""
    if premultiplied:
        composite: RgbImage = np.minimum(rgb, alpha[..., None]) + (255 - alpha[..., None])
        return composite
    front = Image.fromarray(np.ascontiguousarray(rgb))
    mask = Image.fromarray(np.ascontiguousarray(alpha))
    blended: RgbImage = np.asarray(Image.composite(front, Image.new("RGB", front.size, "white"), mask))
    return blended


def plain_to_srgb(samples: Samples8) -> RgbImage:
    """Convert grey, RGB or CMYK samples that carry no profile."""
    channels = samples.shape[2]
    if channels == 1:
        return np.repeat(samples, 3, axis=2)
    if channels == 4:
        size = (samples.shape[1], samples.shape[0])
        # Pillow's plain formula, 255 - ink for each ink and black, which viewers use when there is no profile.
        rgb: RgbImage = np.asarray(Image.frombytes("CMYK", size, samples.tobytes()).convert("RGB"))
        return rgb
    return samples


def gamma_to_srgb(gamma: float) -> ToSrgb:
    """Return the conversion from a PNG's stated gamma to the usual 1/2.2 (PNG specification, 13.13)."""
    table: Samples8 = np.rint(255 * (np.arange(256) / 255) ** (1 / (2.2 * gamma))).astype(np.uint8)

    def convert(samples: Samples8) -> RgbImage:
        corrected: Samples8 = table[samples]
        return plain_to_srgb(corrected)

    return convert


def lab_to_srgb() -> ToSrgb:
    """Return the conversion of 8-bit CIE L*a*b* as in TIFF: D50, a* and b* as signed bytes (TIFF 6.0, section 23)."""
    # Pillow reads raw "LAB" bytes as TIFF stores them and raises a* and b* by the 128 that lcms expects.
    return _transform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")


def profile_to_srgb(profile: bytes, channels: int) -> tuple[ToSrgb, str | None]:
    """Return the conversion that an embedded colour profile defines, and a note for the reader."""
    mode, space = _SPACES[channels]
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        source_space, name = source.profile.xcolor_space, ImageCms.getProfileDescription(source).strip()
        if source_space == "RGB " and channels == 1:
            mode, space = "RGB", "RGB "
        if source_space != space:
            return plain_to_srgb, f"the colour profile is for {source_space.strip()} and was ignored"
        transform = _transform(source, mode)
        if name.startswith("sRGB") and mode == "RGB" and _changes_nothing(transform):
            return plain_to_srgb, None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return plain_to_srgb, "the colour profile is damaged and was ignored"
    known = name if name.startswith(_KNOWN_PROFILES) and len(name) <= _LONGEST_NAME else "the embedded profile"
    note = f"converted from {known} to sRGB"
    if mode == "RGB":
        return lambda samples: transform(plain_to_srgb(samples)), note
    return transform, note


def _changes_nothing(transform: ToSrgb) -> bool:
    """Return whether a profile is sRGB but for rounding, whatever its name says."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, 81, 3)
    return int(np.abs(transform(colours).astype(np.int16) - colours).max()) <= _ROUNDING


def _transform(source: ImageCms.ImageCmsProfile, mode: str) -> ToSrgb:
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")

    def convert(samples: Samples8) -> RgbImage:
        flat = samples[..., 0] if mode == "L" else samples
        height, width = flat.shape[:2]
        image = Image.frombytes(mode, (width, height), np.ascontiguousarray(flat).tobytes())
        converted = ImageCms.applyTransform(image, transform)
        if converted is None:
            raise UnreadableImageError(f"the colours of the image cannot be converted to sRGB. {EXPORT_AGAIN}")
        return np.asarray(converted)

    return convert


@dataclass(frozen=True, slots=True)
class Band:
    """Some rows of an image before conversion: colours (rows x width x channels) and alpha (rows x width)."""

    top: int
    colours: Samples8
    alpha: Samples8 | None = None


def assemble_bands(
    width: int, height: int, bands: Iterable[Band], convert: ToSrgb, *, premultiplied: bool = False
) -> tuple[RgbImage, tuple[str, ...]]:
    """Convert every band to sRGB, on white where it is transparent; return the pixels and notes.

    Raises:
        UnreadableImageError: If every pixel is transparent.
    """
    pixels = np.empty((height, width, 3), np.uint8)
    transparent, visible = False, False
    for band in bands:
        rows = slice(band.top, band.top + len(band.colours))
        rgb = convert(band.colours)
        if band.alpha is not None and band.alpha.min() < 255:
            rgb, transparent = composite_on_white(rgb, band.alpha, premultiplied=premultiplied), True
        visible = visible or band.alpha is None or bool(band.alpha.any())
        pixels[rows] = rgb
    if not visible:
        raise UnreadableImageError(f"every pixel of the image is transparent. {EXPORT_AGAIN}")
    return pixels, (_ON_WHITE,) if transparent else ()


def turn_upright(pixels: RgbImage, orientation: int) -> tuple[RgbImage, tuple[str, ...]]:
    """Undo one of the eight orientations of EXIF and TIFF (tag 274); 1 and unknown numbers are upright."""
    if orientation not in range(2, 9):
        return pixels, ()
    upright = pixels.transpose(1, 0, 2) if orientation >= 5 else pixels
    if orientation in (3, 4, 7, 8):
        upright = upright[::-1]
    if orientation in (2, 3, 6, 7):
        upright = upright[:, ::-1]
    return np.ascontiguousarray(upright), (_TURNED,)


def convert_image(
    image: Image.Image, *, samples: Samples | None = None, gamma: float | None = None, sixteen_bits: bool = False
) -> tuple[RgbImage, tuple[str, ...]]:
    """Convert an opened image to upright sRGB pixels; return them and notes.

    `samples` are its pixels if another decoder has read them: height x width, or x channels with alpha last.
    After an error, discard the image object: used again, it yields black pixels.

    Raises:
        UnreadableImageError: If its pixels cannot be converted faithfully.
    """
    check_size(*image.size)
    # For a PNG without EXIF, Pillow would decode the whole image to look for EXIF after the pixels.
    without_exif = image.format == "PNG" and "exif" not in image.info
    orientation = 1 if without_exif else image.getexif().get(_ORIENTATION, 1)
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
        pixels = to_eight_bits(samples, 8 * samples.dtype.itemsize)  # already sRGB, without alpha
    else:
        pixels, white_note = assemble_bands(*image.size, bands, convert)
    pixels, turn_note = turn_upright(pixels, orientation)
    return pixels, (*colour_note, *white_note, *turn_note)


def _loaded_bands(image: Image.Image, *, sixteen_bits: bool) -> Iterator[Band]:
    entries = _palette_entries(image)
    image.load()
    if image.mode == "P" and int(np.asarray(image).max()) >= entries:
        raise UnreadableImageError(
            "the file is damaged: it uses colours that are missing from its colour table. Export it again."
        )
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
    """Return the number of colours in the file's table; on loading, Pillow pads the table to 256."""
    if image.palette is None:
        return 0
    mode, table = image.palette.getdata()
    return len(table) // len(mode)


def _check_sixteen_bits(image: Image.Image) -> None:
    """Check the range of a 16-bit PNG; for colours Pillow keeps only the upper bytes."""
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
    return plain_to_srgb, (CMYK_WITHOUT_PROFILE,) if image.mode == "CMYK" else ()


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
    raise UnreadableImageError(f"the image has pixels of mode {part.mode}, which is not supported. {EXPORT_AGAIN}")


def _sixteen_bit_band(part: Image.Image, top: int) -> Band:
    samples = np.asarray(part)
    grey = to_eight_bits(samples, 16)[..., None]
    if "transparency" not in part.info:
        return Band(top, grey)
    alpha = np.where(samples == part.info["transparency"], 0, 255).astype(np.uint8)
    return Band(top, np.repeat(grey, 3, axis=2), alpha)
