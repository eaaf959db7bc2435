"""Find the strips and tiles of a TIFF in the file, and unpack them.

Common decoders leave a strip that they cannot decode black; here every strip must unpack to at least the bytes that
its pixels take. Where the number of its bytes is missing or wrong, the end of its data is found as libtiff does: by
the size of its pixels, or by the decoder. A tile that a scanner left out of the file is the glass around the tissue.
"""

import lzma
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import imagecodecs
import numpy as np

from core.imaging.limits import EXPORT_AGAIN, UnreadableImageError, truncation_error
from core.imaging.pixels import Samples
from core.imaging.tiff_layout import DEFLATE, JPEG, JPEG_2000, LZMA, LZW, PACKBITS, PLAIN, WEBP, ZSTD, Layout
from core.imaging.tiff_tags import Tag, Tags
from core.imaging.webp import webp_size

Packed = bytes | bytearray | memoryview

_LZMA_MEMORY = 100_000_000  # bytes; the largest preset takes 65 MB
_SELF_ENDING = (DEFLATE, LZW, PACKBITS, JPEG)  # their decoders find the end of the data
_GLASS = {0: 0, 1: 255, 2: 255, 5: 0, 6: 255}  # sample of an empty slide, by photometric interpretation
_J2K_START = b"\xff\x4f\xff\x51"
_END = b"\xff\xd9"  # of JPEG and of JPEG 2000


@dataclass(frozen=True, slots=True)
class Segment:
    """The packed data of one strip or tile; None if the file leaves the tile out."""

    data: memoryview | None
    longer: bool = False  # the file does not say where it ends, so other data may follow; its decoder finds the end


