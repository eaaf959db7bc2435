"""Check JPEG files before they are decoded, and read what their markers say of their colours.

These checks refuse damaged headers and files that are too costly to decode; `jpeg_scans` refuses files with missing
data. Marker codes are those of ISO/IEC 10918-1, table B.1.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError, check_size, check_work

START_OF_SCAN = 0xDA
FRAMES = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}
JFIF, ADOBE = 0xE0, 0xEE

_MAX_SEGMENTS = 10_000  # in the header; a split profile and long metadata take under 300
_MAX_PROGRESSIVE_PIXELS = 50_000_000  # all their coefficients are held in memory, 6 bytes per pixel
_MAX_SCAN_PIXELS = 500_000_000  # pixels times passes; each pass visits every pixel
_SEQUENTIAL = (0xC0, 0xC1)
_NOT_READ = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless coding"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical coding"),
    0xF7: "JPEG-LS coding",
}
_USUAL_PASSES = 12  # of a progressive file; libjpeg writes 10
_START, _END_OF_IMAGE = 0xD8, 0xD9
_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))


@dataclass(frozen=True, slots=True)
class JpegMarker:
    """One marker of a header with its contents."""

    code: int
    start: int  # of the marker itself
    end: int
    payload: bytes


class Colours(Enum):
    """What three channels are."""

    RGB = "RGB"
    YCBCR = "YCbCr"


@dataclass(frozen=True, slots=True)
class Statement:
    """What a JPEG says of its three channels; `sure` if by a marker made for it, else by custom."""

    colours: Colours | None
    sure: bool = False


def header_markers(data: bytes, at: int = 2, most: int = _MAX_SEGMENTS) -> Iterator[JpegMarker]:
    """Yield the markers up to the start of the first scan, and end early where the header is damaged.

    Bytes between the markers are skipped, as decoders do. `most` bounds how many markers are looked at.
    """
    for _ in range(most):
        start = data.find(b"\xff", at)
        if start < 0:
            return
        at = start + 1
        while data[at : at + 1] == b"\xff":  # padding
            at += 1
        if at + 3 > len(data):
            return
        code = data[at]
        if code == 0 or code in _WITHOUT_LENGTH:
            at += 1
            continue
        if code in (_START, _END_OF_IMAGE):
            return
        (length,) = struct.unpack_from(">H", data, at + 1)
        end = at + 1 + length
        if length < 2 or end > len(data):
            return
        yield JpegMarker(code, at - 1, end, data[at + 3 : end])
        if code == START_OF_SCAN:
            return
        at = end


def check_jpeg(data: bytes) -> None:
    """Check the header up to the first scan.

    Raises:
        UnreadableImageError: If it is damaged, beyond the limits, or would take too long to decode.
    """
    frame, pixels = 0, 0
    for marker in header_markers(data):
        if marker.code == START_OF_SCAN and frame:
            _check_cost(data, frame, pixels)
            return
        if marker.code in FRAMES and len(marker.payload) >= 6:
            height, width = struct.unpack_from(">HH", marker.payload, 1)
            check_size(width, height)
            if marker.code in _NOT_READ or marker.payload[0] != 8:
                method = _NOT_READ.get(marker.code, f"{marker.payload[0]} bits instead of 8")
                raise UnreadableImageError(f"the JPEG uses {method}, which is not supported. {EXPORT_AGAIN}")
            frame, pixels = marker.code, width * height
    raise UnreadableImageError("the header of the JPEG is damaged or incomplete. Export it again.")


def _check_cost(data: bytes, frame: int, pixels: int) -> None:
    scans = data.count(b"\xff\xda")
    if frame in _SEQUENTIAL and scans <= 4:
        check_work(3 * pixels, len(data))
        return
    if pixels > _MAX_PROGRESSIVE_PIXELS or pixels * scans > _MAX_SCAN_PIXELS:
        raise UnreadableImageError(
            f"the JPEG is too costly to decode: it is progressive, with {scans} passes. {EXPORT_AGAIN}"
        )
    check_work(3 * pixels * max(1, -(-scans // _USUAL_PASSES)), len(data))


def read_statement(markers: list[JpegMarker]) -> Statement:
    """Return what the markers of a JPEG with three channels say of its colours, by the rules of libjpeg."""
    frame = next((m.payload for m in markers if m.code in FRAMES), b"")
    if len(frame) < 15 or frame[5] != 3:
        return Statement(None)
    names, sampling = frame[6:15:3], frame[7:15:3]
    adobe = next((m.payload for m in markers if m.code == ADOBE and m.payload[:5] == b"Adobe"), b"")
    subsampled = len(set(sampling)) > 1  # only the coarser channels of YCbCr are stored smaller
    if subsampled or any(m.code == JFIF and m.payload[:5] == b"JFIF\0" for m in markers):
        return Statement(Colours.YCBCR, sure=True)
    if len(adobe) >= 12:
        return Statement(Colours.YCBCR if adobe[11] else Colours.RGB, sure=True)
    if names == b"RGB":
        return Statement(Colours.RGB, sure=True)
    return Statement(Colours.YCBCR if names == b"\1\2\3" else None)
