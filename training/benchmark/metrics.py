"""Time the intervals of an evaluation against a plain loop of scikit-learn calls over the same resamples."""

import time

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from core.labels import BREAKHIS, IDC, LabelSet
from core.statistics.evaluate import compute_metrics
from core.statistics.predictions import BinaryPredictions, ClassPredictions
from core.statistics.resampling import RESAMPLES, Weights, resample_patients
from training.benchmark.timing import Ratio, ratio

_IMAGES, _PATIENTS = 8000, 80
_THRESHOLD = 0.5
# All resamples would take the plain loop minutes, each the same time: a few are timed and multiplied.
_TIMED_RESAMPLES = 20


def bootstrap(rounds: int) -> list[Ratio]:
    """Time all figures of 8,000 images of 80 patients with their intervals, alternating with the plain loop.

    The loop computes the same figures by image and by patient for as many resamples, but without the jackknife over
    patients and the bias corrections that our code also computes.
    """
    binary, subtypes = _judgements(IDC), _judgements(BREAKHIS)
    draws = resample_patients(binary.binary().strata(), _TIMED_RESAMPLES, 0)
    compute_metrics(binary, _THRESHOLD)
    loop_of_scikit_learn(binary, draws[:1])
    ratios, seconds, of_subtypes = [], [], []
    for number in range(rounds):
        ours = _seconds_of_ours(binary) if number % 2 else 0.0
        peer = _seconds_of_loop(binary, draws)
        ours = ours or _seconds_of_ours(binary)
        ratios.append(peer / ours)
        seconds.append(ours)
        of_subtypes.append(_seconds_of_ours(subtypes))
    size = f"{RESAMPLES} resamples of {_IMAGES} images of {_PATIENTS} patients"
    return [
        ratio(
            "bootstrap of all binary figures against a loop of scikit-learn calls",
            ">= 20",
            ratios,
            f"{size}; {_TIMED_RESAMPLES} resamples of the loop timed, times {RESAMPLES // _TIMED_RESAMPLES}",
        ),
        ratio("seconds of that bootstrap", "<= 5", seconds, "27 figures, by image and by patient, with BCa"),
        ratio(
            "seconds of the bootstrap of eight subtypes", "<= 5", of_subtypes, "116 figures, the binary ones included"
        ),
    ]


def _judgements(label_set: LabelSet) -> ClassPredictions:
    rng = np.random.default_rng(0)
    classes = len(label_set.classes)
    person = np.arange(_IMAGES) % _PATIENTS
    labels = (np.arange(_PATIENTS) % classes)[person]
    patient_logits = np.eye(classes)[labels] + rng.normal(0, 0.7, (_PATIENTS, classes))[person]
    odds = np.exp(patient_logits + rng.normal(0, 1, (_IMAGES, classes)))
    words = np.full(_IMAGES, "100X")
    return ClassPredictions(label_set, labels, odds / odds.sum(axis=1, keepdims=True), person.astype(str), words, words)


def _seconds_of_ours(judgements: ClassPredictions) -> float:
    start = time.perf_counter()
    compute_metrics(judgements, _THRESHOLD)
    return time.perf_counter() - start


def _seconds_of_loop(judgements: ClassPredictions, draws: Weights) -> float:
    start = time.perf_counter()
    loop_of_scikit_learn(judgements, draws)
    return (time.perf_counter() - start) * RESAMPLES / len(draws)


def loop_of_scikit_learn(judgements: ClassPredictions, draws: Weights) -> NDArray[np.float64]:
    """Compute all figures the plain way: collect the images of each draw and call one function for each figure."""
    judged = judgements.binary()
    patients = np.unique(judged.patient_ids)
    images_of = [np.flatnonzero(judged.patient_ids == patient) for patient in patients]
    by_patient = judged.by_patient()
    figures = []
    for draw in draws.astype(int):
        drawn = np.repeat(np.arange(len(patients)), draw)
        rows = np.concatenate([images_of[patient] for patient in drawn])
        right = (judged.probabilities >= _THRESHOLD) == judged.malignant
        recognised = [right[images_of[patient]].mean() for patient in drawn]
        figures.append(
            [*_by_scikit_learn(judged, rows), float(np.mean(recognised)), *_by_scikit_learn(by_patient, drawn)]
        )
    return np.array(figures)


def _by_scikit_learn(judged: BinaryPredictions, rows: NDArray[np.int64]) -> list[float]:
    truth, p = judged.malignant[rows], judged.probabilities[rows]
    called = p >= _THRESHOLD
    return [
        sklearn_metrics.accuracy_score(truth, called),
        sklearn_metrics.balanced_accuracy_score(truth, called),
        sklearn_metrics.roc_auc_score(truth, p),
        sklearn_metrics.average_precision_score(truth, p),
        sklearn_metrics.precision_score(truth, called, zero_division=0),
        sklearn_metrics.recall_score(truth, called),
        sklearn_metrics.recall_score(truth, called, pos_label=False),
        sklearn_metrics.f1_score(truth, called),
        sklearn_metrics.matthews_corrcoef(truth, called),
        sklearn_metrics.cohen_kappa_score(truth, called),
        sklearn_metrics.brier_score_loss(truth, p),
        _calibration_error(truth, p),
        sklearn_metrics.log_loss(truth, p),
    ]


def _calibration_error(truth: NDArray[np.bool_], p: NDArray[np.float64]) -> float:
    edges = np.quantile(p, np.linspace(0, 1, 16)[1:-1])
    bins = np.digitize(p, edges)
    gaps = [(bins == b).mean() * abs(p[bins == b].mean() - truth[bins == b].mean()) for b in np.unique(bins)]
    return float(sum(gaps))
