"""Compares two measured sets of images: distances between features, and each statistic by itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from core.sets.set_distances import Features, ImageSet, distances, principal_components
from core.sets.tissue_statistics import STATISTICS, Statistic
from core.sets.units import Units, units_of
from core.shift import Distribution, Point, Shift, Side

_BINS = 24
_MOST_POINTS = 400  # of each set on the screen
_PERMUTATIONS = 999


@dataclass(frozen=True, slots=True)
class Measured:
    """One set as it was measured: the network's features (n x d) and the statistics (n x STATISTICS), by image.

    A patient_id that occurs in both of two compared sets is the same person.
    """

    name: str
    features: Features
    statistics: NDArray[np.float64]
    patient_ids: NDArray[np.str_]

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.statistics) == len(self.patient_ids):
            raise ValueError("features, statistics and patients must be of one length")


def shift_between(source: Measured, target: Measured, model: tuple[str, str]) -> Shift:
    """Compare two measured sets; `model` is the name and the version of the network behind the features.

    Raises:
        TooFewPatientsError: If a set has too few patients to be compared.
    """
    points, explained = _points(source, target)
    first, second = (ImageSet(measured.features, measured.patient_ids) for measured in (source, target))
    return Shift(
        source=source.name,
        target=target.name,
        model_name=model[0],
        model_version=model[1],
        images=(len(source.patient_ids), len(target.patient_ids)),
        patients=(len(first.patients), len(second.patients)),
        distances=distances(first, second),
        distributions=tuple(
            found
            for number, statistic in enumerate(STATISTICS)
            if (found := _distribution(statistic, source, target, number)) is not None
        ),
        points=points,
        explained=explained,
    )


def _points(source: Measured, target: Measured) -> tuple[tuple[Point, ...], tuple[float, float]]:
    components, shares = principal_components(np.concatenate([source.features, target.features]), 2)
    first: list[Side] = ["source"]
    second: list[Side] = ["target"]
    sides = first * len(source.features) + second * len(target.features)
    patients = np.concatenate([source.patient_ids, target.patient_ids])
    rng = np.random.default_rng(0)
    shown = np.concatenate([_some(np.flatnonzero(np.array(sides) == side), rng) for side in ("source", "target")])
    points = tuple(Point(float(components[i, 0]), float(components[i, 1]), sides[i], str(patients[i])) for i in shown)
    return points, (shares[0], shares[1])


def _some(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= _MOST_POINTS else np.sort(rng.choice(rows, _MOST_POINTS, replace=False))


def _distribution(statistic: Statistic, source: Measured, target: Measured, number: int) -> Distribution | None:
    """Compare one statistic; None where one of the sets has no image of which it could be measured."""
    values = [measured.statistics[:, number] for measured in (source, target)]
    measurable = [np.isfinite(found) for found in values]
    first, second = (found[kept] for found, kept in zip(values, measurable, strict=True))
    if not len(first) or not len(second):
        return None
    both = np.concatenate([first, second])
    low, high = np.percentile(both, [1, 99])
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    shares = [_density(found, edges) for found in (first, second)]
    units = units_of(source.patient_ids[measurable[0]], target.patient_ids[measurable[1]])
    return Distribution(
        statistic.name,
        statistic.unit,
        tuple(map(float, edges)),
        tuple(map(float, shares[0])),
        tuple(map(float, shares[1])),
        float(np.median(first)),
        float(np.median(second)),
        *_difference(units.means(both), units),
    )


def _density(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the share of a Gaussian kernel estimate in every bin, with the width of Silverman (1986), eq. 3.31."""
    low, high = np.percentile(values, [25, 75])
    spread = min(float(values.std()), float(high - low) / 1.34) or float(values.std())
    width = max(0.9 * spread * len(values) ** -0.2, float(edges[1] - edges[0]) / 2)
    inside = np.diff(ndtr((edges[:, None] - values) / width), axis=0).sum(axis=1)
    return np.asarray(inside / max(float(inside.sum()), 1e-12))


def _difference(means: NDArray[np.float64], units: Units) -> tuple[float, float]:
    """Give the difference of patient means in standard deviations among the source's patients, and its permuted p."""
    sides = units.of_source
    found = means[~sides].mean() - means[sides].mean()
    drawn = units.exchanged(_PERMUTATIONS, np.random.default_rng(0))
    apart = (~drawn @ means) / (~drawn).sum(axis=1) - (drawn @ means) / drawn.sum(axis=1)
    as_far = int((np.abs(apart) >= abs(found) - 1e-12).sum())
    spread = float(means[sides].std(ddof=1)) if sides.sum() > 1 else 0.0
    return float(found) / max(spread, 1e-9), (1 + as_far) / (1 + _PERMUTATIONS)
