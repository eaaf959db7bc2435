"""Read the first image of a TIFF band by band, and refuse it if a strip or tile is missing.

Common TIFF decoders leave a strip that they cannot decode black; here every strip must lie within the file
and unpack to at least the bytes that its pixels take. Tag and code numbers are those of TIFF 6.0 and BigTIFF.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, cast

import imagecodecs
import numpy as np
from PIL import Image

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError, check_size, truncation_error
from core.imaging.pixels import Samples

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

Packed = bytes | bytearray | memoryview

_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # TIFF type: numpy type
# TIFF type: bytes
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

_COMPRESSIONS = {1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate"}
_BITS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
_MAX_SEGMENTS = 100_000  # 100 megapixels in the usual 256-pixel tiles have 1,600
_MAX_BAND = 320_000_000  # bytes decoded at once; 100 megapixels of 8-bit RGB in a single strip still fit
_MAX_UNPACKED = 401_000_000  # bytes; 100 megapixels of 8-bit RGB with transparency
_UNKNOWN_WHITE = "the TIFF stores {} instead of 8-bit colours, so the white level is unknown."


class Tag(IntEnum):
    """Numbers of the tags that decide the pixels (TIFF 6.0)."""

    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_COUNTS = 279
    PLANAR = 284
    PREDICTOR = 317
    COLOUR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_COUNTS = 325
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    PROFILE = 34675


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of the first image."""

    order: Literal["<", ">"]
    more_pages: bool
    _data: bytes
    _places: dict[int, tuple[int, int, int]]  # tag: type, count, offset of the values

    @classmethod
    def read(cls, data: bytes) -> "Tags":
        """Read the first directory: where the values of each tag are.

        Raises:
            UnreadableImageError: If the directory extends beyond the end of the file.
        """
        order: Literal["<", ">"] = "<" if data[:2] == b"II" else ">"
        big = data[2:4] in (b"+\0", b"\0+")
        # BigTIFF: 8-byte offsets and counts (awaresystems.be/imaging/tiff/bigtiff.html).
        word, count_code, entry, header = ("Q", "Q", 20, 16) if big else ("I", "H", 12, 8)
        _require(data, header)
        (start,) = struct.unpack_from(order + word, data, header - struct.calcsize(word))
        _require(data, start + struct.calcsize(count_code))
        (entries,) = struct.unpack_from(order + count_code, data, start)
        first = start + struct.calcsize(count_code)
        end = first + min(entries, 1 << 16) * entry
        _require(data, end)
        places = {}
        for at in range(first, end, entry):
            tag, kind, count = struct.unpack_from(order + "HH" + word, data, at)
            value = at + entry - struct.calcsize(word)
            if _SIZES.get(kind, 1) * count > struct.calcsize(word):
                (value,) = struct.unpack_from(order + word, data, value)
            places[tag] = (kind, count, value)
        # If the link to the next page is cut off, the first page is still complete.
        link = data[end : end + struct.calcsize(word)]
        return cls(order, any(link), data, places)

    def numbers(self, tag: Tag) -> tuple[int, ...]:
        """Return all integers of a tag; none if the tag is absent."""
        if tag not in self._places:
            return ()
        kind, count, offset = self._places[tag]
        if kind not in _INTEGERS:
            raise UnreadableImageError(f"the TIFF is damaged: its tag {tag.value} is not an integer. Export it again.")
        dtype = np.dtype(self.order + _INTEGERS[kind])
        _require(self._data, offset + count * dtype.itemsize)
        return tuple(np.frombuffer(self._data, dtype, count, offset).tolist())

    def number(self, tag: Tag, default: int | None = None) -> int:
        """Return the first integer of a tag; without a default the tag must be present."""
        numbers = self.numbers(tag)
        if numbers:
            return numbers[0]
        if default is None:
            raise UnreadableImageError(f"the TIFF is damaged: its tag {tag.value} is missing. Export it again.")
        return default

    def raw(self, tag: Tag) -> bytes:
        """Return the bytes of a tag; none if the tag is absent."""
        if tag not in self._places:
            return b""
        kind, count, offset = self._places[tag]
        size = _SIZES.get(kind, 1) * count
        _require(self._data, offset + size)
        return self._data[offset : offset + size]


def _require(data: bytes, end: int) -> None:
    if end > len(data):
        raise truncation_error(len(data), end)


