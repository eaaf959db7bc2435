import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as reference
from statsmodels.stats.inter_rater import cohens_kappa

from core.labels import BACH, BREAKHIS, IDC
from core.statistics import confusion_matrices, figure_names
from core.statistics.predictions import BinaryPredictions, ClassPredictions, auc
from core.statistics.resampling import Ranking, resample_patients
from core.statistics.tallies import BinaryTally, ClassTally, calibration_bins
from tests.helpers.judgements import made_judgements

THRESHOLD = 0.4


def binary_figures(judged: BinaryPredictions, weights: np.ndarray, row: int = 0) -> dict[str, float]:
    return {c.name: float(c.values[row]) for c in BinaryTally(judged, THRESHOLD).columns(weights)}


def reference_binary(judged: BinaryPredictions, sample_weight: np.ndarray) -> dict[str, float]:
    """The same figures by scikit-learn, one resample at a time."""
    truth, p = judged.malignant, judged.probabilities
    called, w = p >= THRESHOLD, {"sample_weight": sample_weight}
    return {
        figure_names.ACCURACY: reference.accuracy_score(truth, called, **w),
        figure_names.BALANCED_ACCURACY: reference.balanced_accuracy_score(truth, called, **w),
        figure_names.AUC: reference.roc_auc_score(truth, p, **w),
        figure_names.PR_AUC: reference.average_precision_score(truth, p, **w),
        figure_names.PRECISION: reference.precision_score(truth, called, **w),
        figure_names.RECALL: reference.recall_score(truth, called, **w),
        figure_names.SPECIFICITY: reference.recall_score(truth, called, pos_label=0, **w),
        figure_names.F1: reference.f1_score(truth, called, **w),
        figure_names.MCC: reference.matthews_corrcoef(truth, called, **w),
        figure_names.KAPPA: reference.cohen_kappa_score(truth, called, **w),
        figure_names.BRIER: reference.brier_score_loss(truth, p, **w),
        figure_names.LOG_LOSS: reference.log_loss(truth, p, **w),
    }


@given(seed=st.integers(0, 10_000), images=st.integers(40, 300), patients=st.integers(4, 30))
@settings(max_examples=25)
def test_binary_figures_of_any_resample_are_those_of_scikit_learn(seed: int, images: int, patients: int) -> None:
    judged = made_judgements(IDC, images, patients, seed).binary()
    weights = resample_patients(judged.strata(), 3, seed)
    place = np.unique(judged.patient_ids, return_inverse=True)[1]
    for row in range(3):
        ours = binary_figures(judged, weights, row)
        for name, value in reference_binary(judged, weights[row][place]).items():
            # scikit-learn gives 0 where a precision is undefined; ours says so.
            assert ours[name] == pytest.approx(value, abs=1e-9) or np.isnan(ours[name]), name


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10)
def test_class_figures_of_any_resample_are_those_of_scikit_learn(seed: int) -> None:
    judgements = made_judgements(BREAKHIS, 500, 40, seed)
    truth, called = judgements.labels, judgements.called(THRESHOLD)
    place = np.unique(judgements.patient_ids, return_inverse=True)[1]
    weights = resample_patients(judgements.labels[np.unique(place, return_index=True)[1]], 1, seed)
    ours = {c.name: float(c.values[0]) for c in ClassTally(judgements, THRESHOLD).columns(weights)}
    w = weights[0][place]
    by_class = reference.precision_recall_fscore_support(
        truth, called, labels=range(8), sample_weight=w, zero_division=0
    )
    hits = np.eye(8)[truth]
    expected = {
        figure_names.CLASS_ACCURACY: reference.accuracy_score(truth, called, sample_weight=w),
        figure_names.MACRO_RECALL: reference.balanced_accuracy_score(truth, called, sample_weight=w),
        figure_names.MACRO_PRECISION: by_class[0].mean(),
        figure_names.MACRO_F1: by_class[2].mean(),
        figure_names.MICRO_F1: reference.f1_score(truth, called, average="micro", sample_weight=w),
        figure_names.MACRO_AUC: reference.roc_auc_score(
            hits, judgements.probabilities, average="macro", sample_weight=w
        ),
        figure_names.MACRO_PR_AUC: reference.average_precision_score(hits, judgements.probabilities, sample_weight=w),
        figure_names.CLASS_MCC: reference.matthews_corrcoef(truth, called, sample_weight=w),
        figure_names.CLASS_KAPPA: reference.cohen_kappa_score(truth, called, sample_weight=w),
        figure_names.CLASS_LOG_LOSS: reference.log_loss(truth, judgements.probabilities, sample_weight=w),
        figure_names.CLASS_BRIER: np.average(((judgements.probabilities - hits) ** 2).sum(axis=1), weights=w),
    }
    for position, label in enumerate(BREAKHIS.classes):
        expected[figure_names.of_class(figure_names.RECALL, label)] = by_class[1][position]
        if (w * (called == position)).any():  # scikit-learn gives 0 where a precision is undefined
            expected[figure_names.of_class(figure_names.PRECISION, label)] = by_class[0][position]
        expected[figure_names.of_class(figure_names.F1, label)] = by_class[2][position]
        others = reference.recall_score(truth != position, called != position, sample_weight=w)
        expected[figure_names.of_class(figure_names.SPECIFICITY, label)] = others
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, abs=1e-9), name


