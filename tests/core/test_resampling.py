from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from core.labels import IDC
from core.statistics.predictions import BinaryPredictions, auc_estimate
from core.statistics.resampling import Interval, Measure, Ranking, Weights, bca_intervals, divide, resample_patients
from tests.helpers.judgements import made_judgements


def one_stratum(patients: int) -> NDArray[np.int64]:
    return np.zeros(patients, np.int64)


def mean_of(values: NDArray[np.float64]) -> Measure:
    return lambda weights: divide(weights @ values, weights.sum(axis=1))[:, None]


def bounds(interval: Interval) -> tuple[float, float]:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low, interval.high


def test_every_stratum_is_drawn_as_often_as_it_is_large() -> None:
    strata = np.array([1, 2, 1, 2, 2])
    weights = resample_patients(strata, 200, 0)
    assert (weights[:, strata == 1].sum(axis=1) == 2).all()
    assert (weights[:, strata == 2].sum(axis=1) == 3).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(5), abs=0.2)
    assert np.array_equal(weights, resample_patients(strata, 200, 0))
    assert not np.array_equal(weights, resample_patients(strata, 200, 1))


def test_the_interval_of_a_mean_of_patients_is_the_analytic_one() -> None:
    values = np.random.default_rng(3).normal(0.7, 0.1, 80)
    (found,) = bca_intervals(mean_of(values), one_stratum(80), rounds=20_000)
    # The bootstrap's variance of a mean divides by n, not n - 1.
    half = NormalDist().inv_cdf(0.975) * values.std() / np.sqrt(80)
    assert found.value == pytest.approx(values.mean())
    low, high = bounds(found)
    assert low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.06 * half)
    student = stats.t.interval(0.95, 79, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(student, abs=0.1 * half)


def test_the_interval_of_a_skewed_mean_is_that_of_scipy() -> None:
    values = np.random.default_rng(4).exponential(1, 40)
    (found,) = bca_intervals(mean_of(values), one_stratum(40), rounds=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    assert bounds(found) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    low, high = bounds(found)
    assert high - found.value > 1.2 * (found.value - low), "a long tail above is seen"


def test_the_interval_over_two_strata_is_that_of_scipy_for_two_samples() -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.exponential(1, 15), rng.exponential(2, 45)])
    strata = np.repeat([0, 1], [15, 45])

    def difference(weights: Weights) -> NDArray[np.float64]:
        first, second = (mean_of(values * (strata == s))(weights * (strata == s)) for s in (0, 1))
        return second - first

    (found,) = bca_intervals(difference, strata, rounds=20_000)
    theirs = stats.bootstrap(
        (values[15:], values[:15]),
        lambda one, other, axis: one.mean(axis=axis) - other.mean(axis=axis),
        n_resamples=20_000,
        method="BCa",
        rng=1,
    ).confidence_interval
    assert bounds(found) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_each_stratum_bends_the_interval_by_its_own_number_of_patients() -> None:
    few, many = np.array([0.0, 1.0, 8.0]), np.random.default_rng(9).exponential(1, 24)
    values, strata = np.concatenate([few, many]), np.repeat([0, 1], [3, 24])

    def total(weights: Weights) -> NDArray[np.float64]:
        return mean_of(values * (strata == 0))(weights * (strata == 0)) + mean_of(values)(weights * (strata == 1))

    (found,) = bca_intervals(total, strata)
    # Davison and Hinkley, equation 5.29: of a mean, the influence of a patient is its distance from the mean.
    influence = np.concatenate([(part - part.mean()) / len(part) for part in (few, many)])
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    resampled = total(resample_patients(strata, 2000, 0))[:, 0]
    normal = NormalDist()
    bias = normal.inv_cdf(float((resampled < found.value).mean() + (resampled <= found.value).mean()) / 2)
    z = [bias + normal.inv_cdf(tail) for tail in (0.025, 0.975)]
    shares = [normal.cdf(bias + one / (1 - acceleration * one)) for one in z]
    assert found.value == pytest.approx(few.mean() + many.mean())
    assert bounds(found) == pytest.approx(np.quantile(resampled, shares), abs=1e-9)


def test_patients_who_are_alike_may_be_drawn_together() -> None:
    values, copies = np.array([0.2, 0.5, 0.9]), np.array([40, 25, 15])
    one_by_one = mean_of(np.repeat(values, copies))
    (apart,) = bca_intervals(one_by_one, one_stratum(80), rounds=20_000)
    (together,) = bca_intervals(mean_of(values), one_stratum(3), rounds=20_000, copies=copies)
    assert together.value == pytest.approx(apart.value)
    assert bounds(together) == pytest.approx(bounds(apart), abs=0.003)
    assert resample_patients(one_stratum(3), 500, 0, copies).sum(axis=1).tolist() == [80] * 500
    assert resample_patients(one_stratum(3), 5000, 0, copies).mean(axis=0) == pytest.approx(copies, abs=0.3)


def covered(
    truth: float, simulate: Callable[[np.random.Generator], tuple[Measure, NDArray[np.int64]]], times: int
) -> float:
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(times):
        measure, strata = simulate(rng)
        low, high = bounds(bca_intervals(measure, strata, rounds=600)[0])
        hits += low <= truth <= high
    return hits / times


