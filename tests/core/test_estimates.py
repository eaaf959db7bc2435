import numpy as np
import pytest

from core.statistics.calibration import fit_temperature, youden_threshold
from core.statistics.predictions import BinaryPredictions, auc, auc_estimate


def test_an_auc_counts_pairs_and_ties_half() -> None:
    malignant = np.array([True, True, False, False])
    assert auc(malignant, np.array([0.9, 0.8, 0.2, 0.1])) == 1
    assert auc(malignant, np.array([0.9, 0.2, 0.2, 0.1])) == 0.875
    assert auc(malignant, np.array([0.1, 0.2, 0.8, 0.9])) == 0
    with pytest.raises(ValueError, match="both"):
        auc(np.array([True]), np.array([0.5]))


def test_an_interval_of_few_patients_is_wider_than_one_of_many() -> None:
    rng = np.random.default_rng(0)
    malignant = [bool(i % 2) for i in range(160)]
    probabilities = [float(np.clip(rng.normal(0.6 if m else 0.4, 0.2), 0, 1)) for m in malignant]
    many = auc_estimate(BinaryPredictions.of(malignant, probabilities, [str(i) for i in range(160)]))
    few = auc_estimate(BinaryPredictions.of(malignant, probabilities, [str(i % 8) for i in range(160)]))
    assert many.low < many.value < many.high
    assert many.value == few.value
    # The same images as eight alike patients: an interval there would be over eight, not 160, draws.
    alike = [0.2 + 0.1 * (i % 8) for i in range(160)]
    assert _width(BinaryPredictions.of(malignant, alike, [str(i % 8) for i in range(160)])) > 1.5 * (
        many.high - many.low
    )


def _width(judged: BinaryPredictions) -> float:
    estimate = auc_estimate(judged)
    return estimate.high - estimate.low


def test_a_patient_counts_as_the_mean_of_its_images() -> None:
    judged = BinaryPredictions.of([True, True, False], [0.9, 0.5, 0.2], ["a", "a", "b"]).by_patient()
    assert judged.patient_ids.tolist() == ["a", "b"]
    assert judged.malignant.tolist() == [True, False]
    assert judged.probabilities.tolist() == pytest.approx([0.7, 0.2])


def test_a_temperature_undoes_overconfidence_and_leaves_honest_odds_alone() -> None:
    rng = np.random.default_rng(1)
    odds = rng.normal(0, 1.5, 4000)
    malignant = rng.random(4000) < 1 / (1 + np.exp(-odds))
    names = [str(i) for i in range(4000)]
    honest = BinaryPredictions.of(malignant.tolist(), (1 / (1 + np.exp(-odds))).tolist(), names)
    bold = BinaryPredictions.of(malignant.tolist(), (1 / (1 + np.exp(-3 * odds))).tolist(), names)
    assert fit_temperature(honest) == pytest.approx(1, abs=0.15)
    assert fit_temperature(bold) == pytest.approx(3, abs=0.45)


def test_the_threshold_lies_where_sensitivity_and_specificity_are_best() -> None:
    judged = BinaryPredictions.of(
        [False, False, True, False, True, True], [0.1, 0.2, 0.35, 0.4, 0.7, 0.9], list("abcdef")
    )
    threshold = youden_threshold(judged)
    assert threshold in (pytest.approx(0.275), pytest.approx(0.55))
    assert youden_threshold(BinaryPredictions.of([True, False], [0.4, 0.4], ["a", "b"])) == 0.5
