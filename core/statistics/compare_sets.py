"""Compare two image sets by features and tissue statistics; patients are the unit, and chance the reference."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.statistics.predictions import BinaryPredictions, auc, auc_estimate, unify_patient_ids
from core.statistics.shift import DISCREPANCY, FRECHET, TWO_SAMPLE_AUC, Distance, Distribution, Point, Shift, Side
from core.statistics.tissue_statistics import STATISTICS, Statistic

Features = NDArray[np.float64]

LEAST_PATIENTS = 4  # in each set; fewer cannot be halved or split into folds

_COMPONENTS = 16  # principal components; with more than the patients can fill, the Frechet distance measures noise
_CLIP_AT = 4.0  # standard deviations
_RESAMPLES = 200
_PERMUTATIONS = 999
_HALVINGS = 20
_FOLDS = 5
_MOST_FOR_WIDTH = 2000  # images whose median distance sets the kernel width
_ROWS_AT_ONCE = 1024  # of the kernel; for 10,000 images the whole kernel would take 800 MB
_BINS = 24
_MOST_POINTS = 400  # drawn of each set
_STATISTIC_PERMUTATIONS = 999


class TooFewPatientsError(ValueError):
    """A set has too few patients for a meaningful distance."""


@dataclass(frozen=True, slots=True)
class MeasuredSet:
    """The network's features (n x d) and the tissue statistics (n x STATISTICS) of the images of one set.

    A patient_id that occurs in both of two compared sets is the same person.
    """

    name: str
    features: Features
    statistics: NDArray[np.float64]
    patient_ids: NDArray[np.str_]

    def __post_init__(self) -> None:
        if not len(self.features) == len(self.statistics) == len(self.patient_ids):
            raise ValueError("features, statistics and patients must be of one length")
        object.__setattr__(self, "patient_ids", unify_patient_ids(self.patient_ids))


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Features of images (n x d) and the patient of each image."""

    features: Features
    patient_ids: NDArray[np.str_]

    def __post_init__(self) -> None:
        if len(self.features) != len(self.patient_ids):
            raise ValueError("features and patients must be of one length")

    @property
    def patients(self) -> NDArray[np.str_]:
        """The distinct patients, sorted."""
        return np.unique(self.patient_ids)

    def only(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "ImageSet":
        """Return the chosen rows; a row may be chosen more than once."""
        return ImageSet(self.features[chosen], self.patient_ids[chosen])


@dataclass(frozen=True, slots=True)
class Units:
    """The units of two sets, one for each patient in each set, and the unit of every image."""

    persons: NDArray[np.str_]
    of_source: NDArray[np.bool_]
    place: NDArray[np.int64]  # of every image, source first

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average the values of all images within each unit."""
        return np.asarray(np.bincount(self.place, weights=values) / np.bincount(self.place))

    def exchanged(self, rounds: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Assign the units to the sets at random, rounds x units, as chance could if the sets did not differ.

        A person in both sets keeps one unit in each, and chance decides which; all others are permuted among
        each other. Permuting everybody would mistake differences between people for differences between sets.
        """
        first, second = self._pairs()
        alone = np.setdiff1d(np.arange(len(self.persons)), np.concatenate([first, second]))
        of_source = np.tile(self.of_source, (rounds, 1))
        swapped = rng.random((rounds, len(first))) < 0.5
        of_source[:, first], of_source[:, second] = ~swapped, swapped
        of_source[:, alone] = rng.permuted(of_source[:, alone], axis=1)
        return of_source

    def _pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the source unit and the target unit of every person who has both."""
        source, target = np.flatnonzero(self.of_source), np.flatnonzero(~self.of_source)
        _, first, second = np.intersect1d(self.persons[source], self.persons[target], return_indices=True)
        return source[first], target[second]


def units_of(source: NDArray[np.str_], target: NDArray[np.str_]) -> Units:
    """Return the units of two sets from the patient of every image; the same patient_id is the same person."""
    first, first_place = np.unique(source, return_inverse=True)
    second, second_place = np.unique(target, return_inverse=True)
    of_source = np.arange(len(first) + len(second)) < len(first)
    return Units(np.concatenate([first, second]), of_source, np.concatenate([first_place, second_place + len(first)]))


def measure_shift(source: MeasuredSet, target: MeasuredSet, model: tuple[str, str]) -> Shift:
    """Compare two measured sets; `model` is the name and the version of the network behind the features.

    Raises:
        TooFewPatientsError: If a set has too few patients to be compared.
    """
    persons = unify_patient_ids(np.concatenate([source.patient_ids, target.patient_ids]))
    source = replace(source, patient_ids=persons[: len(source.patient_ids)])
    target = replace(target, patient_ids=persons[len(source.patient_ids) :])
    points, explained = _points(source, target)
    first, second = (ImageSet(images.features, images.patient_ids) for images in (source, target))
    return Shift(
        source=source.name,
        target=target.name,
        model_name=model[0],
        model_version=model[1],
        images=(len(source.patient_ids), len(target.patient_ids)),
        patients=(len(first.patients), len(second.patients)),
        distances=measure_distances(first, second),
        distributions=tuple(
            distribution
            for number, statistic in enumerate(STATISTICS)
            if (distribution := _distribution(statistic, source, target, number)) is not None
        ),
        points=points,
        explained=explained,
    )


def _points(source: MeasuredSet, target: MeasuredSet) -> tuple[tuple[Point, ...], tuple[float, float]]:
    components, shares = principal_components(np.concatenate([source.features, target.features]), 2)
    first: list[Side] = ["source"]
    second: list[Side] = ["target"]
    sides = first * len(source.features) + second * len(target.features)
    patients = np.concatenate([source.patient_ids, target.patient_ids])
    rng = np.random.default_rng(0)
    rows = np.concatenate(
        [_at_most_points(np.flatnonzero(np.array(sides) == side), rng) for side in ("source", "target")]
    )
    points = tuple(Point(float(components[i, 0]), float(components[i, 1]), sides[i], str(patients[i])) for i in rows)
    return points, (shares[0], shares[1])


def _at_most_points(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= _MOST_POINTS else np.sort(rng.choice(rows, _MOST_POINTS, replace=False))


def _distribution(statistic: Statistic, source: MeasuredSet, target: MeasuredSet, number: int) -> Distribution | None:
    """Compare one statistic; None if it could not be measured of any image of a set."""
    values = [images.statistics[:, number] for images in (source, target)]
    measurable = [np.isfinite(column) for column in values]
    first, second = (column[finite] for column, finite in zip(values, measurable, strict=True))
    if not len(first) or not len(second):
        return None
    both = np.concatenate([first, second])
    low, high = np.percentile(both, [1, 99])
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    shares = [_density(side, edges) for side in (first, second)]
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
    """Return the share of a Gaussian kernel density in every bin, with the width of Silverman (1986), eq. 3.31."""
    low, high = np.percentile(values, [25, 75])
    spread = min(float(values.std()), float(high - low) / 1.34) or float(values.std())
    width = max(0.9 * spread * len(values) ** -0.2, float(edges[1] - edges[0]) / 2)
    inside = np.diff(ndtr((edges[:, None] - values) / width), axis=0).sum(axis=1)
    return np.asarray(inside / max(float(inside.sum()), 1e-12))


def _difference(means: NDArray[np.float64], units: Units) -> tuple[float, float]:
    """Return the difference of patient means, in standard deviations of the source's patients, and its permuted p."""
    sides = units.of_source
    observed = means[~sides].mean() - means[sides].mean()
    exchanged = units.exchanged(_STATISTIC_PERMUTATIONS, np.random.default_rng(0))
    permuted = (~exchanged @ means) / (~exchanged).sum(axis=1) - (exchanged @ means) / exchanged.sum(axis=1)
    as_far = int((np.abs(permuted) >= abs(observed) - 1e-12).sum())
    spread = float(means[sides].std(ddof=1)) if sides.sum() > 1 else 0.0
    return float(observed) / max(spread, 1e-9), (1 + as_far) / (1 + _STATISTIC_PERMUTATIONS)


def measure_distances(source: ImageSet, target: ImageSet, seed: int = 0) -> tuple[Distance, ...]:
    """Measure Frechet distance, maximum mean discrepancy and two-sample classifier AUC between two sets.

    All use the first principal components of both sets together. The unit that is resampled, permuted, halved or
    split into folds is always the patient, never the image. A patient_id in both sets is the same person.

    Raises:
        TooFewPatientsError: If a set has too few patients to be compared.
    """
    for images in (source, target):
        if (count := len(images.patients)) < LEAST_PATIENTS:
            raise TooFewPatientsError(f"a set needs at least {LEAST_PATIENTS} patients to be compared, it has {count}")
    rng = np.random.default_rng(seed)
    both = np.concatenate([source.features, target.features])
    components, _ = principal_components(both, _COMPONENTS)
    first = ImageSet(components[: len(source.features)], source.patient_ids)
    second = ImageSet(components[len(source.features) :], target.patient_ids)
    halves_of_source = [_split_in_half(first, rng) for _ in range(_HALVINGS)]
    return (
        _frechet_distance(first, second, halves_of_source, rng),
        _discrepancy(first, second, halves_of_source, rng),
        _two_sample_auc(first, second, halves_of_source),
    )


def principal_components(features: Features, count: int) -> tuple[Features, tuple[float, ...]]:
    """Return standardised features in their first `count` principal components, and each one's share of the variance.

    Features are clipped at four standard deviations; otherwise a single outlier could dominate a component.
    """
    spread = features.std(axis=0)
    scaled = np.clip((features - features.mean(axis=0)) / np.where(spread > 0, spread, 1), -_CLIP_AT, _CLIP_AT)
    left, singular, _ = np.linalg.svd(scaled, full_matrices=False)
    count = min(count, len(singular), len(features) - 1)
    variance = singular**2 / max(float((singular**2).sum()), 1e-12)
    return left[:, :count] * singular[:count], tuple(float(share) for share in variance[:count])


def compute_frechet_distance(first: Features, second: Features) -> float:
    """Return the Frechet distance between two Gaussians fitted to the features (Dowson and Landau, 1982)."""
    means = first.mean(axis=0) - second.mean(axis=0)
    one, other = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (first, second))
    # The trace of the square root of a product of covariances is the sum of the roots of its eigenvalues, all real.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(one @ other).real, 0))
    return float(means @ means + np.trace(one + other) - 2 * roots.sum())


