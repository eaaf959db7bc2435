import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from core.fitting.config import Loss
from core.fitting.loss import class_weights, image_losses

LABELS = np.array([0] * 6 + [1] * 3 + [2] * 1)


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(10, 3, generator=torch.Generator().manual_seed(0)) * 3


def mean_loss(logits: torch.Tensor, loss: Loss) -> torch.Tensor:
    weights = class_weights(LABELS, 3, loss)
    labels = torch.from_numpy(LABELS)
    return image_losses(logits, labels, weights, loss).sum() / weights[labels].sum()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighing", ["none", "balanced"])
def test_cross_entropy_is_torchs_mean(logits: torch.Tensor, weighing: str, smoothing: float) -> None:
    loss = Loss(class_weights=weighing, smoothing=smoothing)  # type: ignore[arg-type]
    expected = functional.cross_entropy(
        logits, torch.from_numpy(LABELS), weight=class_weights(LABELS, 3, loss), label_smoothing=smoothing
    )
    assert torch.allclose(mean_loss(logits, loss), expected)


def test_balanced_weights_are_those_of_scikit_learn_and_an_absent_class_weighs_nothing() -> None:
    balanced = Loss(class_weights="balanced")
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    assert np.allclose(class_weights(LABELS, 3, balanced), expected)
    assert np.allclose(class_weights(LABELS, 5, balanced), [*expected, 0, 0])
    assert class_weights(LABELS, 5, Loss()).tolist() == [1] * 5


def test_focal_loss_is_its_formula_and_without_gamma_cross_entropy(logits: torch.Tensor) -> None:
    right = logits.softmax(dim=1)[torch.arange(10), torch.from_numpy(LABELS)]
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert torch.allclose(mean_loss(logits, Loss("focal", gamma=2.0)), expected)
    assert torch.allclose(mean_loss(logits, Loss("focal", gamma=0.0)), mean_loss(logits, Loss()))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_a_sure_answer_has_a_finite_gradient(gamma: float) -> None:
    sure = torch.tensor([[100.0, 0.0, 0.0]], requires_grad=True)
    image_losses(sure, torch.tensor([0]), torch.ones(3), Loss("focal", gamma=gamma)).sum().backward()
    assert sure.grad is not None
    assert torch.isfinite(sure.grad).all()
