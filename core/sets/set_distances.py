"""How far one set of images lies from another: distances between features, by patient, with what chance would give."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from core.metrics import Judged, auc, auc_estimate
from core.sets.units import Units, units_of
from core.shift import DISCREPANCY, FRECHET, TOLD_APART, Distance

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
