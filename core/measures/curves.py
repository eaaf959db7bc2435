"""The curves of benign against malignant, thin enough to store and draw."""

import numpy as np
from numpy.typing import NDArray

from core.evaluation import Curve, CurveKind
from core.measures.tallies import calibration_bins
from core.metrics import Judged

MOST_POINTS = 400


def curves(judged: Judged, threshold: float) -> tuple[Curve, ...]:
    """Draw ROC and precision-recall (where both sides occur), reliability and risk-coverage curves."""
    ranked = (_roc(judged), _precision_recall(judged)) if 0 < judged.malignant.mean() < 1 else ()
    return (*ranked, _reliability(judged), _risk_coverage(judged, threshold))


def _called_above(judged: Judged) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count malignant and benign images at or above each probability that occurs, highest first."""
    order = np.argsort(-judged.probabilities, kind="stable")
    last = np.append(np.diff(judged.probabilities[order]) != 0, True)
    malignant = judged.malignant[order]
    return np.cumsum(malignant)[last].astype(np.float64), np.cumsum(~malignant)[last].astype(np.float64)


def _roc(judged: Judged) -> Curve:
    right, wrong = _called_above(judged)
    x, y = np.append(0, wrong / wrong[-1]), np.append(0, right / right[-1])
    # Points on a straight line between their neighbours draw nothing.
    corner = np.ones(len(x), bool)
    corner[1:-1] = (np.diff(x)[1:] * np.diff(y)[:-1] - np.diff(x)[:-1] * np.diff(y)[1:]) != 0
    return _curve("roc", x[corner], y[corner])


def _precision_recall(judged: Judged) -> Curve:
    right, wrong = _called_above(judged)
    return _curve("precision_recall", np.append(0, right / right[-1]), np.append(1, right / (right + wrong)))


def _reliability(judged: Judged) -> Curve:
    """Give each bin's mean probability, its share of malignant images, and how many images it holds."""
    _, place, count = np.unique(calibration_bins(judged.probabilities), return_inverse=True, return_counts=True)
    mean = np.bincount(place, judged.probabilities) / count
    share = np.bincount(place, judged.malignant) / count
    return Curve("reliability", _floats(mean), _floats(share), tuple(int(n) for n in count))


def _risk_coverage(judged: Judged, threshold: float) -> Curve:
    """Give the share of wrong calls among the surest images, for every share of images kept.

    Surest are those farthest from the threshold, on its own side of the scale from 0 to 1. A threshold at an end of
    the scale leaves no room on that side: an image there is as unsure as one can be.
    """
    p = judged.probabilities
    called = p >= threshold
    room = np.where(called, 1 - threshold, threshold)
    sureness = np.divide(np.abs(p - threshold), room, out=np.zeros_like(p), where=room > 0)
    order = np.argsort(-sureness, kind="stable")
    last = np.append(np.diff(sureness[order]) != 0, True)
    kept = np.arange(1, len(p) + 1)
    risk = np.cumsum((called != judged.malignant)[order]) / kept
    return _curve("risk_coverage", (kept / len(p))[last], risk[last])


def _curve(kind: CurveKind, x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(np.int64))
    return Curve(kind, _floats(x[chosen]), _floats(y[chosen]))


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
