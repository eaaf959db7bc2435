"""Every patient counts the same, and so does every class."""

import numpy as np
import pytest

from core.statistics.weights import weigh_patients, weigh_patients_in_classes


def test_every_patient_weighs_the_same() -> None:
    weights = weigh_patients(np.array(["a", "a", "a", "b"]))
    assert weights[:3].sum() == pytest.approx(weights[3])
    assert weights.mean() == pytest.approx(1)


def test_both_classes_weigh_the_same_however_many_patients_they_have() -> None:
    weights = weigh_patients_in_classes(np.array([0, 1, 1, 1, 1]), np.array(["a", "b", "b", "c", "d"]))
    np.testing.assert_allclose(weights, np.array([1 / 2, 1 / 12, 1 / 12, 1 / 6, 1 / 6]) * 5)


def test_a_patient_with_images_of_two_classes_counts_in_each() -> None:
    weights = weigh_patients_in_classes(np.array([0, 0, 1]), np.array(["a", "b", "a"]))
    np.testing.assert_allclose(weights, np.array([1 / 4, 1 / 4, 1 / 2]) * 3)
