"""Measure heat maps: whether the regions that they mark count, and whether they depend on what was learned.

Deletion and insertion are those of Petsiuk et al. ("RISE", BMVC 2018), but both with a blurred copy of the image: a
grey hole in tissue would be something that no network has seen. The check with weights drawn anew is that of Adebayo
et al. ("Sanity checks for saliency maps", NeurIPS 2018).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from core.imaging.working_scale import resample_map
from core.results import Heatmap, RgbImage
from core.statistics.map_trust import CurveTest, RedrawnWeights
from core.statistics.resampling import Interval, Weights, bca_intervals, divide

STEPS = 8  # of a curve, each an eighth of the image
RANDOM_MAPS = 4  # for each image
_BLUR = 1 / 8  # of the side of a patch, as the standard deviation: no nucleus is left at any usual magnification
_COMPARED_SIDE = 64  # px, the longer side of maps whose ranks are compared; finer than any map of a patch network

Curve = NDArray[np.float64]  # at STEPS + 1 shares of the image, from 0 to 1
Score = Callable[[RgbImage], float]  # the probability of the label that the network gives the whole image


@dataclass(frozen=True, slots=True, eq=False)
class MapCurves:
    """The curves of one image; the random ones are means over its random maps."""

    deletion: Curve
    insertion: Curve
    random_deletion: Curve
    random_insertion: Curve


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredMap:
    """All that was measured on the map of one image; correlations of redrawn weights are without their sign."""

    patient_id: str
    curves: MapCurves
    head: float
    all_weights: float
    chance: float
    branches: tuple[float, ...] = ()


def blur_away(image: RgbImage, patch_side: int) -> RgbImage:
    """Return a copy in which only colours and coarse shades are left; the patch is in pixels of this image."""
    blurred = cv2.GaussianBlur(image, (0, 0), max(1.0, patch_side * _BLUR), borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.uint8)


def random_like(heatmap: Heatmap, rng: np.random.Generator) -> Heatmap:
    """Return a random map that is as smooth: with the same power at every frequency, and the phases of noise.

    This is the surrogate of Theiler et al. (Physica D, 1992), in two dimensions.
    """
    noise = np.fft.rfft2(rng.normal(size=heatmap.shape))
    power = np.abs(np.fft.rfft2(heatmap.astype(np.float64)))
    return np.fft.irfft2(power * np.exp(1j * np.angle(noise)), s=heatmap.shape).astype(np.float32)


def is_flat(heatmap: Heatmap) -> bool:
    """Return whether a map marks nothing."""
    return not float(np.ptp(heatmap)) > 0


def measure_curves(
    image: RgbImage, blurred: RgbImage, heatmap: Heatmap, random_maps: Sequence[Heatmap], score: Score
) -> MapCurves:
    """Replace the regions of an image by those of its blurred copy in the order of its map, and the other way round.

    Args:
        image: The image.
        blurred: What replaces its regions.
        heatmap: Its map, highest where most speaks for the label whose probability is scored.
        random_maps: Maps of the same size to compare with; at least one.
        score: The probability of the label.
    """
    ends = score(image), score(blurred)
    deletion = _curve(image, blurred, heatmap, ends, score)
    insertion = _curve(blurred, image, heatmap, ends[::-1], score)
    # Each random map is as likely as its opposite, and what remains when the one's strongest regions are replaced is
    # what the other puts back first: its curve backwards is one of insertion, and need not be computed.
    random = np.mean([_curve(image, blurred, one, ends, score) for one in random_maps], axis=0)
    return MapCurves(deletion, insertion, random, random[::-1])


def _curve(start: RgbImage, other: RgbImage, heatmap: Heatmap, ends: tuple[float, float], score: Score) -> Curve:
    inner = [score(mixed) for mixed in _replace_in_order(start, other, heatmap)]
    return np.array([ends[0], *inner, ends[1]])


def _replace_in_order(start: RgbImage, other: RgbImage, heatmap: Heatmap) -> Iterator[RgbImage]:
    """Yield the image with the first shares of its pixels replaced, the highest of the map first; not the two ends."""
    order = np.argsort(-heatmap, axis=None, kind="stable")
    for step in range(1, STEPS):
        replaced = np.zeros(heatmap.size, np.bool_)
        replaced[order[: round(heatmap.size * step / STEPS)]] = True
        yield np.where(replaced.reshape(heatmap.shape)[..., None], other, start)


def area_under(curve: Curve) -> float:
    """Return the area under a curve, which is the mean probability, by the trapezoidal rule."""
    return float((curve[:-1] + curve[1:]).mean() / 2)


def shrink_to_compare(heatmap: Heatmap) -> Heatmap:
    """Return a map in the size in which the ranks of maps are compared."""
    height, width = heatmap.shape
    factor = min(1.0, _COMPARED_SIDE / max(height, width))
    return resample_map(heatmap, max(1, round(height * factor)), max(1, round(width * factor)))


def rank_correlation(first: Heatmap, second: Heatmap) -> float:
    """Return Spearman's rank correlation of two maps of the same size; 0 if one of them is flat."""
    if is_flat(first) or is_flat(second):
        return 0.0
    return float(spearmanr(first, second, axis=None).statistic)


@dataclass(frozen=True, slots=True)
class MapFigures:
    """The means over all images, with intervals by patient."""

    deletion: CurveTest
    insertion: CurveTest
    redrawn: RedrawnWeights
    branches: tuple[Interval, ...]  # of every two, in order


def summarise_maps(measured: Sequence[MeasuredMap]) -> MapFigures:
    """Return the means of what was measured on images; patients are resampled, with all their images."""
    areas = np.array([_areas(one.curves) for one in measured])
    rest = np.array([(one.head, one.all_weights, one.chance, *one.branches) for one in measured])
    figures = _means(np.hstack([areas, rest]), [one.patient_id for one in measured])
    curves = [one.curves for one in measured]
    return MapFigures(
        CurveTest(
            _mean_curve([one.deletion for one in curves]),
            _mean_curve([one.random_deletion for one in curves]),
            *figures[0:3],
        ),
        CurveTest(
            _mean_curve([one.insertion for one in curves]),
            _mean_curve([one.random_insertion for one in curves]),
            *figures[3:6],
        ),
        RedrawnWeights(*figures[6:9]),
        figures[9:],
    )


def _areas(curves: MapCurves) -> tuple[float, ...]:
    """Return map, random and advantage: of deletion, where less is better, then of insertion, where more is."""
    deletion, random_deletion = area_under(curves.deletion), area_under(curves.random_deletion)
    insertion, random_insertion = area_under(curves.insertion), area_under(curves.random_insertion)
    return (
        *(deletion, random_deletion, random_deletion - deletion),
        *(insertion, random_insertion, insertion - random_insertion),
    )


def _mean_curve(curves: Sequence[Curve]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.mean(curves, axis=0))


def _means(values: NDArray[np.float64], patient_ids: Sequence[str]) -> tuple[Interval, ...]:
    """Return the mean of every column over images with its interval by patient."""
    place = np.unique(patient_ids, return_inverse=True)[1]
    images = np.bincount(place).astype(np.float64)
    sums = np.zeros((len(images), values.shape[1]))
    np.add.at(sums, place, values)

    def measure(weights: Weights) -> NDArray[np.float64]:
        return divide(weights @ sums, (weights @ images)[:, None])

    return bca_intervals(measure, np.zeros(len(images), np.int64))
