"""Tells pictures that are the same, to the pixel or nearly, from their hashes."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.images import UnreadableImageError, decode_image

# Of the 28,680 pairs of 240 BreaKHis images, two of one patient each differ by 4 and 6 bits, all others by 16 or more.
NEAR_BITS = 6
# A perceptual hash reads a picture at 32 x 32 pixels; of anything as small as an IDC patch it would tell noise.
_SMALLEST_SIDE = 64
_BATCH = 256
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class PictureHash:
    """What two files of one picture have in common, however they are compressed.

    `pixels` is the sha256 of size and 8-bit RGB pixels, `outline` the 64-bit perceptual hash (the signs of the lowest
    frequencies, imagehash.phash); None for pictures too small for one. A turned or mirrored copy has another outline.
    """

    pixels: str
    outline: int | None


def hash_picture(path: Path) -> PictureHash:
    """Decode an image file and hash its pixels.

    Raises:
        UnreadableImageError: If it is not an image that can be read.
    """
    pixels = decode_image(path.read_bytes()).pixels
    height, width = pixels.shape[:2]
    sha256 = hashlib.sha256(f"{height} x {width}".encode() + pixels.tobytes()).hexdigest()
    if min(height, width) < _SMALLEST_SIDE:
        return PictureHash(sha256, None)
    return PictureHash(sha256, int(str(imagehash.phash(Image.fromarray(pixels))), 16))


def hash_pictures(
    paths: Sequence[Path], progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[Path, PictureHash | str]:
    """Hash many files, several at a time; an unreadable one gives the reason instead."""
    found: dict[Path, PictureHash | str] = {}
    with ThreadPoolExecutor() as pool:  # decoders leave Python's lock alone
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            found.update(zip(batch, pool.map(_hash_or_reason, batch), strict=True))
            progress(len(found), len(paths))
    return found


def _hash_or_reason(path: Path) -> PictureHash | str:
    try:
        return hash_picture(path)
    except (UnreadableImageError, OSError) as error:
        return str(error)


def near_pairs(outlines: Sequence[int], bits: int = NEAR_BITS) -> list[tuple[int, int, int]]:
    """Find the positions of all pairs that differ in at most so many of 64 bits, with that number.

    Two hashes that differ in `bits` places agree in one of `bits` + 1 bands, so only those that share a band are
    compared: not every pair of 8,000 pictures.
    """
    values = np.array(outlines, np.uint64)
    edges = np.linspace(0, 64, bits + 2).astype(int)
    found: dict[tuple[int, int], int] = {}
    for low, high in pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            _add_near(found, values, group, bits)
    return [(first, second, distance) for (first, second), distance in sorted(found.items())]


def _add_near(
    found: dict[tuple[int, int], int], values: NDArray[np.uint64], group: NDArray[np.int64], bits: int
) -> None:
    for start in range(0, len(group), _ROWS_AT_ONCE):
        rows = group[start : start + _ROWS_AT_ONCE]
        distances = np.bitwise_count(values[rows, None] ^ values[group])
        for row, column in np.argwhere(distances <= bits):
            if rows[row] < group[column]:
                found[int(rows[row]), int(group[column])] = int(distances[row, column])
