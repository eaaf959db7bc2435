"""Check PNG files before they are decoded.

Decoders fill missing data with black; these checks refuse files with missing data or too costly to decode.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError, check_size, check_work, truncation_error

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS = 100_000  # a 200 MB file in the usual 8 kB pieces has 25,000
_MAX_CHUNK_BYTES = 1 << 22  # of a chunk before the pixels; real colour profiles take under 2 MB
_PALETTE = 3  # colour type
_DENSITY_BYTES = 9
_END = b"\0\0\0\0IEND\xaeB`\x82"
_MAX_DIRECT = 201_000_000  # bytes unpacked, for the fast decoder
_MAX_UNPACKED = 401_000_000  # bytes; 100 megapixels of 8-bit RGB with transparency
_INFLATE_STEP = 1 << 20  # bytes unpacked at once while checking
_SRGB_CODES = b"\x01\x0d"  # ITU-T H.273: BT.709 primaries, sRGB transfer
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
# Left, top, column step and row step of the seven passes (PNG specification, 8.2).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# The chunks that decide the pixels. Texts, thumbnails and further frames are dropped, with any bombs in them.
_BEFORE_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"sRGB", b"iCCP", b"eXIf")


@dataclass(frozen=True, slots=True)
class CheckedPng:
    """A complete PNG, reduced to the chunks that decide its pixels, and its properties."""

    data: bytes
    bits: int
    colour_type: int
    direct: bool  # whether the fast decoder, which detects missing rows, may read it
    transparent_colour: bool
    animated: bool
    stated_bits: int | None  # bits of the largest sample (chunk sBIT), if less than `bits`
    density: bytes  # the contents of the chunk pHYs


def check_png(data: bytes, *, bounded: bool = True) -> CheckedPng:
    """Check sizes, checksums and the length of the packed pixels, and unless told otherwise the work for each byte.

    Raises:
        UnreadableImageError: If anything is missing, damaged or beyond the limits.
    """
    chunks: dict[bytes, memoryview] = {}
    pixels: list[memoryview] = []
    packed: list[memoryview] = []
    animated, stated, density = False, b"", b""
    for kind, payload, whole in _chunks(data):
        if kind == b"IDAT":
            pixels.append(payload)
            packed.append(whole)
        elif kind in _BEFORE_PIXELS:
            _check_chunk_before_pixels(kind, payload, chunks)
            chunks[kind] = whole
        elif kind == b"cICP" and bytes(payload[:2]) != _SRGB_CODES:
            raise UnreadableImageError(f"the PNG uses a colour space other than sRGB (chunk cICP). {EXPORT_AGAIN}")
        elif not kind[0] & 0x20 and kind != b"IEND":
            raise UnreadableImageError(f"the PNG needs a non-standard extension (chunk {_text(kind)}). {EXPORT_AGAIN}")
        animated |= kind == b"acTL"
        stated = bytes(payload[:4]) if kind == b"sBIT" else stated
        density = bytes(payload[:_DENSITY_BYTES]) if kind == b"pHYs" else density
    if b"IHDR" not in chunks or not pixels:
        raise UnreadableImageError("the PNG has no pixels. Export it again.")
    width, height, bits, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"][8:21])
    needed = _packed_size(width, height, bits * _CHANNELS.get(colour_type, 0), interlaced=bool(interlaced))
    if needed > _MAX_UNPACKED:
        raise UnreadableImageError(f"the PNG unpacks to {needed / 1e6:,.0f} MB, which is too large. {EXPORT_AGAIN}")
    if bounded:
        check_work(max(needed, 3 * width * height), len(data))
    # The fast decoder reads rows in order without a colour table, and takes as much memory again as the pixels.
    direct = not interlaced and colour_type != _PALETTE and needed <= _MAX_DIRECT
    if not direct:
        _check_pixels(pixels, needed)
    essential = b"".join([SIGNATURE, *chunks.values(), *packed, _END])
    stated_bits = max(stated, default=bits)
    return CheckedPng(
        essential,
        bits,
        colour_type,
        direct,
        b"tRNS" in chunks,
        animated,
        stated_bits if 8 < stated_bits < bits else None,
        density,
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Yield the type, payload and whole of every chunk, verified, up to the end chunk."""
    view, at = memoryview(data), len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            raise UnreadableImageError(
                f"the PNG is cut short: it ends after {len(data):,} bytes without an end chunk. Export it again."
            )
        (size,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 12 + size
        if end > len(data):
            raise truncation_error(len(data), end)
        if zlib.crc32(view[at + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise UnreadableImageError(
                f"the PNG is damaged: the checksum of chunk {_text(kind)} is wrong. Export it again."
            )
        yield kind, view[at + 8 : end - 4], view[at:end]
        if kind == b"IEND":
            return
        at = end
    raise UnreadableImageError(f"the PNG has more than {_MAX_CHUNKS:,} chunks. {EXPORT_AGAIN}")


def _check_chunk_before_pixels(kind: bytes, payload: memoryview, chunks: dict[bytes, memoryview]) -> None:
    if kind in chunks or (kind == b"IHDR") == bool(chunks):
        raise UnreadableImageError(f"the PNG is damaged: chunk {_text(kind)} is in the wrong place. Export it again.")
    if kind == b"IHDR":
        if len(payload) != 13:
            raise UnreadableImageError("the PNG is damaged: its header has the wrong length. Export it again.")
        check_size(*struct.unpack(">II", payload[:8]))
    if len(payload) > _MAX_CHUNK_BYTES:
        raise UnreadableImageError(
            f"chunk {_text(kind)} of the PNG is too large: {len(payload):,} bytes. {EXPORT_AGAIN}"
        )


def _text(kind: bytes) -> str:
    return repr(kind.decode("ascii", "backslashreplace"))


def _packed_size(width: int, height: int, pixel_bits: int, *, interlaced: bool) -> int:
    """Return the number of bytes of all unpacked rows, each with its filter byte."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    size = 0
    for left, top, column_step, row_step in passes:
        columns, rows = -(-(width - left) // column_step), -(-(height - top) // row_step)
        size += rows * (1 + (columns * pixel_bits + 7) // 8) if columns > 0 else 0
    return size


def _check_pixels(pieces: list[memoryview], needed: int) -> None:
    """Unpack the pixels only to count them: if some are missing, Pillow leaves their rows black."""
    unpacker, size = zlib.decompressobj(), 0
    for piece in pieces:
        rest: bytes | memoryview = piece
        while rest and not unpacker.eof and size <= needed:
            size += len(unpacker.decompress(rest, _INFLATE_STEP))
            rest = unpacker.unconsumed_tail
    while size < needed and not unpacker.eof:
        more = len(unpacker.decompress(b"", _INFLATE_STEP))
        if not more:
            break
        size += more
    if size < needed:
        raise UnreadableImageError(
            f"the PNG is incomplete: it has {size:,} of {needed:,} bytes of pixels. Export it again."
        )
