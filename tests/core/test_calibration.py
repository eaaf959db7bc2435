from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.labels import IDC
from core.statistics.calibration import (
    FittedOnTestError,
    fit_abstention,
    fit_temperature,
    give_opinion,
    sensitivity_threshold,
    soften,
    youden_threshold,
)
from core.statistics.predictions import BinaryPredictions
from tests.helpers.judgements import made_judgements


def test_nothing_is_fitted_to_test_predictions() -> None:
    judged = made_judgements(IDC).binary()
    for refused in (
        lambda: fit_temperature(judged, "test"),
        lambda: youden_threshold(judged, "test"),
        lambda: sensitivity_threshold(judged, 0.9, "test"),
        lambda: fit_abstention(judged, 0.1, "test"),
    ):
        with pytest.raises(FittedOnTestError, match="may not be fitted to test predictions"):
            refused()


def test_out_of_fold_and_validation_predictions_give_the_same_fit() -> None:
    judged = made_judgements(IDC).binary()
    assert fit_temperature(judged, "out of fold") == fit_temperature(judged, "validation")
    assert youden_threshold(judged, "out of fold") == youden_threshold(judged)


def of_patients(*patients: tuple[str, bool, float, int]) -> BinaryPredictions:
    """Patients with an id, the truth, the log-odds of malignant in each of their images, and their number of images."""
    rows = [(malignant, 1 / (1 + exp(-odds)), one) for one, malignant, odds, images in patients for _ in range(images)]
    return BinaryPredictions.of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


# The loss of 2u right and u wrong is smallest where exp(u)^3 - exp(u) = 2; log-odds of twice that need a temperature
# of 2.
_UNIT = 2 * log(1.5213797068045676)


@pytest.mark.parametrize("images", [1, 12])
def test_a_patient_with_many_images_weighs_as_much_in_the_temperature_as_one_with_few(images: int) -> None:
    judged = of_patients(
        ("a", True, 2 * _UNIT, images), ("b", True, -_UNIT, 1), ("c", False, -2 * _UNIT, images), ("d", False, _UNIT, 1)
    )
    assert fit_temperature(judged) == pytest.approx(2.0)


@pytest.mark.parametrize("malignant", [1, 9])
def test_benign_and_malignant_weigh_the_same_in_the_temperature_whatever_their_number(malignant: int) -> None:
    pairs = [((f"a{i}", True, 2 * _UNIT, 1), (f"b{i}", True, -_UNIT, 1)) for i in range(malignant)]
    sure = [("c", False, -0.5, 1), ("d", False, -0.5, 1)]  # alone, they would have the lowest temperature
    alone = [("a", True, 2 * _UNIT, 1), ("b", True, -_UNIT, 1)]
    found = fit_temperature(of_patients(*(one for pair in pairs for one in pair), *sure))
    assert found == fit_temperature(of_patients(*alone, *sure))
    assert 0.25 < found < 2.0


@pytest.mark.parametrize("malignant", [True, False])
def test_either_side_alone_can_decide_the_temperature(*, malignant: bool) -> None:
    sign = 1 if malignant else -1
    decides = (("a", malignant, 2 * sign * _UNIT, 1), ("b", malignant, -sign * _UNIT, 1))
    # Log-odds of zero fit as well under any temperature.
    assert fit_temperature(of_patients(*decides, ("c", not malignant, 0.0, 1))) == pytest.approx(2.0)


@pytest.mark.parametrize(("temperature", "expected"), [(0.5, 81 / 82), (1.0, 0.9), (2.0, 0.75)])
def test_a_temperature_divides_the_log_odds(temperature: float, expected: float) -> None:
    p = np.array([0.9, 0.1])  # odds of 9
    assert soften(p, temperature) == pytest.approx([expected, 1 - expected])


@given(seed=st.integers(0, 10_000), images=st.integers(12, 200))
@settings(max_examples=30)
def test_no_threshold_has_a_larger_youden_index(seed: int, images: int) -> None:
    judged = made_judgements(IDC, images, 6, seed).binary()

    def index(threshold: float) -> float:
        called = judged.probabilities >= threshold
        return float(called[judged.malignant].mean() - called[~judged.malignant].mean())

    best = index(youden_threshold(judged))
    assert all(index(threshold) <= best + 1e-12 for threshold in np.linspace(0.001, 0.999, 97))


@given(seed=st.integers(0, 10_000), target=st.floats(0.05, 1))
@settings(max_examples=30)
def test_a_target_sensitivity_is_reached_and_the_next_threshold_misses_it(seed: int, target: float) -> None:
    made = made_judgements(IDC, 120, 12, seed).binary()
    # Two numbers with nothing between them have no threshold between them either.
    judged = BinaryPredictions(made.malignant, made.probabilities.round(9), made.patient_ids)
    threshold = sensitivity_threshold(judged, target)
    malignant = judged.probabilities[judged.malignant]
    assert (malignant >= threshold).mean() >= target - 1e-12
    above = np.unique(judged.probabilities[judged.probabilities >= threshold])
    if len(above) > 1:  # the next step up leaves out the smallest probability called now
        assert (malignant >= above[1]).mean() < target