def clustered_auc(by: str) -> Callable[[np.random.Generator], tuple[Measure, NDArray[np.int64]]]:
    """Thirty patients of six images; scores of a patient stray together."""

    def simulate(rng: np.random.Generator) -> tuple[Measure, NDArray[np.int64]]:
        person = np.repeat(np.arange(30), 6)
        malignant = person % 2 == 1
        scores = malignant + rng.normal(0, 0.8, 30)[person] + rng.normal(0, 0.6, 180)
        units = person if by == "patient" else np.arange(180)
        ids = np.char.zfill(units.astype(str), 3)
        ranking = Ranking(malignant, scores, ids)
        return (lambda weights: ranking.auc(weights)[:, None]), BinaryPredictions(malignant, scores, ids).strata()

    return simulate


def test_intervals_by_patient_cover_the_true_auc_and_intervals_by_image_do_not() -> None:
    # Scores differ by a normal deviate of variance 2 * (0.64 + 0.36), means by 1.
    truth = NormalDist().cdf(1 / np.sqrt(2))
    assert 0.88 <= covered(truth, clustered_auc("patient"), 150) <= 0.98
    assert covered(truth, clustered_auc("image"), 60) < 0.8


def test_what_resampling_cannot_bound_has_no_interval() -> None:
    def measure(weights: Weights) -> NDArray[np.float64]:
        n = len(weights)
        rare = np.where(weights[:, 0] > 0, 1.0 + weights[:, 0], np.nan)  # undefined without the first patient
        edge = (weights > 0).sum(axis=1).astype(float)  # the whole sample is larger than every resample
        return np.stack([np.full(n, 0.8), np.full(n, np.nan), rare, edge, -edge], axis=1)

    same, undefined, rare, largest, smallest = bca_intervals(measure, one_stratum(30))
    assert (same.value, same.low, same.high) == (0.8, None, None)
    assert np.isnan(undefined.value)
    for interval in (undefined, rare, largest, smallest):
        assert (interval.low, interval.high) == (None, None)


@pytest.mark.parametrize(("undefined", "bounded"), [(2, True), (3, False)])
def test_a_figure_may_be_undefined_in_one_percent_of_the_resamples_and_no_more(undefined: int, bounded: bool) -> None:
    values = np.random.default_rng(2).normal(0, 1, 20)

    def measure(weights: Weights) -> NDArray[np.float64]:
        means = mean_of(values)(weights)
        if len(weights) == 200:
            means[:undefined] = np.nan
        return means

    (found,) = bca_intervals(measure, one_stratum(20), rounds=200)
    assert (found.low is not None) == bounded


@given(values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12), seed=st.integers(0, 100))
@settings(max_examples=60)
def test_any_interval_holds_its_figure(values: list[float], seed: int) -> None:
    (found,) = bca_intervals(mean_of(np.array(values)), one_stratum(len(values)), rounds=200, seed=seed)
    assert (found.low is None) == (found.high is None)
    if found.low is not None and found.high is not None:
        assert found.low <= found.value <= found.high
    else:
        assert np.ptp(values) < 1e-9 or len(values) < 3, "only alike or very few patients go without"


def test_figures_that_differ_too_little_to_be_squared_go_without_an_interval() -> None:
    with np.errstate(divide="raise", invalid="raise"):
        (found,) = bca_intervals(mean_of(np.arange(1, 13, dtype=np.float64) * 1e-120), one_stratum(12), rounds=200)
    assert (found.low, found.high) == (None, None)


def test_one_patient_of_a_kind_gives_an_interval_from_the_others() -> None:
    judged = made_judgements(IDC, 100, 12).binary()
    alone = judged.only(~judged.malignant | (judged.patient_ids == judged.patient_ids[judged.malignant][0]))
    estimate = auc_estimate(alone)
    assert estimate.low < estimate.value < estimate.high


def test_a_single_patient_of_each_kind_leaves_the_bare_value() -> None:
    estimate = auc_estimate(BinaryPredictions.of([True, True, False, False], [0.9, 0.3, 0.5, 0.1], list("aabb")))
    assert (estimate.low, estimate.high) == (estimate.value, estimate.value) == (0.75, 0.75)


def test_an_interval_is_the_same_for_the_same_seed() -> None:
    judged = made_judgements(IDC).binary()
    assert auc_estimate(judged, seed=1) == auc_estimate(judged, seed=1)
    assert auc_estimate(judged, seed=1) != auc_estimate(judged, seed=2)


def test_a_patient_written_in_two_ways_is_resampled_as_one() -> None:
    malignant, probabilities = [True, False] * 6, [0.9, 0.2, 0.4, 0.6, 0.7, 0.1, 0.3, 0.5, 0.8, 0.2, 0.6, 0.4]
    plain = [f"P{n // 4}" for n in range(12)]
    written = ["P0", "p0", "P0 ", "P0\u00a0", "P1", " P1", "P1", "\ufeffP1", "Ｐ2", "P2", "P2", "P2"]
    one, other = (BinaryPredictions.of(malignant, probabilities, ids) for ids in (plain, written))
    assert len(set(other.patient_ids)) == len(other.strata()) == 3
    assert len(other.by_patient().malignant) == 3
    assert auc_estimate(other) == auc_estimate(one)


def test_a_negated_interval_keeps_its_order() -> None:
    assert -Interval(0.5, 0.25, 1.0) == Interval(-0.5, -1.0, -0.25)
    assert -Interval(0.5, None, None) == Interval(-0.5, None, None)
