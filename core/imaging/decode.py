"""Turn the bytes of an image file into sRGB pixels, or raise an error that says why it cannot be read."""

import io
import struct
from dataclasses import dataclass

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from core.imaging.jpeg import check_jpeg
from core.imaging.jpeg_scans import check_data, check_further_pictures, read_scans
from core.imaging.kinds import recognise
from core.imaging.limits import EXPORT_AGAIN, MAX_BYTES, MAX_PIXELS, UnreadableImageError, check_size, check_work
from core.imaging.pixels import convert_image, stretch_stated_range
from core.imaging.png import check_png
from core.imaging.scale import Scale
from core.imaging.scale_tags import read_jpeg_scale, read_png_scale
from core.imaging.tiff import open_tiff
from core.imaging.tiff_pixels import decode_tiff
from core.imaging.webp import webp_size
from core.results import RgbImage

# By default Pillow warns below our limit; every size is checked here before Pillow opens a file.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_MAX_WEBP_PIXELS = 40_000_000  # the decoder holds four copies
_USUAL_GAMMA = 1 / 2.2
_OPAQUE = (0, 2)  # colour types of PNG: grey and RGB

_Decoded = tuple[RgbImage, tuple[str, ...], Scale | None]  # the pixels, notes, and the scale that the file states


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """The pixels of a file, without its metadata but for the scale; `notes` say how they were converted."""

    pixels: RgbImage
    format: str
    notes: tuple[str, ...] = ()
    scale: Scale | None = None  # as the file states it

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise ValueError(f"pixels must be height x width x 3 bytes, got {self.pixels.shape} {self.pixels.dtype}")


def decode_image(data: bytes, *, stored: bool = False) -> DecodedImage:
    """Decode PNG, JPEG, TIFF, BMP or WebP, recognised by content, to 8-bit sRGB.

    `stored` is for PNGs that this program wrote: an empty field packs to almost nothing, and is read all the same.

    Raises:
        UnreadableImageError: If the bytes cannot be decoded, for whatever reason; nothing else is raised.
    """
    try:
        return _decode(bytes(data), bounded=not stored)
    except UnreadableImageError:
        raise
    except MemoryError as error:
        raise UnreadableImageError(
            "there is not enough memory to decode this image. Export a smaller field of view."
        ) from error
    except Exception as error:  # decoders may raise anything on a damaged file; it is caught here only
        raise UnreadableImageError(
            f"the file is damaged or in an unsupported variant{_reason(error)}. {EXPORT_AGAIN}"
        ) from error


def read_scale(data: bytes) -> Scale | None:
    """Return the scale that a file states, without decoding its pixels; None if it states none or is damaged."""
    kind = recognise(data)
    try:
        if kind is None or kind.name not in ("PNG", "JPEG", "TIFF"):
            return None
        if kind.name == "TIFF":
            return open_tiff(data).scale
        return (read_png_scale(check_png(data).density) if kind.name == "PNG" else read_jpeg_scale(data)).scale
    except (UnreadableImageError, ValueError, struct.error):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return ""  # its text names a Python object
    line = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    return ": its end is missing" if "truncated" in line.lower() else f" ({line})"


def _decode(data: bytes, *, bounded: bool) -> DecodedImage:
    if not data:
        raise UnreadableImageError("the file is empty.")
    if len(data) > MAX_BYTES:
        raise UnreadableImageError(
            f"the file is {len(data) / 1e6:,.0f} MB; the limit is {MAX_BYTES // 1_000_000} MB. "
            "Export a smaller field of view."
        )
    kind = recognise(data)
    if kind is None:
        raise UnreadableImageError("this is not a supported image format. Export it as PNG, JPEG or TIFF.")
    if kind.kind != "image":
        raise UnreadableImageError(f"this is {kind.name}, which is not supported. Export it as PNG, JPEG or TIFF.")
    decode = {"JPEG": _decode_jpeg, "TIFF": decode_tiff, "BMP": _decode_bmp, "WebP": _decode_webp}
    pixels, notes, scale = _decode_png(data, bounded=bounded) if kind.name == "PNG" else decode[kind.name](data)
    return DecodedImage(pixels, kind.name, notes, scale)


def _decode_png(data: bytes, *, bounded: bool) -> _Decoded:
    png = check_png(data, bounded=bounded)
    notes = ("only the still image of the animation is used",) if png.animated else ()
    samples = imagecodecs.png_decode(png.data) if png.direct else None
    if samples is not None and png.stated_bits and png.colour_type in _OPAQUE and not png.transparent_colour:
        samples = stretch_stated_range(samples, png.stated_bits)
    with Image.open(io.BytesIO(png.data), formats=["PNG"]) as image:
        if not png.direct and png.transparent_colour and (png.bits, png.colour_type) in ((2, 0), (4, 0), (16, 2)):
            # Pillow would scale the pixels to 8 bits and compare them with the unscaled colour.
            raise UnreadableImageError(
                f"the PNG marks one colour as transparent, which is not supported for its bit depth. {EXPORT_AGAIN}"
            )
        gamma = image.info.get("gamma", 0.0)
        unusual = gamma > 0 and "srgb" not in image.info and abs(gamma / _USUAL_GAMMA - 1) > 0.05
        pixels, conversions = convert_image(
            image, samples=samples, gamma=gamma if unusual else None, sixteen_bits=png.bits == 16
        )
        stated = read_png_scale(png.density)
        return pixels, (*notes, *conversions, *stated.notes), stated.scale


def _decode_jpeg(data: bytes) -> _Decoded:
    check_jpeg(data)
    scans = read_scans(data)
    further = check_further_pictures(data, scans)
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        several = further or getattr(image, "n_frames", 1) > 1
        notes = ("only the first of several images is used",) if several else ()
        image.load()
        check_data(data, scans, image)
        pixels, conversions = convert_image(image)
        stated = read_jpeg_scale(data)
        return pixels, (*notes, *conversions, *stated.notes), stated.scale


def _decode_bmp(data: bytes) -> _Decoded:
    if len(data) < 54:
        raise UnreadableImageError(f"the BMP is cut short: it ends after {len(data)} bytes. Export it again.")
    (header,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", data, 18)
    check_size(width, abs(height))
    if header >= 40 and struct.unpack_from("<I", data, 30)[0] in (1, 2):
        raise UnreadableImageError(f"the BMP is run-length encoded, which is not supported. {EXPORT_AGAIN}")
    if header >= 108 and data[70:74] in (b"DEBM", b"KNIL"):
        raise UnreadableImageError(f"the BMP has a colour profile, which is not supported. {EXPORT_AGAIN}")
    with Image.open(io.BytesIO(data), formats=["BMP"]) as image:
        if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
            # Programs that know no transparency leave its bytes zero; Windows and other decoders ignore them as well.
            pixels, notes = convert_image(image, samples=np.asarray(image.convert("RGB")))
            return pixels, (*notes, "the empty transparency channel was ignored"), None
        return *convert_image(image), None


def _decode_webp(data: bytes) -> _Decoded:
    width, height = webp_size(data)
    check_size(width, height)
    check_work(3 * width * height, len(data))
    if width * height > _MAX_WEBP_PIXELS:
        raise UnreadableImageError(
            f"the WebP is {width:,} x {height:,} pixels; the limit for WebP is 40 megapixels. {EXPORT_AGAIN}"
        )
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        notes = ("only the first frame of the animation is used",) if getattr(image, "n_frames", 1) > 1 else ()
        pixels, conversions = convert_image(image)
        return pixels, (*notes, *conversions), None
