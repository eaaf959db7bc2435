"""What was measured while a network was trained, and what follows from it: the best epoch, when to stop."""

from collections.abc import Sequence
from dataclasses import dataclass, field

# A validation loss must fall by this share to count as lower (the default of torch's ReduceLROnPlateau).
_SMALLEST_FALL = 1e-4


@dataclass(frozen=True, slots=True)
class Epoch:
    """What was measured in one epoch; the validation figures are those of the averaged weights."""

    number: int  # counts over the run, from 1
    phase: str
    learning_rate: float  # of the head, in the last step
    loss: float
    validation_loss: float | None = None
    validation_auc: float | None = None
    seconds: float = field(default=0.0, compare=False)  # two equal runs take different times


@dataclass(frozen=True, slots=True)
class History:
    """A training run, epoch by epoch, and the number of the epoch whose weights were kept."""

    epochs: tuple[Epoch, ...]
    kept: int


def best_of(epochs: Sequence[Epoch]) -> Epoch | None:
    """Give the epoch with the highest validation AUC, then the lowest loss; the first of equals.

    Without validation there is none.
    """
    judged = [epoch for epoch in epochs if epoch.validation_loss is not None]
    return max(judged, key=_figure, default=None)


def has_stalled(epochs: Sequence[Epoch], patience: int) -> bool:
    """Say whether the last `patience` epochs brought nothing better; patience 0 never runs out."""
    best = best_of(epochs)
    return best is not None and patience > 0 and epochs[-1].number - best.number >= patience


def reductions(epochs: Sequence[Epoch], patience: int) -> int:
    """Count how often the loss stood still for more than `patience` epochs (as torch's ReduceLROnPlateau does).

    It is the validation loss, and without validation images that of training.
    """
    count, waited, lowest = 0, 0, float("inf")
    for epoch in epochs:
        loss = epoch.loss if epoch.validation_loss is None else epoch.validation_loss
        waited = 0 if loss < lowest * (1 - _SMALLEST_FALL) else waited + 1
        lowest = loss if waited == 0 else lowest
        if waited > patience:
            count, waited = count + 1, 0
    return count


def _figure(epoch: Epoch) -> tuple[float, float]:
    return epoch.validation_auc or 0.0, -(epoch.validation_loss or 0.0)