@dataclass(frozen=True, slots=True)
class Layout:
    """The properties of the first image that decide its pixels."""

    width: int
    height: int
    bits: int
    samples: int
    photometric: int
    compression: int
    predictor: int
    planar: bool
    big_endian: bool
    segment_width: int
    segment_height: int
    tiled: bool
    extra_samples: tuple[int, ...]
    orientation: int
    several_pages: bool

    @property
    def across(self) -> int:
        """Number of segments side by side."""
        return -(-self.width // self.segment_width)

    @property
    def down(self) -> int:
        """Number of segments on top of each other."""
        return -(-self.height // self.segment_height)


@dataclass(frozen=True, slots=True)
class Tiff:
    """The first image of a TIFF, checked but not yet decoded."""

    layout: Layout
    colour_map: tuple[int, ...]
    profile: bytes
    _segments: tuple[memoryview, ...]
    _jpeg_tables: bytes

    def bands(self) -> Iterator[tuple[int, Samples]]:
        """Yield, from the top, the first row and the samples (rows x width x channels) of each row of segments."""
        layout, planes = self.layout, self.layout.samples if self.layout.planar else 1
        for row in range(layout.down):
            top = row * layout.segment_height
            rows = min(layout.segment_height, layout.height - top)
            parts = [
                np.concatenate([self._segment(plane, row, column) for column in range(layout.across)], axis=1)
                if layout.across > 1
                else self._segment(plane, row, 0)
                for plane in range(planes)
            ]
            band = np.concatenate(parts, axis=2) if planes > 1 else parts[0]
            yield top, band[:rows, : layout.width]

    def _segment(self, plane: int, row: int, column: int) -> Samples:
        layout = self.layout
        index = (plane * layout.down + row) * layout.across + column
        rows = layout.segment_height
        if not layout.tiled:
            rows = min(rows, layout.height - row * layout.segment_height)
        return _decode(self._segments[index], rows, layout, self._jpeg_tables)


def open_tiff(data: bytes) -> Tiff:
    """Read the tags of the first image and check that every pixel can be decoded.

    Raises:
        UnreadableImageError: If it is damaged, cut short, beyond the limits, or of an unsupported kind.
    """
    tags = Tags.read(data)
    layout = _layout(tags)
    segments = _segments(data, tags, layout)
    tables = tags.raw(Tag.JPEG_TABLES)[2:-2]  # without their start and end markers
    return Tiff(layout, tags.numbers(Tag.COLOUR_MAP), tags.raw(Tag.PROFILE), segments, tables)


def _layout(tags: Tags) -> Layout:
    width, height = tags.number(Tag.WIDTH), tags.number(Tag.HEIGHT)
    check_size(width, height)
    bits, tiled = set(tags.numbers(Tag.BITS) or (1,)), bool(tags.numbers(Tag.TILE_WIDTH))
    layout = Layout(
        width=width,
        height=height,
        bits=max(bits),
        samples=tags.number(Tag.SAMPLES, 1),
        photometric=tags.number(Tag.PHOTOMETRIC),
        compression=tags.number(Tag.COMPRESSION, 1),
        predictor=tags.number(Tag.PREDICTOR, 1),
        planar=tags.number(Tag.PLANAR, 1) == 2 and tags.number(Tag.SAMPLES, 1) > 1,
        big_endian=tags.order == ">",
        segment_width=tags.number(Tag.TILE_WIDTH) if tiled else width,
        segment_height=tags.number(Tag.TILE_HEIGHT) if tiled else min(tags.number(Tag.ROWS_PER_STRIP, height), height),
        tiled=tiled,
        extra_samples=tags.numbers(Tag.EXTRA_SAMPLES),
        orientation=tags.number(Tag.ORIENTATION, 1),
        several_pages=tags.more_pages,
    )
    _check_kind(tags, layout, bits)
    _check_cost(layout)
    return layout


def _check_kind(tags: Tags, layout: Layout, bits: set[int]) -> None:
    reason = ""
    if layout.compression not in _COMPRESSIONS:
        reason = f"the TIFF uses an unsupported compression (number {layout.compression})."
    elif set(tags.numbers(Tag.SAMPLE_FORMAT)) - {1, 4}:
        reason = _UNKNOWN_WHITE.format("signed or floating-point numbers")
    elif len(bits) != 1 or layout.bits not in _BITS:
        reason = _UNKNOWN_WHITE.format(f"numbers of {' and '.join(map(str, sorted(bits)))} bits")
    elif layout.predictor not in (1, 2) or (layout.predictor == 2 and layout.bits not in (8, 16)):
        reason = f"the TIFF uses an unsupported predictor (number {layout.predictor})."
    elif tags.number(Tag.FILL_ORDER, 1) != 1:
        reason = "the TIFF stores its bits in reverse order, which is not supported."
    elif layout.compression == 7 and layout.bits != 8:
        reason = f"the TIFF contains JPEG data of {layout.bits} bits instead of 8."
    elif layout.compression != 7 and layout.photometric == 6:
        reason = "the TIFF uses YCbCr colours without JPEG compression, which is not supported."
    elif layout.photometric == 5 and tags.number(Tag.INK_SET, 1) != 1:
        reason = "the TIFF uses inks other than cyan, magenta, yellow and black."
    if reason:
        raise UnreadableImageError(f"{reason} {EXPORT_AGAIN}")


def _check_cost(layout: Layout) -> None:
    if layout.segment_width < 1 or layout.segment_height < 1 or not 1 <= layout.samples <= 5:
        raise UnreadableImageError(f"the TIFF is damaged, or has too many channels. {EXPORT_AGAIN}")
    segments = layout.across * layout.down * (layout.samples if layout.planar else 1)
    band = layout.segment_width * layout.across * layout.segment_height * layout.samples * (2 if layout.bits > 8 else 1)
    unpacked = layout.width * layout.height * layout.samples * (2 if layout.bits > 8 else 1)
    if segments > _MAX_SEGMENTS or band > _MAX_BAND or unpacked > _MAX_UNPACKED:
        raise UnreadableImageError(
            f"the TIFF is too large when unpacked, or has too many strips or tiles. {EXPORT_AGAIN}"
        )


def _segments(data: bytes, tags: Tags, layout: Layout) -> tuple[memoryview, ...]:
    offsets = tags.numbers(Tag.TILE_OFFSETS) if layout.tiled else tags.numbers(Tag.STRIP_OFFSETS)
    counts = tags.numbers(Tag.TILE_COUNTS) if layout.tiled else tags.numbers(Tag.STRIP_COUNTS)
    needed = layout.across * layout.down * (layout.samples if layout.planar else 1)
    if not counts and layout.compression == 1 and len(offsets) == needed == 1:
        counts = (_packed_bytes(layout.segment_height, layout),)  # older software omits it
    if min(len(offsets), len(counts)) < needed:
        listed = min(len(offsets), len(counts))
        raise UnreadableImageError(f"the TIFF lists only {listed:,} of {needed:,} strips or tiles. Export it again.")
    offsets, counts = offsets[:needed], counts[:needed]
    if min(offsets) < 8 or min(counts) < 1:
        raise UnreadableImageError("a strip or tile of the TIFF is empty. Export it again.")
    end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
    if end > len(data):
        raise truncation_error(len(data), end)
    view = memoryview(data)
    return tuple(view[offset : offset + count] for offset, count in zip(offsets, counts, strict=True))


def _channels(layout: Layout) -> int:
    return 1 if layout.planar else layout.samples


def _packed_bytes(rows: int, layout: Layout) -> int:
    return rows * -(-layout.segment_width * _channels(layout) * layout.bits // 8)


def _decode(segment: memoryview, rows: int, layout: Layout, jpeg_tables: bytes) -> Samples:
    if layout.compression == 7:
        return _decode_jpeg(segment, rows, layout, jpeg_tables)
    size = _packed_bytes(rows, layout)
    packed = _unpack(segment, size, layout.compression)
    if len(packed) < size:
        raise UnreadableImageError(
            f"a strip or tile of the TIFF has only {len(packed):,} of {size:,} bytes. Export it again."
        )
    shape = (rows, layout.segment_width, _channels(layout))
    samples: Samples
    if layout.bits == 8:
        samples = np.frombuffer(packed, np.uint8, size).reshape(shape)
    elif layout.bits == 16:
        order = ">u2" if layout.big_endian else "<u2"
        samples = cast("Samples", np.frombuffer(packed, order, size // 2).reshape(shape))
    else:
        return _unpack_small_samples(packed, layout.bits, shape)
    return _undo_differences(samples) if layout.predictor == 2 else samples


def _undo_differences(samples: Samples) -> Samples:
    """Sum along each row, with wraparound (TIFF 6.0, section 14)."""
    native = samples.astype(samples.dtype.newbyteorder("="))
    return cast("Samples", imagecodecs.delta_decode(native, axis=1, out=native))


def _unpack(segment: memoryview, size: int, compression: int) -> Packed:
    """Undo the compression, up to `size` bytes."""
    if compression == 1:
        return segment
    if _COMPRESSIONS[compression] == "deflate":
        return zlib.decompressobj().decompress(segment, size)
    decode = imagecodecs.lzw_decode if compression == 5 else imagecodecs.packbits_decode
    return decode(bytes(segment), out=bytearray(size))


def _unpack_small_samples(packed: Packed, bits: int, shape: tuple[int, int, int]) -> Samples:
    dtype = np.uint8 if bits <= 8 else np.uint16
    rows, width, channels = shape
    flat = imagecodecs.packints_decode(bytes(packed), dtype, bits, runlen=width * channels)
    return cast("Samples", flat[: rows * width * channels].reshape(shape))


def _decode_jpeg(segment: memoryview, rows: int, layout: Layout, tables: bytes) -> Samples:
    # The TIFF states the colour transform; an Adobe marker passes it on to the JPEG decoder.
    adobe = b"\xff\xee\x00\x0eAdobe" + struct.pack(">HHHB", 100, 0, 0, int(layout.photometric == 6))
    whole = b"".join([b"\xff\xd8", adobe, tables, segment[2:]])
    with Image.open(io.BytesIO(whole), formats=["JPEG"]) as image:
        if image.width != layout.segment_width or not rows <= image.height <= max(rows, layout.segment_height):
            raise UnreadableImageError("a strip or tile of the TIFF has the wrong size. Export it again.")
        samples = np.asarray(image)
    samples = samples[:rows].reshape(rows, layout.segment_width, -1)
    if samples.shape[2] != _channels(layout) or layout.photometric == 5:
        raise UnreadableImageError(f"the TIFF contains JPEG data with unexpected colours. {EXPORT_AGAIN}")
    return samples
