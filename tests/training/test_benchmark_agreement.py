"""The timed peer of the table of agreement computes the same figures."""

import pandas as pd
import pytest

from training.benchmark.agreement import by_counts, by_resampling, fill, make_labels


def test_counts_and_resampled_cases_give_the_same_matrix_kappa_and_nearly_the_same_interval() -> None:
    labels = make_labels(2000)
    ours, counts = by_counts(fill(labels))
    matrix, kappa, interval = by_resampling(pd.DataFrame({"reader": labels[0], "model": labels[1]}), 2000)
    assert [list(row[:2]) for row in counts[:2]] == matrix.to_numpy().tolist()
    assert ours.kappa.value == pytest.approx(kappa)
    assert (ours.kappa.low, ours.kappa.high) == pytest.approx(tuple(interval), abs=0.004)
