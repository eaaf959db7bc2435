"""The values that flow check themselves, so that a wrong one cannot travel."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.labels import BINARY, BREAKHIS
from core.results import Analysis, Prediction, Quality, QualityFinding, Scope, ScopeLevel, scope_level

GOOD = Quality(100.0, 0.9)
OUT = Scope("out", 3.0, 1.0, 2.0, ("its colours are unlike those of the training images",))


def prediction(malignant: float, threshold: float = 0.5) -> Prediction:
    return Prediction(BINARY, (1 - malignant, malignant), threshold, benign_patches=2, malignant_patches=1)


@given(malignant=st.floats(0, 1), threshold=st.floats(0.01, 0.99))
def test_the_threshold_decides_and_the_label_never_contradicts_it(malignant: float, threshold: float) -> None:
    found = prediction(malignant, threshold)
    assert found.malignancy == ("malignant" if malignant >= threshold else "benign")
    assert found.label == found.malignancy
    assert BINARY.malignancy(found.label) == found.malignancy


def test_the_label_is_the_likeliest_class_on_the_predicted_side() -> None:
    # The likeliest class of all is benign, but the malignant ones together reach the threshold.
    probabilities = (0.4, 0.0, 0.0, 0.0, 0.1, 0.2, 0.2, 0.1)
    found = Prediction(BREAKHIS, probabilities, 0.5, 1, 0)
    assert found.malignant_probability == pytest.approx(0.6)
    assert (found.malignancy, found.label) == ("malignant", "lobular_carcinoma")


def test_patches_of_both_sides_are_counted() -> None:
    assert prediction(0.3).patches == 3


@pytest.mark.parametrize(
    ("probabilities", "threshold", "patches", "message"),
    [
        ((0.5, 0.3, 0.2), 0.5, 1, "3 probabilities for 2 classes"),
        ((0.5, 0.6), 0.5, 1, "add up to 1"),
        ((-0.1, 1.1), 0.5, 1, "lie in 0..1"),
        ((math.nan, 0.5), 0.5, 1, "lie in 0..1"),
        ((0.5, 0.5), 0.0, 1, "threshold"),
        ((0.5, 0.5), 1.0, 1, "threshold"),
        ((0.5, 0.5), 0.5, 0, "at least one patch"),
    ],
)
def test_an_impossible_prediction_is_refused(
    probabilities: tuple[float, ...], threshold: float, patches: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Prediction(BINARY, probabilities, threshold, patches, 0)


def test_a_warning_leaves_an_image_readable_and_the_other_kind_does_not() -> None:
    warning, unreadable = QualityFinding("warning", "blurred"), QualityFinding("unreadable", "blank")
    assert Quality(1.0, 0.5, (warning,)).readable
    assert not Quality(1.0, 0.5, (warning, unreadable)).readable


@pytest.mark.parametrize(("sharpness", "tissue"), [(-1, 0.5), (math.nan, 0.5), (math.inf, 0.5), (1, -0.1), (1, 1.1)])
def test_an_impossible_quality_is_refused(sharpness: float, tissue: float) -> None:
    with pytest.raises(ValueError, match=r"sharpness|tissue_fraction"):
        Quality(sharpness, tissue)


def test_an_analysis_has_a_prediction_or_the_reason_why_not() -> None:
    assert Analysis(4, 5, GOOD, reason="blank").prediction is None
    assert Analysis(4, 5, GOOD, prediction(0.2)).reason is None
    with pytest.raises(ValueError, match="either a prediction or the reason"):
        Analysis(4, 5, GOOD)
    with pytest.raises(ValueError, match="either a prediction or the reason"):
        Analysis(4, 5, GOOD, prediction(0.2), reason="blank")


def test_a_heatmap_has_the_size_of_its_image() -> None:
    Analysis(4, 5, GOOD, prediction(0.2), np.zeros((4, 5), dtype=np.float32))
    with pytest.raises(ValueError, match="heat map of"):
        Analysis(4, 5, GOOD, prediction(0.2), np.zeros((5, 4), dtype=np.float32))


def test_an_image_that_is_out_of_scope_gets_no_prediction() -> None:
    assert Analysis(4, 5, GOOD, reason="unlike", scope=OUT).withheld
    assert not Analysis(4, 5, GOOD, reason="blank").withheld
    assert not Analysis(4, 5, GOOD, prediction(0.2), scope=Scope("unusual", 1.0, 1.0, 2.0)).withheld
    with pytest.raises(ValueError, match="out of scope gets no prediction"):
        Analysis(4, 5, GOOD, prediction(0.2), scope=OUT)


def test_a_map_of_the_scope_has_the_size_of_its_image() -> None:
    Analysis(4, 5, GOOD, reason="unlike", scope=OUT, scope_map=np.zeros((4, 5), dtype=np.float32))
    with pytest.raises(ValueError, match="map of the scope of"):
        Analysis(4, 5, GOOD, reason="unlike", scope=OUT, scope_map=np.zeros((5, 4), dtype=np.float32))


@pytest.mark.parametrize(("score", "level"), [(0.99, "in"), (1.0, "unusual"), (1.99, "unusual"), (2.0, "out")])
def test_a_score_is_unusual_and_out_from_its_limits_on(score: float, level: ScopeLevel) -> None:
    assert scope_level(score, 1.0, 2.0) == level
    assert Scope(level, score, 1.0, 2.0).level == level


@pytest.mark.parametrize(
    ("level", "score", "unusual", "out"),
    [("in", 2.5, 1.0, 2.0), ("out", 1.5, 1.0, 2.0), ("in", math.nan, 1.0, 2.0), ("in", 0.0, 2.0, 1.0)],
)
def test_an_impossible_scope_is_refused(level: ScopeLevel, score: float, unusual: float, out: float) -> None:
    with pytest.raises(ValueError, match=r"score|limit"):
        Scope(level, score, unusual, out)
