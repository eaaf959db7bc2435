"""Read the size of a WebP from its header, before it is decoded."""

import struct

from core.imaging.limits import UnreadableImageError, truncation_error


def webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height from the first chunk (RFC 9649, section 2).

    Raises:
        UnreadableImageError: If the data are not those of a whole WebP.
    """
    if len(data) < 30:
        raise UnreadableImageError(f"the WebP is cut short: it ends after {len(data)} bytes. Export it again.")
    (size,) = struct.unpack_from("<I", data, 4)
    if len(data) < size + 8:
        raise truncation_error(len(data), size + 8)
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF
