"""Read the tags of a TIFF's first image: numbers and bytes, never beyond the end of the file."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from core.decoding.limits import UnreadableImageError, cut_short

_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # TIFF type: numpy's
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


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
    """The directory of the first image."""

    order: Literal["<", ">"]
    more_pages: bool
    _data: bytes
    _places: dict[int, tuple[int, int, int]]  # tag: type, count, offset of the values

    @classmethod
    def read(cls, data: bytes) -> "Tags":
        """Find the first directory and where each tag's values lie.

        Raises:
            UnreadableImageError: If the directory does not lie in the file.
        """
        order: Literal["<", ">"] = "<" if data[:2] == b"II" else ">"
        big = data[2:4] in (b"+\0", b"\0+")
        # BigTIFF: 8-byte offsets and counts (awaresystems.be/imaging/tiff/bigtiff.html).
        word, count_code, entry, head = ("Q", "Q", 20, 16) if big else ("I", "H", 12, 8)
        _need(data, head)
        (start,) = struct.unpack_from(order + word, data, head - struct.calcsize(word))
        _need(data, start + struct.calcsize(count_code))
        (entries,) = struct.unpack_from(order + count_code, data, start)
        first = start + struct.calcsize(count_code)
        end = first + min(entries, 1 << 16) * entry
        _need(data, end)
        places = {}
        for at in range(first, end, entry):
            tag, kind, count = struct.unpack_from(order + "HH" + word, data, at)
            value = at + entry - struct.calcsize(word)
            if _SIZES.get(kind, 1) * count > struct.calcsize(word):
                (value,) = struct.unpack_from(order + word, data, value)
            places[tag] = (kind, count, value)
        # The link to the next page may be cut off without harm to the first.
        link = data[end : end + struct.calcsize(word)]
        return cls(order, any(link), data, places)

    def numbers(self, tag: Tag) -> tuple[int, ...]:
        """All whole numbers of a tag; empty when it is absent."""
        if tag not in self._places:
            return ()
        kind, count, offset = self._places[tag]
        if kind not in _INTEGERS:
            raise UnreadableImageError(f"the TIFF is damaged: its tag {tag.value} is not a number. Export it again.")
        dtype = np.dtype(self.order + _INTEGERS[kind])
        _need(self._data, offset + count * dtype.itemsize)
        return tuple(np.frombuffer(self._data, dtype, count, offset).tolist())

    def number(self, tag: Tag, default: int | None = None) -> int:
        """First whole number of a tag; without a default the tag must be there."""
        found = self.numbers(tag)
        if found:
            return found[0]
        if default is None:
            raise UnreadableImageError(f"the TIFF is damaged: its tag {tag.value} is missing. Export it again.")
        return default

    def raw(self, tag: Tag) -> bytes:
        """Bytes of a tag; empty when it is absent."""
        if tag not in self._places:
            return b""
        kind, count, offset = self._places[tag]
        size = _SIZES.get(kind, 1) * count
        _need(self._data, offset + size)
        return self._data[offset : offset + size]


def _need(data: bytes, end: int) -> None:
    if end > len(data):
        raise cut_short(len(data), end)
