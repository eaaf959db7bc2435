"""Turn the bytes of an image file into sRGB pixels, or raise an error that says why it cannot be read."""

import io
import struct
from dataclasses import dataclass

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from core.imaging import tiff, tiff_pixels
from core.imaging.limits import EXPORT_AGAIN, MAX_BYTES, MAX_PIXELS, UnreadableImageError, check_size, truncation_error
from core.imaging.pixels import convert_image
from core.imaging.png_jpeg import SIGNATURE as PNG_SIGNATURE
from core.imaging.png_jpeg import check_jpeg, check_png
from core.results import RgbImage

# By default Pillow warns below our limit; every size is checked here before Pillow opens a file.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_MAX_WEBP_PIXELS = 40_000_000  # the decoder holds four copies
_USUAL_GAMMA = 1 / 2.2
# Unsupported formats that people try, by offset and signature; the error names them.
_UNSUPPORTED = (
    (0, b"GIF8", "a GIF"),
    (4, b"ftyp", "a HEIC, AVIF or MP4 file"),
    (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (0, b"%PDF", "a PDF"),
    (0, b"PK\x03\x04", "a ZIP archive or office document"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"\0\0\x01\0", "an icon"),
    (128, b"DICM", "a DICOM file"),
    (0, b"<", "a web page, XML or SVG"),
)


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """The pixels of a file, without its metadata; `notes` say how they were converted."""

    pixels: RgbImage
    format: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 3 or self.pixels.shape[2] != 3:
            raise ValueError(f"pixels must be height x width x 3 bytes, got {self.pixels.shape} {self.pixels.dtype}")


def decode_image(data: bytes) -> DecodedImage:
    """Decode PNG, JPEG, TIFF, BMP or WebP, recognised by content, to 8-bit sRGB.

    Raises:
        UnreadableImageError: If the bytes cannot be decoded, for whatever reason; nothing else is raised.
    """
    try:
        return _decode(bytes(data))
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


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return ""  # its text names a Python object
    line = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    return ": its end is missing" if "truncated" in line.lower() else f" ({line})"


def _decode(data: bytes) -> DecodedImage:
    if not data:
        raise UnreadableImageError("the file is empty.")
    if len(data) > MAX_BYTES:
        raise UnreadableImageError(
            f"the file is {len(data) / 1e6:,.0f} MB; the limit is {MAX_BYTES // 1_000_000} MB. "
            "Export a smaller field of view."
        )
    if data.startswith(PNG_SIGNATURE):
        return _decode_png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _decode_jpeg(data)
    if data.startswith(tiff.SIGNATURES):
        return DecodedImage(*tiff_pixels.decode_tiff(data))
    if data.startswith(b"BM"):
        return _decode_bmp(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _decode_webp(data)
    raise UnreadableImageError(f"{_describe_format(data)} Export it as PNG, JPEG or TIFF.")


def _describe_format(data: bytes) -> str:
    for offset, signature, name in _UNSUPPORTED:
        if data.startswith(signature, offset):
            return f"this is {name}, which is not supported."
    return "this is not a supported image format."


def _decode_png(data: bytes) -> DecodedImage:
    png = check_png(data)
    notes = ("only the still image of the animation is used",) if png.animated else ()
    samples = imagecodecs.png_decode(png.data) if png.direct else None
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
        return DecodedImage(pixels, "PNG", (*notes, *conversions))


def _decode_jpeg(data: bytes) -> DecodedImage:
    check_jpeg(data)
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        notes = ("only the first of several images is used",) if getattr(image, "n_frames", 1) > 1 else ()
        pixels, conversions = convert_image(image)
        return DecodedImage(pixels, "JPEG", (*notes, *conversions))


def _decode_bmp(data: bytes) -> DecodedImage:
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
        pixels, notes = convert_image(image)
        return DecodedImage(pixels, "BMP", notes)


def _decode_webp(data: bytes) -> DecodedImage:
    if len(data) < 30:
        raise UnreadableImageError(f"the WebP is cut short: it ends after {len(data)} bytes. Export it again.")
    (size,) = struct.unpack_from("<I", data, 4)
    if len(data) < size + 8:
        raise truncation_error(len(data), size + 8)
    width, height = _webp_size(data)
    check_size(width, height)
    if width * height > _MAX_WEBP_PIXELS:
        raise UnreadableImageError(
            f"the WebP is {width:,} x {height:,} pixels; the limit for WebP is 40 megapixels. {EXPORT_AGAIN}"
        )
    with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
        notes = ("only the first frame of the animation is used",) if getattr(image, "n_frames", 1) > 1 else ()
        pixels, conversions = convert_image(image)
        return DecodedImage(pixels, "WebP", (*notes, *conversions))


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height from the first chunk (RFC 9649, section 2)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