def compute_discrepancy(
    source: ImageSet, target: ImageSet, permutations: int = 0, seed: int = 0
) -> tuple[float, float]:
    """Return the squared maximum mean discrepancy and the share of permutations in which it is at least as large.

    The unbiased form (Gretton et al., JMLR 2012) leaves out pairs of an image with itself. Here all pairs of images
    of one person are left out, for the same reason: they are similar whichever set they belong to.
    """
    units = units_of(source.patient_ids, target.patient_ids)
    kernel = _kernel_sums(np.concatenate([source.features, target.features]), units.place, seed)
    images = np.bincount(units.place).astype(np.float64)
    different_persons = units.persons[:, None] != units.persons
    kernel, pairs = kernel * different_persons, np.outer(images, images) * different_persons
    exchanged = units.exchanged(permutations, np.random.default_rng(seed))
    observed, *permuted = (_mean_discrepancy(kernel, pairs, of_source) for of_source in (units.of_source, *exchanged))
    return observed, (1 + sum(other >= observed for other in permuted)) / (1 + permutations)


def _mean_discrepancy(kernel: Features, pairs: Features, of_source: NDArray[np.bool_]) -> float:
    inside, outside = of_source.astype(float), (~of_source).astype(float)
    within, within_other, between = (
        (one @ kernel @ other) / max(one @ pairs @ other, 1.0)
        for one, other in ((inside, inside), (outside, outside), (inside, outside))
    )
    return float(within + within_other - 2 * between)


