"""Compare two image sets: distances between features, and each tissue statistic, by patient and against chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.statistics.predictions import Judged, auc, auc_estimate
from core.statistics.shift import DISCREPANCY, FRECHET, TOLD_APART, Distance, Distribution, Point, Shift, Side
from core.statistics.tissue_statistics import STATISTICS, Statistic

Features = NDArray[np.float64]

LEAST_PATIENTS = 4  # of each set; fewer cannot be halved or dealt to folds

_KEPT = 16  # principal components: with more than the patients can fill, the Frechet distance measures its own noise
_MOST_SPREAD = 4.0  # standard deviations
_RESAMPLES = 200
_PERMUTATIONS = 999
_HALVINGS = 20
_FOLDS = 5
_MOST_FOR_WIDTH = 2000  # images whose distances set the width of the kernel
_ROWS_AT_ONCE = 1024  # of the kernel: of 10,000 images the whole of it would take 800 MB

_BINS = 24
_MOST_POINTS = 400  # of each set on the screen
_STATISTIC_PERMUTATIONS = 999


@dataclass(frozen=True, slots=True)
class Units:
    """The units of two sets: whose and of which set each is, and to which one every image belongs."""

    persons: NDArray[np.str_]
    of_source: NDArray[np.bool_]
    place: NDArray[np.int64]  # of every image, source first

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average what was measured of every image within each unit."""
        return np.asarray(np.bincount(self.place, weights=values) / np.bincount(self.place))

    def exchanged(self, rounds: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Deal the units anew to the sets, rounds x units, as chance could have if the sets did not differ.

        A person in both sets keeps one unit in each, and chance decides which; all others are permuted among
        each other. Permuting everybody would take how much people differ for how much the sets may.
        """
        first, second = self._pairs()
        alone = np.setdiff1d(np.arange(len(self.persons)), np.concatenate([first, second]))
        drawn = np.tile(self.of_source, (rounds, 1))
        swapped = rng.random((rounds, len(first))) < 0.5
        drawn[:, first], drawn[:, second] = ~swapped, swapped
        drawn[:, alone] = rng.permuted(drawn[:, alone], axis=1)
        return drawn

    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give the source's and the target's unit of every person who has both."""
        source, target = np.flatnonzero(self.of_source), np.flatnonzero(~self.of_source)
        _, first, second = np.intersect1d(self.persons[source], self.persons[target], return_indices=True)
        return source[first], target[second]


def units_of(source: NDArray[np.str_], target: NDArray[np.str_]) -> Units:
    """Make the units of two sets from the patient of every image; the same patient_id is the same person."""
    first, first_place = np.unique(source, return_inverse=True)
    second, second_place = np.unique(target, return_inverse=True)
    of_source = np.arange(len(first) + len(second)) < len(first)
    return Units(np.concatenate([first, second]), of_source, np.concatenate([first_place, second_place + len(first)]))


class TooFewPatientsError(ValueError):
    """A set with so few patients that no distance to it means anything."""


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Features of images (n x d) beside the patient each comes from."""

    features: Features
    patient_ids: NDArray[np.str_]

    def __post_init__(self) -> None:
        if len(self.features) != len(self.patient_ids):
            raise ValueError("features and patients must be of one length")

    @property
    def patients(self) -> NDArray[np.str_]:
        """The different patients."""
        return np.unique(self.patient_ids)

    def only(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "ImageSet":
        """Keep the chosen rows; a row may be chosen more than once."""
        return ImageSet(self.features[chosen], self.patient_ids[chosen])


def distances(source: ImageSet, target: ImageSet, seed: int = 0) -> tuple[Distance, ...]:
    """Measure Frechet distance, maximum mean discrepancy and two-sample classifier between two sets.

    All are taken on the first principal components of both sets together, and everything that is resampled,
    permuted, halved or dealt to folds is a patient, never an image. A patient_id in both sets is the same person.

    Raises:
        TooFewPatientsError: If a set has too few patients for that.
    """
    for images in (source, target):
        if (found := len(images.patients)) < LEAST_PATIENTS:
            raise TooFewPatientsError(f"a set needs at least {LEAST_PATIENTS} patients to be compared, it has {found}")
    rng = np.random.default_rng(seed)
    both = np.concatenate([source.features, target.features])
    components, _ = principal_components(both, _KEPT)
    first = ImageSet(components[: len(source.features)], source.patient_ids)
    second = ImageSet(components[len(source.features) :], target.patient_ids)
    halved = [_halves(first, rng) for _ in range(_HALVINGS)]
    return (
        _frechet_distance(first, second, halved, rng),
        _discrepancy(first, second, halved, rng),
        _told_apart(first, second, halved),
    )


def principal_components(features: Features, kept: int) -> tuple[Features, tuple[float, ...]]:
    """Give standardised features in their first principal components, and each one's share of the variance.

    Features are cut off at four standard deviations, or one odd image would turn a component towards itself.
    """
    spread = features.std(axis=0)
    scaled = np.clip((features - features.mean(axis=0)) / np.where(spread > 0, spread, 1), -_MOST_SPREAD, _MOST_SPREAD)
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    kept = min(kept, len(singular), len(features) - 1)
    variance = singular**2 / max(float((singular**2).sum()), 1e-12)
    return left[:, :kept] * singular[:kept], tuple(float(share) for share in variance[:kept])


def frechet(first: Features, second: Features) -> float:
    """Give the Frechet distance of two Gaussians fitted to the features (Dowson and Landau, 1982)."""
    means = first.mean(axis=0) - second.mean(axis=0)
    one, other = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (first, second))
    # The trace of the root of a product of covariances is the sum of the roots of its eigenvalues, all real.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(one @ other).real, 0))
    return float(means @ means + np.trace(one + other) - 2 * roots.sum())


def discrepancy(source: ImageSet, target: ImageSet, permutations: int = 0, seed: int = 0) -> tuple[float, float]:
    """Give the squared maximum mean discrepancy and the share of permutations in which it is at least as large.

    The unbiased form (Gretton et al., JMLR 2012) leaves out pairs of an image with itself. Here all pairs of one
    person are left out, for the same reason: alike because of whose they are, they tell nothing about the sets.
    """
    units = units_of(source.patient_ids, target.patient_ids)
    likeness = _likeness(np.concatenate([source.features, target.features]), units.place, seed)
    images = np.bincount(units.place).astype(np.float64)
    strangers = units.persons[:, None] != units.persons
    likeness, pairs = likeness * strangers, np.outer(images, images) * strangers
    drawn = units.exchanged(permutations, np.random.default_rng(seed))
    found, *permuted = (_mean_discrepancy(likeness, pairs, of_source) for of_source in (units.of_source, *drawn))
    return found, (1 + sum(other >= found for other in permuted)) / (1 + permutations)


def _mean_discrepancy(likeness: Features, pairs: Features, of_source: NDArray[np.bool_]) -> float:
    inside, outside = of_source.astype(float), (~of_source).astype(float)
    within, beyond, between = (
        (one @ likeness @ other) / max(one @ pairs @ other, 1.0)
        for one, other in ((inside, inside), (outside, outside), (inside, outside))
    )
    return float(within + beyond - 2 * between)


def _likeness(features: Features, place: NDArray[np.int64], seed: int) -> Features:
    """Sum the Gaussian kernel over the pairs of images of every two units; its width is the median distance."""
    few = np.random.default_rng(seed).permutation(len(features))[:_MOST_FOR_WIDTH]
    apart = _squared_distances(features[few], features[few])[~np.eye(len(few), dtype=bool)]
    width = max(float(np.median(apart)), 1e-12)
    member = (place == np.arange(place.max() + 1)[:, None]).astype(np.float64)
    total = np.zeros((len(member), len(member)))
    for start in range(0, len(features), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        kernel = np.exp(-_squared_distances(features[rows], features) / width)
        total += member[:, rows] @ kernel @ member.T
    return total


def _squared_distances(first: Features, second: Features) -> Features:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    return np.asarray(np.maximum(squares - 2 * first @ second.T, 0))


def _frechet_distance(
    source: ImageSet, target: ImageSet, halved: list[tuple[ImageSet, ImageSet]], rng: np.random.Generator
) -> Distance:
    value = frechet(source.features, target.features)
    units = units_of(source.patient_ids, target.patient_ids)
    drawn = np.array([frechet(*_resampled(source, target, units, rng)) for _ in range(_RESAMPLES)])
    # Patients who are drawn twice set two draws apart by themselves: taken is the spread, not the place, of the draws.
    low, high = value + np.percentile(drawn, [2.5, 97.5]) - drawn.mean()
    halves = float(np.mean([frechet(one.features, other.features) for one, other in halved]))
    return Distance(FRECHET, value, min(value, max(0.0, float(low))), max(value, float(high)), halves)


def _discrepancy(
    source: ImageSet, target: ImageSet, halved: list[tuple[ImageSet, ImageSet]], rng: np.random.Generator
) -> Distance:
    value, p = discrepancy(source, target, _PERMUTATIONS, int(rng.integers(2**32)))
    halves = [discrepancy(one, other)[0] for one, other in halved]
    return Distance(DISCREPANCY, value, None, None, float(np.mean(halves)), p)


def _told_apart(source: ImageSet, target: ImageSet, halved: list[tuple[ImageSet, ImageSet]]) -> Distance:
    """Let a classifier tell the sets apart, judged on patients it was not fitted to (Lopez-Paz and Oquab, 2017)."""
    found = auc_estimate(_classified(source, target))
    halves = [_classified(one, other) for one, other in halved[: _HALVINGS // 2]]  # ten do, and take a second
    chance = float(np.mean([auc(half.malignant, half.probabilities) for half in halves]))
    return Distance(TOLD_APART, found.value, found.low, found.high, chance)


def _classified(source: ImageSet, target: ImageSet) -> Judged:
    """Give, for every image, the probability of the target set from a classifier that never saw its person."""
    features = np.concatenate([source.features, target.features])
    persons = np.concatenate([source.patient_ids, target.patient_ids])
    of_target = np.arange(len(features)) >= len(source.features)
    probabilities = np.zeros(len(features))
    folds = StratifiedGroupKFold(min(_FOLDS, len(source.patients), len(target.patients)))
    for seen, held_out in folds.split(features, of_target, persons):
        fitted = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        fitted.fit(features[seen], of_target[seen])
        probabilities[held_out] = fitted.predict_proba(features[held_out])[:, 1]
    return Judged(of_target, probabilities, persons)


def _halves(images: ImageSet, rng: np.random.Generator) -> tuple[ImageSet, ImageSet]:
    """Deal the patients at random to two halves of equal number; each keeps all of its images."""
    names = rng.permutation(images.patients)
    chosen = np.isin(images.patient_ids, names[: len(names) // 2])
    return images.only(chosen), images.only(~chosen)


def _resampled(source: ImageSet, target: ImageSet, units: Units, rng: np.random.Generator) -> tuple[Features, Features]:
    """Draw the persons with replacement, those only in the source, only in the target and in both each among them.

    A person in both sets is drawn with all images of both.
    """
    one, other = source.patients, target.patients
    both = np.intersect1d(one, other)
    drawn = [np.array([], dtype=units.persons.dtype)]
    for group in (both, np.setdiff1d(one, both), np.setdiff1d(other, both)):
        if len(group):
            drawn.append(rng.choice(group, len(group)))
    names = np.concatenate(drawn)
    return _images_of(source, names), _images_of(target, names)


def _images_of(images: ImageSet, names: NDArray[np.str_]) -> Features:
    return images.only(np.concatenate([np.flatnonzero(images.patient_ids == name) for name in names])).features


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
    drawn = units.exchanged(_STATISTIC_PERMUTATIONS, np.random.default_rng(0))
    apart = (~drawn @ means) / (~drawn).sum(axis=1) - (drawn @ means) / drawn.sum(axis=1)
    as_far = int((np.abs(apart) >= abs(found) - 1e-12).sum())
    spread = float(means[sides].std(ddof=1)) if sides.sum() > 1 else 0.0
    return float(found) / max(spread, 1e-9), (1 + as_far) / (1 + _STATISTIC_PERMUTATIONS)
