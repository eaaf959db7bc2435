import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from core.labels import IDC
from core.statistics.comparison import compare_accuracy, compare_auc, delong_p_value, mcnemar_p_value
from core.statistics.predictions import BinaryPredictions
from tests.helpers.judgements import made_judgements


def literal_delong(malignant: NDArray[np.bool_], scores: list[NDArray[np.float64]]) -> float:
    """DeLong et al. 1988 as printed: every pair compared, covariances of the structural components."""
    by_positive, by_negative = [], []
    for values in scores:
        pairs = values[malignant][:, None] - values[~malignant][None, :]
        wins = np.where(pairs > 0, 1.0, np.where(pairs == 0, 0.5, 0.0))
        by_positive.append(wins.mean(axis=1))
        by_negative.append(wins.mean(axis=0))
    covariance = np.cov(by_positive) / malignant.sum() + np.cov(by_negative) / (~malignant).sum()
    contrast = np.array([1.0, -1.0])
    difference = contrast @ np.mean(by_positive, axis=1)
    variance = contrast @ covariance @ contrast
    if variance == 0:
        return float(difference == 0)
    return float(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))


@given(seed=st.integers(0, 10_000), images=st.integers(8, 120))
@settings(max_examples=40)
def test_delong_by_ranks_is_delong_by_pairs(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    malignant = np.arange(images) % 3 > 0
    first = np.round(rng.normal(0, 1, images) + malignant, 1)  # rounded: ties
    second = np.round(first + rng.normal(0, 1, images), 1)
    assert delong_p_value(malignant, first, second) == pytest.approx(
        literal_delong(malignant, [first, second]), abs=1e-9
    )


def pair(noise: float, seed: int = 0) -> tuple[BinaryPredictions, BinaryPredictions]:
    first = made_judgements(IDC, 600, 40, seed).binary()
    rng = np.random.default_rng(seed)
    worse = np.clip(first.probabilities + rng.normal(0, noise, 600), 0, 1)
    return first, BinaryPredictions(first.malignant, worse, first.patient_ids)


def test_a_model_that_adds_noise_is_worse_on_the_same_images() -> None:
    first, second = pair(0.6)
    found = compare_auc(first, second)
    expected = roc_auc_score(first.malignant, first.probabilities) - roc_auc_score(
        second.malignant, second.probabilities
    )
    assert found.difference == pytest.approx(expected)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.difference < found.high
    assert found.p_delong < 0.01
    assert found.p_patients < 0.01
    turned = compare_auc(second, first)
    assert turned.difference == pytest.approx(-expected)
    assert turned.p_delong == pytest.approx(found.p_delong)


def test_pairing_makes_a_difference_surer_than_each_figure() -> None:
    first, second = pair(0.05)
    found = compare_auc(first, second)
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.05
    assert found.low <= 0 <= found.high or found.p_patients < 0.05


def test_a_model_does_not_differ_from_itself() -> None:
    first, _ = pair(0.1)
    found = compare_auc(first, first)
    assert (found.difference, found.low, found.high, found.p_delong, found.p_patients) == (0, None, None, 1, 1)


def test_accuracies_are_compared_each_at_its_own_threshold() -> None:
    first, second = pair(0.5)
    found = compare_accuracy(first, second, (first.probabilities >= 0.5, second.probabilities >= 0.4))
    right = [((j.probabilities >= t) == j.malignant) for j, t in ((first, 0.5), (second, 0.4))]
    table = [[(right[0] & right[1]).sum(), (right[0] & ~right[1]).sum()], [(~right[0] & right[1]).sum(), 0]]
    assert found.difference == pytest.approx(right[0].mean() - right[1].mean())
    assert found.p_mcnemar == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.difference < found.high


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_that_of_statsmodels(only_first: int, only_second: int) -> None:
    expected = reference_mcnemar([[5, only_first], [only_second, 7]], exact=True).pvalue
    assert mcnemar_p_value(only_first, only_second) == pytest.approx(expected, rel=1e-6)


def test_other_images_are_not_compared() -> None:
    first, second = pair(0.1)
    with pytest.raises(ValueError, match="same images"):
        compare_auc(first, second.only(np.arange(600) > 0))
    with pytest.raises(ValueError, match="same images"):
        compare_auc(first, BinaryPredictions(~second.malignant, second.probabilities, second.patient_ids))
    few = first.only(np.arange(600) == np.flatnonzero(first.malignant)[0])
    with pytest.raises(ValueError, match="two of each"):
        compare_auc(few, few)
