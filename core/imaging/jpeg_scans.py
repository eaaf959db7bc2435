"""Check that the packed data of a JPEG are whole, and that no larger picture follows.

Decoders show what there is: missing blocks are grey, and a progressive picture without its last passes is blurred.
"""

import io
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

from core.imaging.jpeg import FRAMES, START_OF_SCAN, JpegMarker, header_markers
from core.imaging.limits import UnreadableImageError

_HUFFMAN_PROGRESSIVE = 0xC2
_PROGRESSIVE = (_HUFFMAN_PROGRESSIVE, 0xCA)
_END_OF_IMAGE, _RESTART_INTERVAL = 0xD9, 0xDD
_START = b"\xff\xd8\xff"
_BLOCK = 8  # px
_COEFFICIENTS = 64  # of a block
_WHOLE_BLOCK = (0, _COEFFICIENTS - 1, 0)  # the first and the last coefficient, and the lowest bit
_MAX_MARKERS = 10_000  # after the first pass; a picture has under 100
_MAX_STARTS = 16  # of pictures that are looked at behind the first, damaged ones too; cameras add one to three
_MAX_SEGMENTS = 300  # in the header of such a picture
# A marker other than those that belong to packed data: FF00 is a byte FF, FFD0 to FFD7 restart the decoder.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
# Packed data that decode to something other than grey, whatever the tables.
_MORE_DATA = bytes((37 * n + 11) % 251 for n in range(32))


@dataclass(frozen=True, slots=True)
class _Scan:
    """One pass over the picture: its header, the blocks between two restarts (0: none), and its packed data."""

    header: bytes
    interval: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Component:
    """A channel of the frame and how much finer than the coarsest it is stored, across and down."""

    number: int
    across: int
    down: int


@dataclass(frozen=True, slots=True)
class JpegScans:
    """All passes of a JPEG; `end` is where the marker is that ends the picture, None if there is none."""

    code: int  # of the frame
    width: int
    height: int
    components: tuple[_Component, ...]
    scans: tuple[_Scan, ...]
    end: int | None

    @property
    def progressive(self) -> bool:
        """Whether the picture is stored in passes, from coarse to fine."""
        return self.code in _PROGRESSIVE


def read_scans(data: bytes) -> JpegScans | None:
    """Find the passes of a JPEG; None if its header is damaged."""
    return _read_scans(data, list(header_markers(data)))


def _read_scans(data: bytes, header: Sequence[JpegMarker]) -> JpegScans | None:
    frame = next((marker for marker in header if marker.code in FRAMES and len(marker.payload) >= 6), None)
    if frame is None or header[-1].code != START_OF_SCAN:
        return None
    height, width, count = struct.unpack_from(">HHB", frame.payload, 1)
    parts = [frame.payload[6 + 3 * n : 9 + 3 * n] for n in range(count)]
    components = tuple(_Component(part[0], part[1] >> 4, part[1] & 15) for part in parts if len(part) == 3)
    found = list(_find_scans(data, header))
    end = found[-1].end if found else None
    whole = end is not None and data[end + 1 : end + 2] == bytes([_END_OF_IMAGE])
    return JpegScans(frame.code, width, height, components, tuple(found), end if whole else None)


def _find_scans(data: bytes, header: Sequence[JpegMarker]) -> Iterator[_Scan]:
    """Yield the passes up to the end of the picture, or of the file."""
    interval = next((_read_interval(marker.payload) for marker in header if marker.code == _RESTART_INTERVAL), 0)
    scan, start = header[-1].payload, header[-1].end
    at = start
    for _ in range(_MAX_MARKERS):
        found = _MARKER.search(data, at)
        if found is None:
            yield _Scan(scan, interval, start, len(data))
            return
        code, at = data[found.start() + 1], found.end()
        if scan:
            yield _Scan(scan, interval, start, found.start())
            scan = b""
        if code == _END_OF_IMAGE or len(data) < at + 2:
            return
        payload = data[at + 2 : at + struct.unpack_from(">H", data, at)[0]]
        at += 2 + len(payload)
        if code == _RESTART_INTERVAL:
            interval = _read_interval(payload)
        if code == START_OF_SCAN:
            scan, start = payload, at


def _read_interval(payload: bytes) -> int:
    return int.from_bytes(payload[:2], "big")


def check_data(data: bytes, scans: JpegScans | None, image: Image.Image) -> None:
    """Refuse a JPEG that lacks a part of its data; `scans` are its passes, and `image` is what was decoded from them.

    Raises:
        UnreadableImageError: If the last blocks, a part between two restarts, or passes are missing.
    """
    if scans is None:
        return
    if not _has_all_passes(scans):
        lost = "its last passes, so it is blurred" if scans.progressive else "one of its channels"
        raise UnreadableImageError(f"the JPEG lacks {lost}. Export it again.")
    if any(_lacks_restarts(data, scans, scan) for scan in scans.scans):
        raise UnreadableImageError("a part of the JPEG, between two restart markers, is missing. Export it again.")
    if _may_lack_blocks(image, scans) and not _is_whole(data, image, scans):
        raise UnreadableImageError("the last part of the JPEG is missing. Export it again.")