@given(
    hnp.arrays(np.int64, (4, 4), elements=st.integers(0, 40)).filter(lambda table: (table.sum(axis=1) > 0).sum() > 1)
)
def test_kappa_is_that_of_statsmodels(table: np.ndarray) -> None:
    expected = cohens_kappa(table, return_results=False)
    assert confusion_matrices.kappa(table[None].astype(float))[0] == pytest.approx(expected)


def test_the_published_matrix_gives_the_published_recalls() -> None:
    # EfficientNet-B0 on BreaKHis, patient-wise 70/15/15, at its Youden threshold: rows benign, malignant.
    counts = np.array([[[220.0, 162.0], [59.0, 468.0]]])
    benign, malignant = confusion_matrices.recalls(counts)[0]
    assert (round(malignant, 3), round(benign, 3)) == (0.888, 0.576)
    assert confusion_matrices.accuracy(counts)[0] == pytest.approx(688 / 909)
    assert confusion_matrices.specificities(counts)[0].tolist() == pytest.approx([malignant, benign])


def test_the_published_matrix_gives_the_same_figures_image_by_image() -> None:
    truth = np.repeat([False, False, True, True], [220, 162, 59, 468])
    called = np.repeat([False, True, False, True], [220, 162, 59, 468])
    judged = BinaryPredictions(truth, called.astype(float), np.arange(909).astype(str))
    found = binary_figures(judged, np.ones((1, 909)))
    assert (round(found[figure_names.RECALL], 3), round(found[figure_names.SPECIFICITY], 3)) == (0.888, 0.576)


