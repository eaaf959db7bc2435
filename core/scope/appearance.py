"""Measure the colours and the fine structure of an image, by which laboratories and cameras differ."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from core.results import RgbImage

_SIDE = 1024  # px; of a larger image the middle of this side is measured for structure
_SAMPLES = 60_000  # pixels measured for colour
_LEAST_DENSITY = 0.15  # in the sum of R, G and B; paler pixels are glass
_LEAST_TISSUE = 50  # pixels; below it all pixels count
_BANDS = 4  # octaves of fine structure
_FLOOR = 1e-6  # squared optical density; less than rounding to grey levels causes
_DENSITIES = -np.log((np.arange(256) + 1) / 256).astype(np.float32)

COLOURS: Final = (
    *(f"mean density of {channel}" for channel in "RGB"),
    *(f"spread of density of {channel}" for channel in "RGB"),
    *(f"correlation of {pair}" for pair in ("R and G", "R and B", "G and B")),
    *(f"share of {channel}, {percent}%" for channel in ("red", "blue") for percent in (5, 25, 50, 75, 95)),
    *(f"brightest {channel}" for channel in "RGB"),
    "tissue",
)
STRUCTURE: Final = (
    *(f"energy of octave {number}" for number in range(1, _BANDS + 1)),
    *(f"finest energy of {channel} against G" for channel in "RB"),
    *(f"finest correlation of {pair}" for pair in ("R and G", "G and B")),
    *(f"peakedness of octave {number}" for number in (1, 2)),
)


def measure_appearance(image: RgbImage) -> NDArray[np.float64]:
    """Return the measures of an image, in the order of COLOURS and STRUCTURE."""
    return np.concatenate([_measure_colours(image), _measure_structure(image)])


def _measure_colours(image: RgbImage) -> NDArray[np.float64]:
    step = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / _SAMPLES)))
    densities = _DENSITIES[image[::step, ::step].reshape(-1, 3)]
    total = densities.sum(axis=1)
    tissue = total >= _LEAST_DENSITY
    if tissue.sum() < _LEAST_TISSUE:
        tissue = np.ones_like(tissue)
    inside, total = densities[tissue].astype(np.float64), np.maximum(total[tissue], _LEAST_DENSITY)
    spread = inside.std(axis=0) + 0.01
    covariance = np.cov(inside, rowvar=False)
    correlations = [covariance[i, j] / (spread[i] * spread[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    shares = [np.percentile(inside[:, channel] / total, (5, 25, 50, 75, 95)) for channel in (0, 2)]
    return np.array(
        [
            *inside.mean(axis=0),
            *np.log(spread),
            *correlations,
            *shares[0],
            *shares[1],
            *np.percentile(densities, 1, axis=0),
            np.log(tissue.mean()),
        ]
    )


def _measure_structure(image: RgbImage) -> NDArray[np.float64]:
    top, left = (max(0, (length - _SIDE) // 2) for length in image.shape[:2])
    densities = cv2.LUT(np.ascontiguousarray(image[top : top + _SIDE, left : left + _SIDE]), _DENSITIES)
    finest = densities - cv2.GaussianBlur(densities, (0, 0), 1.0)
    energies = (finest**2).mean(axis=(0, 1)) + _FLOOR
    pairs = [float((finest[..., i] * finest[..., 1]).mean() / np.sqrt(energies[i] * energies[1])) for i in (0, 2)]
    octaves, peaks = [], []
    green = densities[..., 1]
    for number in range(_BANDS):
        blurred = cv2.GaussianBlur(green, (0, 0), 1.0)
        band = green - blurred
        energy = float((band**2).mean()) + _FLOOR
        octaves.append(np.log(energy))
        if number < len(STRUCTURE) - _BANDS - 4:
            peaks.append(np.log((float((band**4).mean()) + _FLOOR**2) / energy**2))
        green = blurred[::2, ::2] if min(blurred.shape) >= 16 else blurred
    return np.array([*octaves, *np.log(energies[[0, 2]] / energies[1]), *pairs, *peaks])
