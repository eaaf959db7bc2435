"""The head that is solved: a logistic regression in which patients weigh the same, shrunk as folds of patients ask."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from core.data.datasets import LabelledImage
from core.fitting.config import FitConfig, Phase
from core.fitting.held_out import HeldOutImages
from core.fitting.loop import Work, fit
from core.fitting.solved_head import solve_head
from tests.helpers.runs.fits import CONFIG, tiny_network, weights_of

SOLVED = replace(CONFIG, phases=(Phase("head", 1, "head", shrinkage=(1.0,)),), generated=None, averaging=0.0)


def _features(
    seed: int, patients: int = 12, each: int = 3, signal: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Make features of ten channels, the first of which tells the classes apart, for as many patients of either."""
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(patients, dtype=np.int64) % 2, each)
    features = rng.normal(0, 1, (patients * each, 10)) * np.geomspace(0.1, 10, 10)
    features[:, 0] += 0.1 * signal * classes
    return features, classes


def _ids(patients: int = 12, each: int = 3) -> list[str]:
    return [f"P{number}" for number in range(patients) for _ in range(each)]


def test_it_is_a_logistic_regression_over_standardised_features() -> None:
    features, classes = _features(1)
    solved = solve_head(features, classes, _ids(), [2.0])
    standardised = (features - features.mean(axis=0)) / features.std(axis=0)
    reference = LogisticRegression(C=1 / (2.0 * 10), tol=1e-8, max_iter=5000).fit(standardised, classes)
    np.testing.assert_allclose(
        solved.log_odds(features), reference.decision_function(standardised), rtol=1e-3, atol=1e-3
    )
    signed = reference.decision_function(standardised) * np.where(classes == 1, 1, -1)
    assert solved.loss == pytest.approx(np.logaddexp(0, -signed).mean(), rel=1e-3)


def test_a_patient_with_many_images_weighs_as_much_as_one_with_few() -> None:
    features, classes = _features(2)
    ids = _ids()
    once = solve_head(features, classes, ids, [2.0])
    own = [row for row, patient in enumerate(ids) if patient == "P0"]
    again = [*range(len(ids)), *own * 5]
    more = solve_head(features[again], classes[again], [ids[row] for row in again], [2.0 * len(again) / len(ids)])
    np.testing.assert_allclose(more.weights, once.weights, rtol=2e-3, atol=1e-4)


def test_a_larger_shrinkage_makes_smaller_weights() -> None:
    features, classes = _features(3)
    sizes = [np.linalg.norm(solve_head(features, classes, _ids(), [s]).weights * features.std(axis=0)) for s in (1, 9)]
    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize(("signal", "expected"), [(0.0, 100.0), (30.0, 0.01)])
def test_folds_of_patients_choose_the_shrinkage(signal: float, expected: float) -> None:
    features, classes = _features(4, signal=signal)
    assert solve_head(features, classes, _ids(), [0.01, 100.0]).shrinkage == expected


def test_with_one_patient_of_a_class_the_strongest_shrinkage_is_taken() -> None:
    features, classes = _features(5, patients=2)
    assert solve_head(features, classes, _ids(2), [0.01, 100.0]).shrinkage == 100.0


def test_one_class_alone_is_refused() -> None:
    features, _ = _features(6)
    with pytest.raises(ValueError, match="at least two classes"):
        solve_head(features, np.zeros(len(features), np.int64), _ids(), [1.0])


def _solved_by_hand(images: Sequence[LabelledImage], config: FitConfig) -> tuple[torch.Tensor, NDArray[np.float64]]:
    network = tiny_network(config)
    features = HeldOutImages(images, config, None, torch.device("cpu")).mean_features(network, None)
    classes = np.array([image.class_in(config.label_set) for image in images])
    solved = solve_head(features, classes, [image.patient_id for image in images], [1.0])
    return torch.from_numpy(features).float(), solved.log_odds(features)


def test_a_run_solves_its_head_and_leaves_the_branches_alone(images: list[LabelledImage]) -> None:
    network = tiny_network(SOLVED)
    before = {name: value.clone() for name, value in network.branches.state_dict().items()}
    history = fit(network, images, [], SOLVED)
    assert [(epoch.phase, epoch.number) for epoch in history.epochs] == [("head", 1)]
    assert all(torch.equal(value, before[name]) for name, value in network.branches.state_dict().items())
    features, log_odds = _solved_by_hand(images, SOLVED)
    with torch.no_grad():
        logits = network.head(features)
    np.testing.assert_allclose((logits[:, 1] - logits[:, 0]).numpy(), log_odds, rtol=1e-3, atol=1e-4)


def test_folds_of_one_pool_solve_the_head_from_the_same_cached_features(
    images: list[LabelledImage], tmp_path: Path
) -> None:
    alone, pooled = tiny_network(SOLVED), tiny_network(SOLVED)
    part = images[::3]
    fit(alone, part, [], SOLVED)
    fit(pooled, part, [], SOLVED, work=Work(cache=tmp_path, pool=tuple(images)))
    fit(tiny_network(SOLVED), images, [], SOLVED, work=Work(cache=tmp_path, pool=tuple(images)))
    assert len(list(tmp_path.glob("features-*.f32"))) == 1
    torch.testing.assert_close(weights_of(alone), weights_of(pooled), rtol=1e-4, atol=1e-5)


def test_a_later_phase_goes_on_from_the_solved_head(images: list[LabelledImage]) -> None:
    still = Phase("still", 1, "head", 1e-12, cached=1)
    config = replace(SOLVED, phases=(*SOLVED.phases, still), averaging=0.9)
    solved, later = tiny_network(SOLVED), tiny_network(config)
    fit(solved, images, [], SOLVED)
    fit(later, images, [], config)
    torch.testing.assert_close(weights_of(later), weights_of(solved), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "published"}, "one linear layer"),
        ({"fusion": "cross_attention"}, "one linear layer"),
        ({"magnification": "input"}, "one linear layer"),
        ({"task": "subtypes"}, "one linear layer"),
        ({"keep": "best"}, "no epochs to choose from"),
    ],
)
def test_a_head_that_cannot_be_solved_is_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SOLVED, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", [("head", 2, "head"), ("head", 1, "last:1")])
def test_a_solved_phase_has_one_epoch_and_learns_the_head_only(phase: tuple[str, int, str]) -> None:
    with pytest.raises(ValueError, match="needs one epoch"):
        Phase(*phase, shrinkage=(1.0,))
