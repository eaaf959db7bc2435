"""Check the header of a JPEG before a decoder sees it: size, and what decoding would cost."""

import struct

from core.decoding.limits import EXPORT_AGAIN, UnreadableImageError, check_size

_MAX_SEGMENTS = 10_000  # of the header; a profile in pieces and a long metadata block take under 300
_MAX_PROGRESSIVE_PIXELS = 50_000_000  # their coefficients are all held at once, 6 bytes a pixel
_MAX_SCAN_PIXELS = 500_000_000  # pixels times passes; each pass visits every pixel
_START_OF_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = (0xC0, 0xC1)


def check_jpeg(data: bytes) -> None:
    """Walk the header up to the first scan.

    Raises:
        UnreadableImageError: If it is damaged, beyond the limits, or built to take minutes.
    """
    at, frame, pixels = 2, 0, 0
    for _ in range(_MAX_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker == _START_OF_SCAN and frame:
            _check_cost(data, frame, pixels)
            return
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            check_size(width, height)
            frame, pixels = marker, width * height
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise UnreadableImageError("the header of the JPEG is damaged or cut short. Export it again.")


def _check_cost(data: bytes, frame: int, pixels: int) -> None:
    scans = data.count(b"\xff\xda")
    if frame in _SEQUENTIAL and scans <= 4:
        return
    if pixels > _MAX_PROGRESSIVE_PIXELS or pixels * scans > _MAX_SCAN_PIXELS:
        raise UnreadableImageError(f"the JPEG builds its picture up in {scans} passes. {EXPORT_AGAIN}")
