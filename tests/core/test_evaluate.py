from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as reference

from core.card import Abstention
from core.labels import BACH, BINARY, BREAKHIS, IDC, LabelSet
from core.statistics import figure_names
from core.statistics.cautions import Caution
from core.statistics.evaluate import (
    MOST_POINTS,
    EvaluationDetails,
    build_evaluation,
    compute_curves,
    try_threshold,
)
from core.statistics.evaluation import Evaluation
from core.statistics.predictions import BinaryPredictions, ClassPredictions
from tests.helpers.judgements import made_judgements

ABOUT = EvaluationDetails(
    "tiny", "abc", "made", "test", "made protocol", 0.4, 1.5, "validation", warnings=(Caution("trained on", "made up"),)
)


def evaluated(label_set: LabelSet = IDC, images: int = 400, patients: int = 40) -> tuple[ClassPredictions, Evaluation]:
    judgements = made_judgements(label_set, images, patients)
    return judgements, build_evaluation(judgements, ABOUT)


def test_an_evaluation_says_what_was_judged_and_survives_json() -> None:
    _, evaluation = evaluated()
    assert (evaluation.images, evaluation.patients, evaluation.threshold) == (400, 40, 0.4)
    assert (evaluation.locked_on, evaluation.warnings) == ("validation", (Caution("trained on", "made up"),))
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_a_locked_abstention_is_measured_on_the_images_of_the_evaluation() -> None:
    judgements = made_judgements(IDC)
    kept = build_evaluation(judgements, ABOUT, abstention=Abstention(0.1, 0.3, 0.9, 0.01, "validation")).abstention
    p = judgements.binary().probabilities
    sure = (p >= 0.7) | (p <= 0.3)
    assert kept is not None
    assert (kept.risk, kept.quantile, kept.protocol) == (0.1, 0.3, "test: made protocol")
    assert kept.coverage == pytest.approx(sure.mean())
    assert kept.error == pytest.approx(((p > 0.5) != judgements.binary().malignant)[sure].mean())


def test_every_binary_figure_is_there_by_image_and_by_patient_within_its_interval() -> None:
    _, evaluation = evaluated()
    for name in figure_names.BINARY_FIGURES:
        for unit in ("image", "patient"):
            figure = evaluation.figure(name, unit)
            if name == figure_names.PATIENT_RECOGNITION_RATE and unit == "image":
                assert figure is None
                continue
            assert figure is not None, (name, unit)
            assert figure.n == {"image": 400, "patient": 40}[unit]
            assert figure.low is not None, (name, unit)
            assert figure.high is not None
            assert figure.low < figure.high
    assert len({(f.name, f.unit) for f in evaluation.figures}) == len(evaluation.figures)


def test_patients_are_judged_by_their_mean_probability() -> None:
    judgements, evaluation = evaluated()
    by_patient = judgements.binary().by_patient()
    found = evaluation.figure(figure_names.AUC, "patient")
    assert found is not None
    assert found.value == pytest.approx(reference.roc_auc_score(by_patient.malignant, by_patient.probabilities))


def test_eight_classes_have_their_own_figures_beside_the_binary_ones() -> None:
    judgements, evaluation = evaluated(BREAKHIS)
    called = judgements.called(0.4)
    macro = evaluation.figure(figure_names.MACRO_F1)
    assert macro is not None
    assert macro.value == pytest.approx(reference.f1_score(judgements.labels, called, average="macro"))
    assert evaluation.figure(figure_names.of_class(figure_names.F1, "adenosis")) is not None
    assert evaluation.figure(figure_names.AUC) is not None
    assert evaluation.figure(figure_names.CLASS_RECOGNITION_RATE, "patient") is not None
    binary, classes = evaluation.confusions
    assert binary.classes == BINARY.classes
    assert classes.classes == BREAKHIS.classes
    assert np.array_equal(classes.counts, reference.confusion_matrix(judgements.labels, called))


def test_two_classes_have_binary_figures_only() -> None:
    _, evaluation = evaluated()
    assert evaluation.figure(figure_names.MACRO_F1) is None
    assert len(evaluation.confusions) == 1


