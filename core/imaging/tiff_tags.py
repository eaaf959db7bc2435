"""Read the directories of a TIFF: one for each picture in it, with the tags that decide its pixels.

Tag numbers are those of TIFF 6.0 and its supplements; BigTIFF differs only in the width of numbers.
"""

import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError, truncation_error

_FRACTION = 5  # TIFF type: two numbers, to be divided
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}  # TIFF type: numpy type
# TIFF type: bytes
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

_MAX_DIRECTORIES = 1_000
_MAX_TAGS = 4_096  # of one directory, as in libtiff; a link to something else reads as far more
_MAX_ENTRIES = 50_000  # tags of all directories together; directories may overlap, so the file does not bound them
_MAX_NUMBERS = 1_000_000  # values of one tag: two for each strip or tile, or a colour table


class Tag(IntEnum):
    """Numbers of the tags that decide the pixels and their scale."""

    SUBFILE_TYPE = 254
    OLD_SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    DESCRIPTION = 270
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_COUNTS = 279
    LARGEST_SAMPLE = 281
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR = 284
    RESOLUTION_UNIT = 296
    PREDICTOR = 317
    COLOUR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_COUNTS = 325
    SUB_DIRECTORIES = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    PROFILE = 34675
    IMAGEJ_COUNTS = 50838
    IMAGEJ = 50839


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of one directory."""

    order: Literal["<", ">"]
    _data: bytes
    _places: dict[int, tuple[int, int, int]]  # tag: type, count, offset of the values

    def numbers(self, tag: Tag, most: int | None = None) -> tuple[int, ...]:
        """Return all integers of a tag, or the first ones; none if the tag is absent."""
        if tag not in self._places:
            return ()
        kind, count, offset = self._places[tag]
        if kind not in _INTEGERS:
            raise UnreadableImageError(f"the TIFF is damaged: its tag {tag.value} is not an integer. Export it again.")
        dtype = np.dtype(self.order + _INTEGERS[kind])
        _require(self._data, offset + count * dtype.itemsize)
        if most is None and count > _MAX_NUMBERS:
            raise UnreadableImageError(f"the TIFF has {count:,} values in its tag {tag.value}. {EXPORT_AGAIN}")
        # Pages may share their values, so that a small file would have millions of them read again and again.
        return tuple(np.frombuffer(self._data, dtype, count if most is None else min(count, most), offset).tolist())

    def number(self, tag: Tag, default: int | None = None) -> int:
        """Return the first integer of a tag; without a default the tag must be present."""
        numbers = self.numbers(tag, most=1)
        if numbers:
            return numbers[0]
        if default is None:
            raise UnreadableImageError(f"the TIFF is damaged: its tag {tag.value} is missing. Export it again.")
        return default

    def fraction(self, tag: Tag) -> float:
        """Return the first fraction of a tag as a number; nan if there is none."""
        kind, count, offset = self._places.get(tag, (0, 0, 0))
        if kind != _FRACTION or not count:
            return math.nan
        _require(self._data, offset + _SIZES[_FRACTION])
        numerator, denominator = struct.unpack_from(self.order + "II", self._data, offset)
        return numerator / denominator if denominator else math.nan

    def raw(self, tag: Tag) -> bytes:
        """Return the bytes of a tag; none if the tag is absent."""
        if tag not in self._places:
            return b""
        kind, count, offset = self._places[tag]
        size = _SIZES.get(kind, 1) * count
        _require(self._data, offset + size)
        return self._data[offset : offset + size]

    def text(self, tag: Tag) -> str:
        """Return the text of a tag, which older programs write in Latin-1; empty if the tag is absent."""
        packed = self.raw(tag).rstrip(b"\0")
        try:
            return packed.decode("utf-8")
        except UnicodeDecodeError:
            return packed.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Directories:
    """The directories of a TIFF: the chain of its pages, and those that a page keeps to itself."""

    pages: tuple[Tags, ...]
    inner: tuple[Tags, ...]  # of "SubIFDs": smaller copies of a page, or the picture of which the page is a preview
    broken: bool  # the link to a further directory leads nowhere


def read_directories(data: bytes) -> Directories:
    """Read all directories.

    Raises:
        UnreadableImageError: If the first one extends beyond the end of the file, or there are too many.
    """
    reader = _Reader(data)
    pages, broken = reader.chain()
    inner: list[Tags] = []
    for page in pages:
        try:
            inner.extend(reader.read(start)[0] for start in page.numbers(Tag.SUB_DIRECTORIES, most=_MAX_DIRECTORIES))
        except _NotADirectoryError:
            broken = True
    return Directories(tuple(pages), tuple(inner), broken)


class _NotADirectoryError(Exception):
    """There is no whole directory at an offset; `end` is where it would end."""

    def __init__(self, end: int) -> None:
        super().__init__(end)
        self.end = end


class _Reader:
    """Reads directories and counts them, because a small file may link to many."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order: Literal["<", ">"] = "<" if data[:2] == b"II" else ">"
        big = data[2:4] in (b"+\0", b"\0+")
        # BigTIFF: 8-byte offsets and counts (awaresystems.be/imaging/tiff/bigtiff.html).
        self._word, self._count, self._entry, self._header = ("Q", "Q", 20, 16) if big else ("I", "H", 12, 8)
        self._size = struct.calcsize(self._word)
        self._entries = 0
        self._seen: set[int] = set()

    def chain(self) -> tuple[list[Tags], bool]:
        """Read the chain of pages; return it and whether its last link leads nowhere."""
        _require(self._data, self._header)
        (start,) = struct.unpack_from(self._order + self._word, self._data, self._header - self._size)
        pages: list[Tags] = []
        while start:
            try:
                tags, start = self.read(start)
            except _NotADirectoryError as error:
                if not pages:
                    raise truncation_error(len(self._data), error.end) from error
                return pages, True
            pages.append(tags)
        if not pages:
            raise UnreadableImageError("the TIFF has no pages. Export it again.")
        return pages, False

    def read(self, start: int) -> tuple[Tags, int]:
        """Read one directory; return it and where the next one is, 0 for none."""
        first = start + struct.calcsize(self._count)
        if first > len(self._data):
            raise _NotADirectoryError(first)
        (entries,) = struct.unpack_from(self._order + self._count, self._data, start)
        end = first + entries * self._entry
        if start in self._seen or end > len(self._data) or entries > _MAX_TAGS:
            raise _NotADirectoryError(end)
        self._seen.add(start)
        self._entries += entries
        if len(self._seen) > _MAX_DIRECTORIES or self._entries > _MAX_ENTRIES:
            raise UnreadableImageError(f"the TIFF has more than {_MAX_DIRECTORIES:,} pages. Export a single picture.")
        places = {}
        for at in range(first, end, self._entry):
            tag, kind, count = struct.unpack_from(self._order + "HH" + self._word, self._data, at)
            value = at + self._entry - self._size
            if _SIZES.get(kind, 1) * count > self._size:
                (value,) = struct.unpack_from(self._order + self._word, self._data, value)
            places[tag] = (kind, count, value)
        # If the link to the next page is cut off, this page is still complete.
        link = self._data[end : end + self._size].ljust(self._size, b"\0")
        (following,) = struct.unpack(self._order + self._word, link)
        return Tags(self._order, self._data, places), following


def _require(data: bytes, end: int) -> None:
    if end > len(data):
        raise truncation_error(len(data), end)
