"""Decides whether a classifier may compute in bfloat16: only if nothing a reader sees would change."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from core.classifier import Classifier
from core.pipeline import analyse_image
from core.results import Heatmap, RgbImage

PROBABILITY_TOLERANCE = 0.01
MAP_CORRELATION = 0.95


@dataclass(frozen=True, slots=True)
class PrecisionGate:
    """How far bfloat16 strays from fp32 over a set of labelled images, with trained weights."""

    images: int
    labels_changed: int
    largest_difference: float  # of the malignant probability
    lowest_correlation: float  # of the heat maps

    @property
    def passed(self) -> bool:
        """Whether bfloat16 may be used: no label changed, probabilities and maps close."""
        close = self.largest_difference <= PROBABILITY_TOLERANCE and self.lowest_correlation >= MAP_CORRELATION
        return self.images > 0 and self.labels_changed == 0 and close


def bf16_gate(classifier: Classifier, images: Iterable[RgbImage]) -> PrecisionGate:
    """Analyse every image in both precisions and keep the worst of each difference.

    A few images are not enough: low precision that flips two labels in fifteen passes a check on six.
    """
    exact = classifier.with_card(replace(classifier.card, precision="fp32"))
    short = classifier.with_card(replace(classifier.card, precision="bf16"))
    count, changed, difference, correlation = 0, 0, 0.0, 1.0
    for image in images:
        one, other = analyse_image(image, exact), analyse_image(image, short)
        if one.prediction is None or other.prediction is None:
            changed += one.prediction is not other.prediction
            continue
        count += 1
        changed += one.prediction.label != other.prediction.label
        apart = abs(one.prediction.malignant_probability - other.prediction.malignant_probability)
        difference = max(difference, apart)
        if one.heatmap is not None and other.heatmap is not None:
            correlation = min(correlation, map_correlation(one.heatmap, other.heatmap))
    return PrecisionGate(count, changed, difference, correlation)


def map_correlation(one: Heatmap, other: Heatmap) -> float:
    """Give Pearson's correlation of two maps; two flat maps say the same and correlate fully."""
    flat = [float(np.ptp(heatmap)) == 0 for heatmap in (one, other)]
    if any(flat):
        return 1.0 if all(flat) else 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