def test_a_sensitivity_of_one_calls_every_malignant_image() -> None:
    judged = BinaryPredictions.of([True, True, False], [0.0, 0.9, 0.5], list("abc"))
    threshold = sensitivity_threshold(judged, 1.0)
    assert 0 < threshold < 0.5
    sure = BinaryPredictions.of([True, True, False], [0.2, 0.9, 0.5], list("abc"))
    assert (sure.probabilities >= sensitivity_threshold(sure, 1.0)).tolist() == [True, True, True]


def test_a_sensitivity_by_patient_is_not_that_of_the_patient_with_most_images() -> None:
    easy = [(True, 0.9, "many")] * 18
    hard = [(True, p, "few") for p in (0.2, 0.6)]
    rows = [*easy, *hard, (False, 0.1, "benign")]
    judged = BinaryPredictions.of([m for m, _, _ in rows], [p for _, p, _ in rows], [patient for *_, patient in rows])
    # One missed image is 5% of all images, but a quarter of what two patients of equal weight show.
    assert 0.2 < sensitivity_threshold(judged, 0.95) < 0.6
    assert 0.1 < sensitivity_threshold(judged, 0.95, by_patient=True) < 0.2
    assert 0.2 < sensitivity_threshold(judged, 0.75, by_patient=True) < 0.6


@pytest.mark.parametrize("target", [0, -0.1, 1.01])
def test_an_impossible_target_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="target sensitivity"):
        sensitivity_threshold(made_judgements(IDC).binary(), target)


def test_thresholds_need_what_they_tell_apart() -> None:
    benign = BinaryPredictions.of([False, False], [0.1, 0.2], ["a", "b"])
    with pytest.raises(ValueError, match="both malignant and benign"):
        youden_threshold(benign)
    with pytest.raises(ValueError, match="needs malignant"):
        sensitivity_threshold(benign, 0.9)


@pytest.mark.parametrize("risk", [0.05, 0.1, 0.2])
def test_sets_of_opinions_miss_the_truth_as_rarely_as_promised(risk: float) -> None:
    rng = np.random.default_rng(8)

    def draw(images: int) -> BinaryPredictions:
        malignant = rng.random(images) < 0.6
        odds = 1 / (1 + np.exp(-rng.normal(0, 1.3, images) - 1.5 * (2 * malignant - 1)))
        return BinaryPredictions(malignant, odds, np.arange(images).astype(str))

    found = fit_abstention(draw(1000), risk, "out of fold")
    new = draw(20_000)
    missed = np.where(new.malignant, 1 - new.probabilities, new.probabilities) > found.quantile
    assert missed.mean() == pytest.approx(risk, abs=0.03)
    kept = give_opinion(new.probabilities, found.quantile)
    assert kept.mean() == pytest.approx(found.coverage, abs=0.05)
    assert (missed & kept).sum() / kept.sum() == pytest.approx(found.error, abs=0.03)
    assert "out of fold" in found.protocol
    assert "1000 images of 1000 patients" in found.protocol


def test_less_risk_means_fewer_opinions_and_fewer_errors() -> None:
    judged = made_judgements(IDC, 2000, 60).binary()
    careful, bold = fit_abstention(judged, 0.05), fit_abstention(judged, 0.2)
    assert careful.quantile > bold.quantile
    assert careful.coverage < bold.coverage
    assert careful.error < bold.error


def test_too_few_images_give_no_opinion_at_all() -> None:
    few = BinaryPredictions.of([True, False, True], [0.9, 0.2, 0.7], list("abc"))
    found = fit_abstention(few, 0.1)
    assert (found.quantile, found.coverage, found.error) == (1.0, 0.0, 0.0)


def test_an_opinion_is_one_malignancy_within_the_quantile() -> None:
    p = np.array([0.95, 0.5, 0.05])
    assert give_opinion(p, 0.3).tolist() == [True, False, True]  # the middle: neither
    assert give_opinion(p, 0.7).tolist() == [True, False, True]  # the middle: both
    assert give_opinion(p, 0.96).tolist() == [False, False, False]
    assert give_opinion(np.array([0.25, 0.75]), 0.25).tolist() == [True, True]  # just within the quantile


@pytest.mark.parametrize("risk", [0, 1])
def test_a_risk_lies_between_0_and_1(risk: float) -> None:
    with pytest.raises(ValueError, match="risk"):
        fit_abstention(made_judgements(IDC).binary(), risk)
