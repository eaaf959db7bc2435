"""Stored comparisons of two image sets, made up, for the charts and the page that show them."""

from dataclasses import replace

import numpy as np

from core.statistics.cautions import Caution
from core.statistics.compare_sets import MeasuredSet, measure_shift
from core.statistics.evaluation import Figure
from core.statistics.shift import Shift, Step
from core.statistics.tissue_statistics import STATISTICS

MODEL = ("a network", "0123456789ab")


def measured(name: str, seed: int, away: float, patients: int = 6, each: int = 3) -> MeasuredSet:
    """Make features and statistics of patients who differ among each other, `away` from the origin."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(0, 1, (patients, 8)) + away, each, axis=0)
    rows = rng.normal(0, 0.3, (patients * each, len(STATISTICS))) + centres[:, :1]
    ids = np.repeat([f"{name} {number}" for number in range(patients)], each)
    return MeasuredSet(name, centres + rng.normal(0, 0.3, centres.shape), rows, ids)


def figure(value: float, half: float | None = 0.05, name: str = "AUC") -> Figure:
    """Make a figure with an interval of twice `half`; none without it."""
    low, high = (None, None) if half is None else (value - half, value + half)
    return Figure(name, value, low, high, "image", 18)


STEPS = (
    Step("as the card says: eight views (TTA), no stain normalisation", 18, figure(0.70), None),
    Step("one view only (no TTA)", 18, figure(0.68), figure(-0.02, None, "change of AUC")),
    Step("Reinhard", 18, figure(0.75), figure(0.05, 0.03, "change of AUC")),
)


def shifted(away: float = 4.0, source: str = "here", target: str = "there") -> Shift:
    """Compare two made-up sets of six patients, with an AUC that drops from 0.90 to 0.70."""
    found = measure_shift(measured(source, 1, 0), measured(target, 2, away), MODEL)
    drop = figure(0.20, 0.10, "drop of AUC")
    return replace(
        found,
        steps=STEPS,
        source_auc=figure(0.90),
        drop=drop,
        trained_on=(6, 0),
        warnings=(Caution("trained on", "the network was trained on 6 of 6 patients of here: its AUC there flatters"),),
    )