def _kernel_sums(features: Features, unit: NDArray[np.int64], seed: int) -> Features:
    """Sum the Gaussian kernel over the pairs of images of every two units; its width is the median distance."""
    few = np.random.default_rng(seed).permutation(len(features))[:_MOST_FOR_WIDTH]
    squared_distances = _squared_distances(features[few], features[few])[~np.eye(len(few), dtype=bool)]
    width = max(float(np.median(squared_distances)), 1e-12)
    member = (unit == np.arange(unit.max() + 1)[:, None]).astype(np.float64)
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
    source: ImageSet, target: ImageSet, halves_of_source: list[tuple[ImageSet, ImageSet]], rng: np.random.Generator
) -> Distance:
    value = compute_frechet_distance(source.features, target.features)
    units = units_of(source.patient_ids, target.patient_ids)
    resampled = np.array([compute_frechet_distance(*_resample(source, target, units, rng)) for _ in range(_RESAMPLES)])
    # Drawing a patient twice alone increases the distance, so only the spread of the draws is used, not their mean.
    low, high = value + np.percentile(resampled, [2.5, 97.5]) - resampled.mean()
    halves = float(np.mean([compute_frechet_distance(one.features, other.features) for one, other in halves_of_source]))
    return Distance(FRECHET, value, min(value, max(0.0, float(low))), max(value, float(high)), halves)