def test_a_class_without_images_is_left_out_of_the_mean_auc() -> None:
    judgements = made_judgements(BREAKHIS)
    kept = judgements.labels != 0
    without = ClassPredictions(
        BREAKHIS,
        *(judgements.labels[kept], judgements.probabilities[kept], judgements.patient_ids[kept]),
        *(judgements.magnifications[kept], judgements.subtypes[kept]),
    )
    of_classes = [reference.roc_auc_score(without.labels == n, without.probabilities[:, n]) for n in range(1, 8)]
    found = build_evaluation(without, ABOUT).figure(figure_names.MACRO_AUC)
    assert found is not None
    assert found.value == pytest.approx(np.mean(of_classes))


def test_a_matrix_counts_images_and_different_patients() -> None:
    judgements = ClassPredictions(
        BINARY,
        np.array([1, 1, 1, 0]),
        np.array([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1], [0.6, 0.4]]),
        np.array(["a", "a", "a", "b"]),
        np.full(4, "40X"),
        np.full(4, "invasive"),
    )
    (matrix,) = build_evaluation(judgements, ABOUT).confusions
    assert matrix.counts == ((0, 1), (1, 2))
    assert matrix.patients == ((0, 1), (1, 1))


def test_groups_are_all_magnifications_subtypes_and_patients() -> None:
    judgements, evaluation = evaluated(BACH, 300, 12)
    judged = judgements.binary()
    wrong = (judged.probabilities >= 0.4) != judged.malignant
    right_class = judgements.called(0.4) == judgements.labels
    for kind, names in (
        ("magnification", judgements.magnifications),
        ("subtype", judgements.subtypes),
        ("patient", judgements.patient_ids),
    ):
        groups = [group for group in evaluation.groups if group.kind == kind]
        assert {group.name for group in groups} == set(names.tolist())
        assert sum(group.images for group in groups) == 300
        for group in groups:
            assert group.wrong == wrong[names == group.name].sum()
            accuracy = next(f for f in group.figures if (f.name, f.unit) == (figure_names.ACCURACY, "image"))
            assert accuracy.value == pytest.approx(1 - group.wrong / group.images)
            by_class = next(f for f in group.figures if (f.name, f.unit) == (figure_names.CLASS_ACCURACY, "image"))
            assert by_class.value == pytest.approx(right_class[names == group.name].mean())
    magnification = next(group for group in evaluation.groups if group.kind == "magnification")
    assert figure_names.PATIENT_RECOGNITION_RATE in {figure.name for figure in magnification.figures}
    patient = next(group for group in evaluation.groups if group.kind == "patient")
    assert all(figure.low is None for figure in patient.figures), "one patient has no spread of patients"


def test_a_patient_judged_benign_or_malignant_only_has_a_share_and_a_mean_probability() -> None:
    judgements, evaluation = evaluated(IDC, 60, 6)
    for group in evaluation.groups:
        if group.kind == "patient":
            share, mean = group.figures
            assert (share.name, mean.name) == (figure_names.ACCURACY, figure_names.MALIGNANT_PROBABILITY)
            own = judgements.patient_ids == group.name
            assert mean.value == pytest.approx(judgements.binary().probabilities[own].mean())


def test_images_of_one_kind_have_no_auc_and_no_roc_but_an_evaluation() -> None:
    judgements = made_judgements(IDC)
    evaluation = build_evaluation(judgements.only(judgements.labels == 1), ABOUT)
    assert evaluation.figure(figure_names.AUC) is None
    assert evaluation.figure(figure_names.RECALL) is not None
    assert {curve.kind for curve in evaluation.curves} == {"reliability", "risk_coverage"}
    assert Evaluation.from_json(evaluation.to_json()) == evaluation


def test_one_image_can_be_evaluated() -> None:
    judgements = made_judgements(IDC)
    evaluation = build_evaluation(judgements.only(np.arange(400) == 7), ABOUT)
    accuracy = evaluation.figure(figure_names.ACCURACY)
    assert accuracy is not None
    assert (accuracy.low, accuracy.high, accuracy.n) == (None, None, 1)


