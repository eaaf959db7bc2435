"""Files of known pixels in every mode a microscope, a scanner or an office program may write."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from core.results import RgbImage

Make = Callable[[], tuple[bytes, NDArray[np.float64]]]  # the file and the sRGB pixels it means

HEIGHT, WIDTH = 48, 64


def smooth_colours() -> RgbImage:
    """Pink to violet to white: smooth, so that lossy formats keep it."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([110 + 2 * x, 60 + 3 * y, 250 - x - y], axis=2).clip(0, 255).astype(np.uint8)


def smooth_grey() -> NDArray[np.uint8]:
    return smooth_colours()[..., 0]


def grey_as_rgb(grey: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float64)


def alpha_ramp() -> NDArray[np.uint8]:
    return np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))


def over_white(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    weight = alpha_ramp()[..., None] / 255
    return colours * weight + 255 * (1 - weight)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(samples: NDArray[np.generic], **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def raw_png(samples: NDArray[np.uint8] | NDArray[np.uint16], colour_type: int, *between: bytes) -> bytes:
    """Write a PNG by hand, so that 16-bit colours and odd chunks can be had."""
    bits = 8 * samples.dtype.itemsize
    height, width = samples.shape[:2]
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", header), *between, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def adam7(samples: RgbImage) -> bytes:
    """Write an interlaced PNG by hand; Pillow cannot."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in passes for row in samples[y::dy, x::dx])
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 8, 2, 0, 0, 1)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def as_float(pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.asarray(pixels, np.float64)


def _rgb() -> tuple[Image.Image, NDArray[np.float64]]:
    return Image.fromarray(smooth_colours()), as_float(smooth_colours())


def _grey() -> tuple[Image.Image, NDArray[np.float64]]:
    return Image.fromarray(smooth_grey()), grey_as_rgb(smooth_grey())


def _rgba() -> tuple[Image.Image, NDArray[np.float64]]:
    both = np.dstack([smooth_colours(), alpha_ramp()])
    return Image.fromarray(both), over_white(as_float(smooth_colours()))


def _grey_alpha() -> tuple[Image.Image, NDArray[np.float64]]:
    both = np.dstack([smooth_grey(), alpha_ramp()])
    return Image.fromarray(both, "LA"), over_white(grey_as_rgb(smooth_grey()))


def _palette() -> tuple[Image.Image, NDArray[np.float64]]:
    image = Image.fromarray(smooth_colours()).quantize(200)
    return image, as_float(np.asarray(image.convert("RGB")))


def _black_and_white() -> tuple[Image.Image, NDArray[np.float64]]:
    image = Image.fromarray(smooth_grey()).convert("1")
    return image, as_float(np.asarray(image.convert("RGB")))


def _cmyk() -> tuple[Image.Image, NDArray[np.float64]]:
    return Image.fromarray(smooth_colours()).convert("CMYK"), as_float(smooth_colours())


def _lab() -> tuple[Image.Image, NDArray[np.float64]]:
    rgb = Image.fromarray((smooth_colours() // 2 + 64).astype(np.uint8))
    lab = ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(rgb, ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    assert converted is not None
    return converted, as_float(np.asarray(rgb))


def _file(make: Callable[[], tuple[Image.Image, NDArray[np.float64]]], kind: str, **options: object) -> Make:
    def write() -> tuple[bytes, NDArray[np.float64]]:
        image, means = make()
        return saved(image, kind, **options), means

    return write


def _samples(convert: Callable[[RgbImage], NDArray[np.generic]], **options: object) -> Make:
    """TIFF of the smooth colours, converted."""
    return lambda: (tiff(convert(smooth_colours()), **options), as_float(smooth_colours()))


def _greys(convert: Callable[[NDArray[np.uint8]], NDArray[np.generic]], **options: object) -> Make:
    return lambda: (tiff(convert(smooth_grey()), **options), grey_as_rgb(smooth_grey()))


def _wide(samples: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return samples.astype(np.uint16) * np.uint16(257)


def _with_transparent_palette() -> tuple[bytes, NDArray[np.float64]]:
    image, means = _palette()
    index = np.asarray(image)
    means[index == 3] = 255
    return saved(image, "PNG", transparency=3), means


ODD_MODES: dict[str, Make] = {
    "PNG RGB": _file(_rgb, "PNG"),
    "PNG grey": _file(_grey, "PNG"),
    "PNG grey and alpha": _file(_grey_alpha, "PNG"),
    "PNG RGB and alpha": _file(_rgba, "PNG"),
    "PNG palette": _file(_palette, "PNG"),
    "PNG palette, one colour transparent": _with_transparent_palette,
    "PNG 1 bit": _file(_black_and_white, "PNG"),
    "PNG interlaced": lambda: (adam7(smooth_colours()), as_float(smooth_colours())),
    "PNG 16-bit grey": lambda: (raw_png(_wide(smooth_grey()), 0), grey_as_rgb(smooth_grey())),
    "PNG 16-bit RGB": lambda: (raw_png(_wide(smooth_colours()), 2), as_float(smooth_colours())),
    "PNG 16-bit RGB and alpha": lambda: (
        raw_png(_wide(np.dstack([smooth_colours(), alpha_ramp()])), 6),
        over_white(as_float(smooth_colours())),
    ),
    "PNG linear light": lambda: (
        raw_png(
            (65535 * (smooth_colours() / 255) ** 2.2).round().astype(np.uint16),
            2,
            png_chunk(b"gAMA", struct.pack(">I", 100_000)),
        ),
        as_float(smooth_colours()),
    ),
    "JPEG": _file(_rgb, "JPEG", quality=95),
    "JPEG progressive": _file(_rgb, "JPEG", quality=95, progressive=True),
    "JPEG grey": _file(_grey, "JPEG", quality=95),
    "JPEG CMYK, inverted as Adobe does": _file(_cmyk, "JPEG", quality=95),
    "BMP 1 bit": _file(_black_and_white, "BMP"),
    "BMP palette": _file(_palette, "BMP"),
    "BMP grey": _file(_grey, "BMP"),
    "BMP 24 bits": _file(_rgb, "BMP"),
    "BMP 32 bits, the last 8 of no meaning": lambda: (
        saved(_rgba()[0], "BMP"),
        as_float(smooth_colours()),
    ),
    "WebP lossless": _file(_rgb, "WEBP", lossless=True),
    "WebP lossy": _file(_rgb, "WEBP", quality=95),
    "WebP with alpha": _file(_rgba, "WEBP", lossless=True, exact=True),
    "TIFF RGB": _samples(lambda c: c, photometric="rgb"),
    "TIFF RGB big-endian": _samples(lambda c: c, photometric="rgb", byteorder=">"),
    "TIFF planes": _samples(lambda c: c.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    "TIFF tiles": _samples(lambda c: c, photometric="rgb", tile=(32, 32)),
    "TIFF strips, LZW, differences": _samples(
        lambda c: c, photometric="rgb", compression="lzw", predictor=True, rowsperstrip=7
    ),
    "TIFF deflate": _samples(lambda c: c, photometric="rgb", compression="deflate"),
    "TIFF PackBits": _samples(lambda c: c, photometric="rgb", compression="packbits"),
    "TIFF JPEG, YCbCr": _file(_rgb, "TIFF", compression="jpeg", quality=95),
    "TIFF JPEG, RGB": _samples(lambda c: c, photometric="rgb", compression="jpeg"),
    "TIFF BigTIFF": _samples(lambda c: c, photometric="rgb", bigtiff=True),
    "TIFF 16-bit RGB": _samples(_wide, photometric="rgb"),
    "TIFF 16-bit RGB big-endian, differences": _samples(
        _wide, photometric="rgb", byteorder=">", compression="deflate", predictor=True
    ),
    "TIFF 16-bit grey": _greys(_wide, photometric="minisblack"),
    "TIFF 16-bit grey big-endian": _greys(_wide, photometric="minisblack", byteorder=">"),
    "TIFF white is zero": _greys(lambda g: 255 - g, photometric="miniswhite"),
    "TIFF 16 bits, white is zero": _greys(lambda g: 65535 - _wide(g), photometric="miniswhite"),
    "TIFF 1 bit": _file(_black_and_white, "TIFF"),
    "TIFF palette": _file(_palette, "TIFF"),
    "TIFF CMYK": _file(_cmyk, "TIFF"),
    "TIFF LAB": _file(_lab, "TIFF"),
    "TIFF RGB and alpha": lambda: (
        tiff(np.dstack([smooth_colours(), alpha_ramp()]), photometric="rgb", extrasamples=["unassalpha"]),
        over_white(as_float(smooth_colours())),
    ),
    "TIFF RGB times alpha": lambda: (
        tiff(
            np.dstack([smooth_colours() * (alpha_ramp()[..., None] / 255), alpha_ramp()]).round().astype(np.uint8),
            photometric="rgb",
            extrasamples=["assocalpha"],
        ),
        over_white(as_float(smooth_colours())),
    ),
}
