"""Measure how an image was recorded: what camera, sharpening, compression and resizing leave in its finest detail.

The finest detail of an image is mostly noise. How that noise hangs together, between neighbouring pixels and between
colours, shows the camera and what was done to the image afterwards, and hardly depends on the tissue (Swaminathan, Wu
and Liu, "Nonintrusive component forensics of visual sensors using output images", 2007).
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from core.results import RgbImage

LEAST_SIDE = 200  # px; the noise of a smaller image is too little to measure
_SIDE = 1024  # px; of a larger image the middle of this side is measured
_MOST_DETAIL = 20.0  # grey levels; edges of tissue count no more than this
_FLOOR = 1e-3  # grey levels, squared; keeps quotients of an even image finite
_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (0, 3), (3, 0))  # rows and columns between two pixels
_PAIRS = ((0, 1), (1, 2), (0, 2))  # of colours
_GRID = 8  # px, of the blocks of JPEG

RECORDING_MEASURES = 3 * len(_STEPS) + len(_PAIRS) + 3


def measure_recording(image: RgbImage) -> NDArray[np.float64] | None:
    """Return the measures of an image as it was recorded, not resampled; None if it is too small.

    They are the correlations of the finest detail of each colour with itself some pixels further, those between two
    colours, the strength of red and of blue against green, and how much stronger edges are at every eighth column.
    """
    if min(image.shape[:2]) < LEAST_SIDE:
        return None
    top, left = (max(0, (length - _SIDE) // 2) for length in image.shape[:2])
    pixels = image[top : top + _SIDE, left : left + _SIDE].astype(np.float32)
    detail = np.clip(pixels - cv2.GaussianBlur(pixels, (0, 0), 1.0), -_MOST_DETAIL, _MOST_DETAIL)
    colours = [np.ascontiguousarray(detail[..., colour]) for colour in range(3)]
    strengths = [_mean_product(colour, colour) + _FLOOR for colour in colours]
    with_itself = [
        _mean_product(*_shift(colour, step)) / strength
        for colour, strength in zip(colours, strengths, strict=True)
        for step in _STEPS
    ]
    between = [
        _mean_product(colours[one], colours[other]) / np.sqrt(strengths[one] * strengths[other])
        for one, other in _PAIRS
    ]
    red, green, blue = strengths
    balance = [np.log(red / green) / 2, np.log(blue / green) / 2]
    return np.array([*with_itself, *between, *balance, _measure_grid(pixels[..., 1])], np.float64)


def _mean_product(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.einsum("ij,ij->", one, other)) / one.size


def _shift(detail: NDArray[np.float32], step: tuple[int, int]) -> Iterator[NDArray[np.float32]]:
    """Yield the pixels that have another one this step further, and those others."""
    down, across = step
    height, width = detail.shape
    yield detail[: height - down, max(0, -across) : width - max(0, across)]
    yield detail[down:, max(0, across) : width - max(0, -across)]


def _measure_grid(green: NDArray[np.float32]) -> float:
    """Return the logarithm of how much stronger edges are at the strongest of eight columns than usual."""
    edges = np.abs(np.diff(green, axis=1)).mean(axis=0)
    columns = np.array([edges[start::_GRID].mean() for start in range(_GRID)]) + _FLOOR
    return float(np.log(columns.max() / np.median(columns)))
