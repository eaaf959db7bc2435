"""Time one table of agreement, counted by the database, against pandas and resampling case by case."""

import sqlite3
import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.labels import Malignancy
from core.reading.agreement import Agreement, count_labels, measure_agreement, reader_model_pairs
from core.results import Reading, ReadOpinion
from core.statistics.resampling import RESAMPLES
from training.benchmark.timing import Ratio, ratio, seconds_of

_CASES = 1_000_000
_SIDES: tuple[Malignancy, Malignancy] = ("benign", "malignant")
# All resamples would take the peer a minute, each the same time: a few are timed and multiplied.
_TIMED_RESAMPLES = 20
_COUNT = "SELECT reader, model, count(*) FROM labels GROUP BY reader, model ORDER BY reader, model"


def agreement(rounds: int) -> list[Ratio]:
    """Time the matrix of a reader and the model, its rate and kappa with its interval, for a million cases.

    The peer has the labels in memory; ours counts them in SQLite each time.
    """
    labels = make_labels(_CASES)
    frame = pd.DataFrame({"reader": labels[0], "model": labels[1]})
    database = fill(labels)
    by_counts(database)
    ratios = []
    for number in range(rounds):
        ours = seconds_of(lambda: by_counts(database)) if number % 2 else 0.0
        start = time.perf_counter()
        by_resampling(frame, _TIMED_RESAMPLES)
        resampled = time.perf_counter() - start
        once = seconds_of(lambda: by_resampling(frame, 0))
        ours = ours or seconds_of(lambda: by_counts(database))
        ratios.append((once + (resampled - once) * RESAMPLES / _TIMED_RESAMPLES) / ours)
    database.close()
    note = f"{_CASES:,} cases; {_TIMED_RESAMPLES} of {RESAMPLES} resamples of the peer timed and multiplied"
    return [ratio("matrix and kappa of a reader and the model against pandas", ">= 40", ratios, note)]


def make_labels(cases: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels of a reader and of a model that mostly agree, 0 or 1."""
    rng = np.random.default_rng(0)
    truth = rng.integers(2, size=cases)
    return truth ^ (rng.random(cases) < 0.15), truth ^ (rng.random(cases) < 0.2)


def fill(labels: tuple[NDArray[np.int64], NDArray[np.int64]]) -> sqlite3.Connection:
    """Return a database of these labels."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE labels (reader INTEGER NOT NULL, model INTEGER NOT NULL)")
    database.executemany("INSERT INTO labels VALUES (?, ?)", zip(*(each.tolist() for each in labels), strict=True))
    return database


def by_counts(database: sqlite3.Connection) -> tuple[Agreement, tuple[tuple[int, ...], ...]]:
    """Measure agreement as the page does: the database counts, and one reading stands for all that are alike."""
    readings = []
    for number, (reader, model, copies) in enumerate(database.execute(_COUNT)):
        final = ReadOpinion(_SIDES[reader], 3, 20, _SIDES[model])
        first = ReadOpinion(_SIDES[reader], 3, 20)
        readings.append(Reading(number, f"{number}", None, False, "dr. a", first, final, final, copies=copies))
    pairs = reader_model_pairs(readings, "before")
    return measure_agreement(pairs), count_labels(pairs)


def by_resampling(frame: pd.DataFrame, resamples: int) -> tuple[pd.DataFrame, float, NDArray[np.float64]]:
    """Measure it in the usual way: a crosstab, and kappa of cases drawn with replacement."""
    matrix = pd.crosstab(frame["reader"], frame["model"])
    cells = (frame["reader"] * 2 + frame["model"]).to_numpy()
    rng = np.random.default_rng(0)
    kappas = []
    for _ in range(resamples):
        drawn = cells[rng.integers(len(cells), size=len(cells))]
        kappas.append(_kappa(np.bincount(drawn, minlength=4).reshape(2, 2)))
    return matrix, _kappa(matrix.to_numpy()), np.quantile(kappas, [0.025, 0.975]) if kappas else np.array([])


def _kappa(matrix: NDArray[np.int64]) -> float:
    total = float(matrix.sum())
    by_chance = float((matrix.sum(axis=0) * matrix.sum(axis=1)).sum()) / total**2
    return (float(np.trace(matrix)) / total - by_chance) / (1 - by_chance)