def _has_all_passes(scans: JpegScans) -> bool:
    """Return whether every coefficient of every channel has been given to its last bit (ISO/IEC 10918-1, G.1.2)."""
    known: dict[int, list[int | None]] = {part.number: [None] * _COEFFICIENTS for part in scans.components}
    for scan in scans.scans:
        count = scan.header[0] if scan.header else 0
        if len(scan.header) < 4 + 2 * count:
            return False
        # Decoders ignore these numbers in pictures that are not progressive, and some programs leave them 0.
        first, last, position = scan.header[1 + 2 * count : 4 + 2 * count] if scans.progressive else _WHOLE_BLOCK
        for number in scan.header[1 : 1 + 2 * count : 2]:
            for coefficient in range(first, min(last, _COEFFICIENTS - 1) + 1):
                if number in known:
                    known[number][coefficient] = position & 15
    return all(bit == 0 for row in known.values() for bit in row)


def _lacks_restarts(data: bytes, scans: JpegScans, scan: _Scan) -> bool:
    """Return whether a pass has other restart markers than its size needs, or two with nothing between them."""
    if not scan.interval:
        return False
    found = [marker.start() for marker in _RESTART.finditer(data, scan.start, scan.end)]
    needed = -(-_units(scans, scan) // scan.interval) - 1
    numbered = all(data[at + 1] == 0xD0 + n % 8 for n, at in enumerate(found))
    empty = any(at - before <= 2 for before, at in zip([scan.start - 2, *found], found, strict=False))
    # Some cameras write one more behind the last block.
    return not numbered or empty or not needed <= len(found) <= needed + 1


def _units(scans: JpegScans, scan: _Scan) -> int:
    """Return the number of units of a pass: blocks of one channel, or groups of blocks of several (A.2)."""
    chosen = [part for part in scans.components if part.number in scan.header[1 : 1 + 2 * scan.header[0] : 2]]
    most_across = max((part.across for part in scans.components), default=1)
    most_down = max((part.down for part in scans.components), default=1)
    if len(chosen) != 1:
        return -(-scans.width // (_BLOCK * most_across)) * -(-scans.height // (_BLOCK * most_down))
    width, height = -(-scans.width * chosen[0].across // most_across), -(-scans.height * chosen[0].down // most_down)
    return -(-width // _BLOCK) * -(-height // _BLOCK)


def _may_lack_blocks(image: Image.Image, scans: JpegScans) -> bool:
    """Return whether the last block is mid-grey, or blocks may be missing where nothing so simple shows it."""
    width, height = image.size
    corner = np.asarray(image.crop((width - _BLOCK, height - _BLOCK, width, height)))
    grey = bool(np.isin(corner[..., :3], (127, 128)).all())
    return grey or scans.code == _HUFFMAN_PROGRESSIVE or any(scan.interval for scan in scans.scans)


def _is_whole(data: bytes, image: Image.Image, scans: JpegScans) -> bool:
    """Return whether more data change nothing: after missing blocks, they are taken for those blocks.

    A grey margin looks like missing blocks, but its blocks are in the data.
    """
    if scans.end is None:
        return False
    restarts = [found.start() for scan in scans.scans for found in _RESTART.finditer(data, scan.start, scan.end)]
    places = [0, *restarts, scans.end]
    parts = [data[start:end] for start, end in pairwise(places)]
    longer = b"".join([part + _MORE_DATA for part in parts]) + data[scans.end :]
    with Image.open(io.BytesIO(longer), formats=["JPEG"]) as probe:
        return np.array_equal(np.asarray(probe), np.asarray(image))


def check_further_pictures(data: bytes, first: JpegScans | None) -> int:
    """Return how many pictures follow the first one in the file; cameras add previews and other exposures.

    Raises:
        UnreadableImageError: If one of them is larger than the first: that is the picture, and the first a preview.
    """
    at, number = first.end if first else None, 0
    for _ in range(_MAX_STARTS):
        if first is None or at is None or (at := data.find(_START, at)) < 0:
            break
        further = _read_scans(data, list(header_markers(data, at + 2, _MAX_SEGMENTS)))
        if further and further.width * further.height > first.width * first.height:
            raise UnreadableImageError(
                f"the JPEG begins with a picture of {first.width} x {first.height} pixels, and a larger one of "
                f"{further.width} x {further.height} follows. Export the larger one."
            )
        number += further is not None
        at = further.end if further and further.end else at + len(_START)
    return number