def _discrepancy(
    source: ImageSet, target: ImageSet, halves_of_source: list[tuple[ImageSet, ImageSet]], rng: np.random.Generator
) -> Distance:
    value, p = compute_discrepancy(source, target, _PERMUTATIONS, int(rng.integers(2**32)))
    halves = [compute_discrepancy(one, other)[0] for one, other in halves_of_source]
    return Distance(DISCREPANCY, value, None, None, float(np.mean(halves)), p)


def _two_sample_auc(source: ImageSet, target: ImageSet, halves_of_source: list[tuple[ImageSet, ImageSet]]) -> Distance:
    """Return the AUC of a classifier of the two sets, on patients it was not fitted to (Lopez-Paz and Oquab, 2017)."""
    estimate = auc_estimate(_classify_sets(source, target))
    halves = [
        _classify_sets(one, other) for one, other in halves_of_source[: _HALVINGS // 2]
    ]  # ten are enough, and take a second
    chance = float(np.mean([auc(half.malignant, half.probabilities) for half in halves]))
    return Distance(TWO_SAMPLE_AUC, estimate.value, estimate.low, estimate.high, chance)


def _classify_sets(source: ImageSet, target: ImageSet) -> BinaryPredictions:
    """Return for every image the probability of the target set, by a classifier that was not fitted to its person."""
    features = np.concatenate([source.features, target.features])
    persons = np.concatenate([source.patient_ids, target.patient_ids])
    of_target = np.arange(len(features)) >= len(source.features)
    probabilities = np.zeros(len(features))
    folds = StratifiedGroupKFold(min(_FOLDS, len(source.patients), len(target.patients)))
    for train, held_out in folds.split(features, of_target, persons):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
        classifier.fit(features[train], of_target[train])
        probabilities[held_out] = classifier.predict_proba(features[held_out])[:, 1]
    return BinaryPredictions(of_target, probabilities, persons)


def _split_in_half(images: ImageSet, rng: np.random.Generator) -> tuple[ImageSet, ImageSet]:
    """Split the patients at random into two halves of equal size; each patient keeps all images."""
    names = rng.permutation(images.patients)
    mask = np.isin(images.patient_ids, names[: len(names) // 2])
    return images.only(mask), images.only(~mask)


def _resample(source: ImageSet, target: ImageSet, units: Units, rng: np.random.Generator) -> tuple[Features, Features]:
    """Draw persons with replacement, separately among those in both sets, only in the source and only in the target.

    A person in both sets is drawn with all images of both.
    """
    one, other = source.patients, target.patients
    both = np.intersect1d(one, other)
    resampled_groups = [np.array([], dtype=units.persons.dtype)]
    for group in (both, np.setdiff1d(one, both), np.setdiff1d(other, both)):
        if len(group):
            resampled_groups.append(rng.choice(group, len(group)))
    names = np.concatenate(resampled_groups)
    return _images_of(source, names), _images_of(target, names)


def _images_of(images: ImageSet, names: NDArray[np.str_]) -> Features:
    return images.only(np.concatenate([np.flatnonzero(images.patient_ids == name) for name in names])).features