def find_segments(data: bytes, tags: Tags, layout: Layout) -> tuple[Segment, ...]:
    """Find all strips or tiles of a picture in the file.

    Raises:
        UnreadableImageError: If one is empty, or extends beyond the end of the file.
    """
    # Some programs list tiles under the tags of strips, as libtiff accepts.
    offsets = (tags.numbers(Tag.TILE_OFFSETS) if layout.tiled else ()) or tags.numbers(Tag.STRIP_OFFSETS)
    counts = (tags.numbers(Tag.TILE_COUNTS) if layout.tiled else ()) or tags.numbers(Tag.STRIP_COUNTS)
    offsets, counts = offsets[: layout.segments], counts[: layout.segments]
    if len(offsets) < layout.segments:
        raise UnreadableImageError(
            f"the TIFF lists only {len(offsets):,} of {layout.segments:,} strips or tiles. Export it again."
        )
    counts += (0,) * (layout.segments - len(counts))
    following, uses = _following(offsets, len(data)), Counter(offsets)
    view = memoryview(data)
    segments = tuple(
        # A part of no bytes at the place of another one is not there: its neighbour's data are not its own.
        _find_absent(layout)
        if count == 0 and (offset == 0 or uses[offset] > 1)
        else _find(view, layout, (offset, count, following[offset]), layout.rows(index // layout.across % layout.down))
        for index, (offset, count) in enumerate(zip(offsets, counts, strict=True))
    )
    if all(segment.data is None for segment in segments):
        raise UnreadableImageError("none of the tiles of the TIFF is in the file. Export it again.")
    return segments


def _following(offsets: Sequence[int], end: int) -> dict[int, int]:
    """Return for each offset the next greater one, or the end of the file."""
    order = sorted({*offsets, end})
    return dict(zip(order, [*order[1:], end], strict=True))


def _find_absent(layout: Layout) -> Segment:
    if not layout.tiled:
        raise UnreadableImageError("a strip or tile of the TIFF is empty. Export it again.")
    if layout.photometric not in _GLASS or layout.bits != 8:
        raise UnreadableImageError(f"the TIFF leaves tiles out whose colour is unknown. {EXPORT_AGAIN}")
    return Segment(None)


def _find(view: memoryview, layout: Layout, place: tuple[int, int, int], rows: int) -> Segment:
    offset, count, following = place
    if offset < 8:
        raise UnreadableImageError("a strip or tile of the TIFF is empty. Export it again.")
    end = offset + count
    if layout.compression == PLAIN:
        needed = offset + layout.packed_bytes(rows)
        if following < needed <= len(view):
            raise UnreadableImageError("a strip or tile of the TIFF begins inside another one. Export it again.")
        # Where the next part begins where this one must end, only the number of its bytes is wrong.
        if count == 0 or end > len(view) or needed == following < len(view):
            end = needed
    elif count == 0 or end > (following if layout.compression == PACKBITS else len(view)):
        if layout.compression not in _SELF_ENDING or offset >= len(view):
            raise _wrong_count(len(view), count, end)
        return Segment(view[offset:following], longer=True)
    if end > len(view):
        raise truncation_error(len(view), end)
    return Segment(view[offset:end])


def _wrong_count(present: int, count: int, end: int) -> UnreadableImageError:
    if count:
        return UnreadableImageError(
            f"the TIFF says that a strip or tile ends at byte {end:,}, and the file has {present:,}: it is cut short, "
            "or the number is wrong. Export it again."
        )
    return UnreadableImageError("the TIFF does not say how long a strip or tile is. Export it again.")


def unpack_segment(segment: Segment, rows: int, layout: Layout) -> Samples:
    """Return the samples (rows x width x channels) of a strip or tile that is not JPEG.

    Raises:
        UnreadableImageError: If it holds fewer bytes than its pixels take.
    """
    shape = (rows, layout.segment_width, layout.channels)
    if segment.data is None:
        return glass(rows, layout)
    if layout.compression in (JPEG_2000, WEBP):
        return _decode_picture(bytes(segment.data), shape, layout)
    size = layout.packed_bytes(rows)
    packed = _unpack(segment, size, layout.compression)
    if len(packed) < size:
        raise UnreadableImageError(
            f"a strip or tile of the TIFF has only {len(packed):,} of {size:,} bytes. Export it again."
        )
    samples: Samples
    if layout.bits == 8:
        samples = np.frombuffer(packed, np.uint8, size).reshape(shape)
    elif layout.bits == 16:
        order = ">u2" if layout.big_endian else "<u2"
        samples = cast("Samples", np.frombuffer(packed, order, size // 2).reshape(shape))
    else:
        return _unpack_small_samples(packed, layout.bits, shape)
    return _undo_differences(samples) if layout.predictor == 2 else samples


def glass(rows: int, layout: Layout) -> Samples:
    """Return the samples of a tile that is not in the file: white, and opaque."""
    samples = np.full((rows, layout.segment_width, layout.channels), 255, np.uint8)
    samples[..., : layout.channels - len(layout.extra_samples)] = _GLASS[layout.photometric]
    return samples


def _undo_differences(samples: Samples) -> Samples:
    """Sum along each row, with wraparound (TIFF 6.0, section 14)."""
    native = samples.astype(samples.dtype.newbyteorder("="))
    return cast("Samples", imagecodecs.delta_decode(native, axis=1, out=native))


def _unpack(segment: Segment, size: int, compression: int) -> Packed:
    """Undo the compression, up to `size` bytes."""
    packed = segment.data or memoryview(b"")
    if compression == PLAIN:
        return packed
    if compression == DEFLATE:
        return _inflate(segment, packed, size)
    if compression == LZMA:
        return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY).decompress(packed, size)
    decode = {LZW: imagecodecs.lzw_decode, PACKBITS: imagecodecs.packbits_decode, ZSTD: imagecodecs.zstd_decode}
    return decode[compression](bytes(packed), out=bytearray(size))


def _inflate(segment: Segment, packed: memoryview, size: int) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(packed, size)
    if segment.longer and len(unpacked) == size and not unpacker.eof:
        unpacker.decompress(unpacker.unconsumed_tail, 1)
        if not unpacker.eof:  # nothing else says that the data are whole
            raise UnreadableImageError("the end of a strip or tile of the TIFF is missing. Export it again.")
    return unpacked


def _unpack_small_samples(packed: Packed, bits: int, shape: tuple[int, int, int]) -> Samples:
    dtype = np.uint8 if bits <= 8 else np.uint16
    rows, width, channels = shape
    flat = imagecodecs.packints_decode(bytes(packed), dtype, bits, runlen=width * channels)
    return cast("Samples", flat[: rows * width * channels].reshape(shape))


def _decode_picture(data: bytes, shape: tuple[int, int, int], layout: Layout) -> Samples:
    """Decode a strip or tile that is a WebP or JPEG 2000 file, after checking the size in its header."""
    rows, width, channels = shape
    stated = (*webp_size(data), channels, 8) if layout.compression == WEBP else _j2k_size(data)
    if stated != (width, rows, channels, layout.bits):
        raise UnreadableImageError("a strip or tile of the TIFF has the wrong size. Export it again.")
    decoded = (
        imagecodecs.webp_decode(data, hasalpha=channels == 4)
        if layout.compression == WEBP
        else imagecodecs.jpeg2k_decode(data)
    )
    if decoded.size != rows * width * channels or decoded.dtype.itemsize * 8 != layout.bits:
        raise UnreadableImageError(f"the TIFF contains pictures with unexpected colours. {EXPORT_AGAIN}")
    return cast("Samples", decoded.reshape(shape))


def _j2k_size(data: bytes) -> tuple[int, int, int, int]:
    """Return width, height, channels and bits of a JPEG 2000 codestream (ISO/IEC 15444-1, A.5.1)."""
    if not data.startswith(_J2K_START) or len(data) < 45 or not data.rstrip(b"\0").endswith(_END):
        raise UnreadableImageError(
            "a strip or tile of the TIFF is not a complete JPEG 2000 codestream. Export it again."
        )
    right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">6I", data, 8)
    (channels,) = struct.unpack_from(">H", data, 40)
    parts = {data[42 + 3 * n : 45 + 3 * n] for n in range(min(channels, 5))}
    if len(parts) != 1 or (part := parts.pop())[1:] != b"\x01\x01" or part[0] & 0x80:
        raise UnreadableImageError(f"the TIFF contains JPEG 2000 data with unequal or signed channels. {EXPORT_AGAIN}")
    if min(tile_width, tile_height) < 32 and (tile_width < right or tile_height < bottom):
        raise UnreadableImageError(f"the TIFF contains JPEG 2000 data in too many pieces. {EXPORT_AGAIN}")
    return right - left, bottom - top, channels, part[0] + 1
