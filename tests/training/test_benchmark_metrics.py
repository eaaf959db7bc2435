import numpy as np
import pytest

from core.labels import IDC
from core.statistics.figure_names import BINARY_FIGURES, ECE, PATIENT_RECOGNITION_RATE
from core.statistics.resampling import resample_patients
from core.statistics.tallies import BinaryTally
from tests.helpers.judgements import made_judgements
from training.benchmark.metrics import bootstrap, loop_of_scikit_learn


def test_the_plain_loop_computes_what_ours_computes() -> None:
    judgements = made_judgements(IDC)
    judged = judgements.binary()
    draws = resample_patients(judged.strata(), 5, 0)
    images = [column.values for column in BinaryTally(judged, 0.5).columns(draws)]
    patients = [column.values for column in BinaryTally(judged.by_patient(), 0.5).columns(draws)][:-1]
    names = [*BINARY_FIGURES, *(name for name in BINARY_FIGURES if name != PATIENT_RECOGNITION_RATE)]
    looped = loop_of_scikit_learn(judgements, draws)
    assert looped.shape == (5, 27)
    # The loop bins each resample anew, so its calibration error is another one.
    same = np.array([name != ECE for name in names])
    assert np.stack([*images, *patients], axis=1)[:, same] == pytest.approx(looped[:, same])


@pytest.mark.slow
def test_all_resamples_take_far_less_than_the_loop() -> None:
    against, seconds, _ = bootstrap(1)
    assert against.median >= 20
    assert seconds.median <= 5