def test_curves_are_those_of_scikit_learn() -> None:
    judged = made_judgements(IDC, 150, 20).binary()
    roc, precision_recall, reliability, risk = compute_curves(judged, 0.4)
    x, y, _ = reference.roc_curve(judged.malignant, judged.probabilities)
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(np.trapezoid(y, x))
    precision, recall, _ = reference.precision_recall_curve(judged.malignant, judged.probabilities)
    # Past full recall scikit-learn adds nothing either; ours goes on down to the last image.
    assert set(zip(recall.round(9), precision.round(9), strict=True)) <= set(
        zip(np.round(precision_recall.x, 9), np.round(precision_recall.y, 9), strict=True)
    )
    assert sum(reliability.weights) == 150
    assert np.average(reliability.y, weights=reliability.weights) == pytest.approx(judged.malignant.mean())
    assert risk.x[-1] == 1
    assert risk.y[-1] == pytest.approx(((judged.probabilities >= 0.4) != judged.malignant).mean())


def test_curves_end_where_every_image_is_called_malignant() -> None:
    for malignant, roc_y, recall in (
        ([True, False, True], (0.0, 0.5, 0.5, 1.0), (0.0, 0.5, 0.5, 1.0)),
        ([False, True, False], (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)),
    ):
        roc, precision_recall, _, _ = compute_curves(BinaryPredictions.of(malignant, [0.9, 0.5, 0.1], list("abc")), 0.5)
        benign = [not one for one in malignant]
        assert roc.y == roc_y
        assert roc.x == tuple(np.append(0, np.cumsum(benign) / sum(benign)).tolist())
        assert precision_recall.x == recall


@pytest.mark.parametrize(
    ("threshold", "probabilities", "malignant"),
    [(1.0, [1, 1, 0.5, 0], [True, False, False, False]), (0.0, [0, 0, 0.5, 1], [True, False, True, True])],
)
def test_an_image_on_a_threshold_at_the_end_of_the_scale_is_the_least_sure(
    threshold: float, probabilities: list[float], malignant: list[bool]
) -> None:
    judged = BinaryPredictions.of(malignant, probabilities, list("abcd"))
    with np.errstate(all="raise"):
        risk = compute_curves(judged, threshold)[-1]
    # The two on the threshold come last and, being equally unsure, together; one of them is called wrongly.
    assert (risk.x, risk.y) == ((0.25, 0.5, 1.0), (0.0, 0.0, 0.25))


def test_long_curves_are_thinned_and_keep_their_ends_and_area() -> None:
    rng = np.random.default_rng(0)
    malignant = rng.random(8000) < 0.5
    judged = BinaryPredictions(malignant, rng.normal(malignant, 1.0), np.arange(8000).astype(str))
    roc, precision_recall, _, risk = compute_curves(judged, 0.5)
    for curve in (roc, precision_recall, risk):
        assert len(curve.x) == len(curve.y) <= MOST_POINTS
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    expected = reference.roc_auc_score(judged.malignant, judged.probabilities)
    assert np.trapezoid(roc.y, roc.x) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("threshold", "temperature"), [(0, 1), (1, 1), (0.5, 0)])
def test_an_evaluation_needs_a_usable_threshold_and_temperature(threshold: float, temperature: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        EvaluationDetails("m", "v", "d", "test", "p", threshold, temperature, "validation")


def test_a_tried_threshold_gives_what_an_evaluation_at_that_threshold_gives() -> None:
    judgements = made_judgements(IDC, 60, 12)
    whole = build_evaluation(judgements, replace(ABOUT, threshold=0.7))
    tried = try_threshold(judgements.binary(), 0.7)
    assert tried.confusion == whole.confusions[0]
    assert [figure.name for figure in tried.figures] == list(figure_names.THRESHOLD_RATES)
    for figure in tried.figures:
        assert figure == whole.figure(figure.name)


def test_a_tried_threshold_above_every_probability_has_no_precision() -> None:
    tried = try_threshold(made_judgements(IDC, 60, 12).binary(), 1.0)
    assert [figure.name for figure in tried.figures] == [
        figure_names.RECALL,
        figure_names.SPECIFICITY,
        figure_names.ACCURACY,
    ]
    assert tried.figures[0].value == 0
