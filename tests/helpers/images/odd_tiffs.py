"""TIFF files whose picture is hard to find, or whose tags are wrong, as scanners and other programs write them."""

import io
import struct
from collections.abc import Callable, Sequence

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from core.results import RgbImage
from tests.helpers.images.odd_modes import HEIGHT, WIDTH, saved, smooth_colours, tiff

STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS = 279, 324, 325
Pages = Sequence[tuple[NDArray[np.generic], dict[str, object]]]


def pages_tiff(pages: Pages) -> bytes:
    """Write pages one after another, each with its own options."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for samples, options in pages:
            file.write(samples, **{"photometric": "rgb", "metadata": None, **options})  # type: ignore[arg-type]
    return buffer.getvalue()


def channels_tiff(colours: RgbImage, **options: object) -> bytes:
    """Write red, green and blue as three grey pages."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.moveaxis(colours, 2, 0).copy(), photometric="minisblack", **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def with_numbers(data: bytes, tag: int, change: Callable[[list[int]], list[int]]) -> bytes:
    """Return the file with other numbers in a tag of its first page."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages.first.tags[tag]
        numbers = list(found.value) if isinstance(found.value, tuple) else [found.value]
        place, width = found.valueoffset, found.valuebytecount // found.count
    packed = b"".join(min(number, 256**width - 1).to_bytes(width, "little") for number in change(numbers))
    return data[:place] + packed + data[place + len(packed) :]


def without_tag(data: bytes, tag: int) -> bytes:
    """Return the file with a tag renamed to one that nobody knows."""
    at = data.index(struct.pack("<H", tag), 8)
    return data[:at] + struct.pack("<H", 65_000) + data[at + 2 :]


def jpeg_tiff(jpeg: bytes, photometric: int, width: int, height: int) -> bytes:
    """Wrap a JPEG in a TIFF of one strip that says what its colours are, right or wrong."""
    tags = [(256, width), (257, height), (259, 7), (262, photometric), (277, 3), (278, height), (279, len(jpeg))]
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags]
    entries.append(struct.pack("<HHII", 258, 3, 3, start))
    entries.append(struct.pack("<HHII", 273, 4, 1, start + 6))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return b"".join([header, *entries, bytes(4), struct.pack("<HHH", 8, 8, 8), jpeg])


def jpeg_of(channels: Image.Image, *, jfif: bool = True, subsampling: int = 0) -> bytes:
    """Return a JPEG with or without the marker that says that its channels are YCbCr."""
    data = saved(channels, "JPEG", quality=95, subsampling=subsampling)
    (length,) = struct.unpack_from(">H", data, 4)
    return data if jfif else data[:2] + data[4 + length :]


def rgb_as_ycbcr(colours: RgbImage) -> Image.Image:
    """Return an image that Pillow takes for YCbCr and that holds red, green and blue."""
    return Image.merge("YCbCr", Image.fromarray(colours).split())


def odd_tiffs() -> list[bytes]:
    """Return one TIFF of each kind that takes a path of its own through the decoder."""
    colours = smooth_colours()
    large, grey = np.tile(colours, (2, 2, 1)), {"axes": "CYX", "mode": "composite"}
    names: dict[str, object] = {"axes": "CYX", "Channel": {"Name": ["R", "G", "B"]}}
    sparse = tiff(colours, photometric="rgb", tile=(16, 32))
    for tag in (TILE_COUNTS, TILE_OFFSETS):
        sparse = with_numbers(sparse, tag, lambda values: [values[0], 0, *values[2:]])
    packed = [
        tiff(colours, photometric="rgb", compression=packing, tile=(16, 32))
        for packing in ("zstd", "lzma", "jpeg2000", "webp", "jpeg", "deflate", "packbits")
    ]
    return [
        pages_tiff([(colours, {"subfiletype": 1}), (large, {})]),
        pages_tiff([(colours, {"subifds": 1}), (large, {})]),
        channels_tiff(colours, imagej=True, metadata=grey),
        channels_tiff(colours, ome=True, metadata=names),
        sparse,
        *packed,
        *(with_numbers(data, TILE_COUNTS, lambda values: [0] * len(values)) for data in packed),
        jpeg_tiff(jpeg_of(rgb_as_ycbcr(colours), jfif=False), 6, WIDTH, HEIGHT),
        jpeg_tiff(jpeg_of(Image.fromarray(colours)), 2, WIDTH, HEIGHT),
    ]