def test_ties_count_half_and_an_auc_without_a_side_is_undefined() -> None:
    judged = BinaryPredictions.of([True, True, False, False], [0.9, 0.2, 0.2, 0.1], ["a", "b", "c", "d"])
    ranking = Ranking(judged.malignant, judged.probabilities, judged.patient_ids)
    weights = np.array([[1.0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    assert ranking.auc(weights)[0] == auc(judged.malignant, judged.probabilities) == 0.875
    assert np.isnan(ranking.auc(weights)[1:]).all()
    assert np.isnan(ranking.average_precision(weights)).tolist() == [False, False, True, True]


def test_figures_that_a_sample_leaves_undefined_are_no_numbers() -> None:
    all_benign = binary_figures(BinaryPredictions.of([False, False], [0.1, 0.2], ["a", "b"]), np.ones((1, 2)))
    assert {name for name, value in all_benign.items() if np.isnan(value)} == {
        figure_names.BALANCED_ACCURACY,
        figure_names.AUC,
        figure_names.PR_AUC,
        figure_names.PRECISION,
        figure_names.RECALL,
        figure_names.F1,
        figure_names.MCC,
        figure_names.KAPPA,
    }
    assert all_benign[figure_names.SPECIFICITY] == 1


def test_macro_averages_leave_out_classes_that_do_not_occur() -> None:
    counts = np.array([[[3.0, 1, 0], [0, 2, 2], [0, 0, 0]]])
    assert confusion_matrices.macro(confusion_matrices.recalls(counts), counts)[0] == pytest.approx((0.75 + 0.5) / 2)


def test_the_calibration_error_is_the_mean_gap_of_bins_of_equal_mass() -> None:
    judged = made_judgements(IDC, 600, 40).binary()
    p, truth = judged.probabilities, judged.malignant
    bins = calibration_bins(p)
    gaps = [(bins == b).mean() * abs(p[bins == b].mean() - truth[bins == b].mean()) for b in np.unique(bins)]
    assert len(gaps) == 15
    assert max(np.bincount(bins)) <= 2 * 600 / 15
    assert binary_figures(judged, np.ones((1, 40)))[figure_names.ECE] == pytest.approx(sum(gaps))


@pytest.mark.parametrize(("images", "bins"), [(19, 1), (20, 2), (149, 14), (150, 15), (10_000, 15)])
def test_calibration_bins_hold_ten_or_more(images: int, bins: int) -> None:
    dealt = calibration_bins(np.linspace(0, 1, images))
    assert len(np.unique(dealt)) == bins
    assert np.bincount(dealt).min() >= min(images, 9)


def test_a_recognition_rate_averages_over_patients() -> None:
    # Spanhol 2016: two of three right, one of one right, none of two.
    judged = BinaryPredictions.of([True, True, True, False, True, True], [0.9, 0.8, 0.1, 0.2, 0.1, 0.3], list("aaabcc"))
    found = binary_figures(judged, np.array([[1.0, 1, 1]]))
    assert found[figure_names.PATIENT_RECOGNITION_RATE] == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_the_recognition_rate_of_classes_averages_over_the_patients_of_each_resample() -> None:
    # As above, of four classes: two of three right, one of one right, none of two.
    said = np.array([3, 3, 0, 1, 0, 1])
    judgements = ClassPredictions(
        BACH, np.array([3, 3, 3, 1, 2, 2]), np.eye(4)[said], np.array(list("aaabcc")), np.full(6, ""), np.full(6, "")
    )
    weights = np.array([[1.0, 1, 1], [2, 0, 1], [0, 3, 0]])
    found = {c.name: c.values for c in ClassTally(judgements, THRESHOLD).columns(weights)}
    assert found[figure_names.CLASS_RECOGNITION_RATE] == pytest.approx([(2 / 3 + 1) / 3, 4 / 9, 1])


def test_the_calibration_error_of_classes_is_that_of_the_called_class_in_each_resample() -> None:
    judgements = made_judgements(BACH, 400, 30)
    called, place = judgements.called(THRESHOLD), np.unique(judgements.patient_ids, return_inverse=True)[1]
    gap = judgements.probabilities[np.arange(400), called] - (called == judgements.labels)
    bins = calibration_bins(judgements.probabilities[np.arange(400), called])
    weights = resample_patients(np.zeros(30, np.int64), 3, 0)
    found = {c.name: c.values for c in ClassTally(judgements, THRESHOLD).columns(weights)}
    for row, w in enumerate(weights[:, place]):
        expected = sum(abs((w * gap)[bins == one].sum()) for one in np.unique(bins)) / w.sum()
        assert found[figure_names.CLASS_ECE][row] == pytest.approx(expected)


def test_an_image_is_called_by_the_side_first_and_then_by_its_class() -> None:
    judgements = ClassPredictions(
        BACH,
        np.array([2, 1]),
        np.array([[0.1, 0.36, 0.34, 0.2], [0.3, 0.4, 0.2, 0.1]]),
        np.array(["a", "b"]),
        np.array(["", ""]),
        np.array(["", ""]),
    )
    assert judgements.called(0.5).tolist() == [2, 1]
    assert judgements.called(0.25).tolist() == [2, 2]
    assert judgements.binary().probabilities.tolist() == pytest.approx([0.54, 0.3])


def test_a_patient_of_several_classes_is_malignant_if_any_image_is() -> None:
    judgements = ClassPredictions(
        BACH,
        np.array([0, 0, 3, 1, 1, 0]),
        np.tile([0.25, 0.25, 0.25, 0.25], (6, 1)),
        np.array(["a", "a", "a", "b", "b", "b"]),
        np.full(6, ""),
        np.full(6, ""),
    )
    by_patient = judgements.by_patient()
    assert by_patient.labels.tolist() == [3, 1]
    assert by_patient.binary().malignant.tolist() == judgements.binary().by_patient().malignant.tolist()


@pytest.mark.parametrize(
    ("labels", "probabilities", "complaint"),
    [
        ([2], [[0.5, 0.5]], "indices"),
        ([0], [[0.5, 0.4]], "add up"),
        ([0], [[1.5, -0.5]], "add up"),
        ([0], [[np.nan, 0.5]], "add up"),
        ([0], [[1.0]], "probabilities of"),
        ([], np.empty((0, 2)), "nothing to evaluate"),
    ],
)
def test_wrong_judgements_cannot_be_made(labels: list[int], probabilities: list[list[float]], complaint: str) -> None:
    words = np.full(len(labels), "x")
    with pytest.raises(ValueError, match=complaint):
        ClassPredictions(IDC, np.array(labels, np.int64), np.array(probabilities), words, words, words)
    with pytest.raises(ValueError, match="the same length"):
        ClassPredictions(IDC, np.array([0]), np.array([[0.5, 0.5]]), np.array(["a", "b"]), words, words)
