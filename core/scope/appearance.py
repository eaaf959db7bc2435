"""Measure the colours and the sharpness of an image, by which stains, laboratories and cameras differ."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from core.imaging.quality import stain_cast
from core.results import RgbImage

_SIDE = 1024  # px; of a larger image the middle of this side is measured for sharpness
_SAMPLES = 20_000  # pixels measured for colour
_LEAST_DENSITY = 0.15  # in the sum of R, G and B; paler pixels are glass
_LEAST_TISSUE = 50  # pixels; below it all pixels count
_FLOOR = 1e-6  # squared optical density; less than rounding to grey levels causes
_DENSITIES = -np.log((np.arange(256) + 1) / 256).astype(np.float32)

# What is said of an image whose measure is far from those of the training images: below them, and above them.
MEASURES: Final = (
    ("its dark parts are less red than H&E-stained nuclei", "its dark parts are redder than H&E-stained nuclei"),
    ("its dark parts are less blue than H&E-stained nuclei", "its dark parts are bluer than H&E-stained nuclei"),
    ("it is paler than the training images", "it is darker than the training images"),
    ("its contrast is lower than in the training images", "its contrast is higher than in the training images"),
    ("its stains absorb less red light", "its stains absorb more red light"),
    ("its stains absorb less blue light", "its stains absorb more blue light"),
    ("it is less sharp than the training images", "it is sharper or noisier than the training images"),
    ("its edges are less sharp than in the training images", "its edges are sharper than in the training images"),
)


def measure_appearance(image: RgbImage) -> NDArray[np.float64]:
    """Return the measures of an image, in the order of MEASURES."""
    step = max(1, int(np.sqrt(image.shape[0] * image.shape[1] / _SAMPLES)))
    densities = _DENSITIES[image[::step, ::step].reshape(-1, 3)]
    total = densities.sum(axis=1)
    tissue = total >= _LEAST_DENSITY
    if tissue.sum() < _LEAST_TISSUE:
        tissue = np.ones_like(tissue)
    total = np.maximum(total[tissue], _LEAST_DENSITY)
    shares = densities[tissue] / total[:, None]
    return np.array(
        [
            *stain_cast(image),
            np.log(total.mean()),
            np.log(total.std() + 0.01),
            np.median(shares[:, 0]),
            np.median(shares[:, 2]),
            *_measure_sharpness(image),
        ],
        np.float64,
    )


def _measure_sharpness(image: RgbImage) -> tuple[float, float]:
    """Return the logarithms of the energies of the two finest octaves of the optical density of green."""
    top, left = (max(0, (length - _SIDE) // 2) for length in image.shape[:2])
    green = _DENSITIES[image[top : top + _SIDE, left : left + _SIDE, 1]]
    blurred = cv2.GaussianBlur(green, (0, 0), 1.0)
    coarser = cv2.GaussianBlur(blurred, (0, 0), np.sqrt(3.0))
    finest, second = (float(((one - other) ** 2).mean()) for one, other in ((green, blurred), (blurred, coarser)))
    return float(np.log(finest + _FLOOR)), float(np.log(second + _FLOOR))
