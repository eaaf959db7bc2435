"""The history of a training run: what was measured at each epoch, the best epoch, and when to stop."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from core import files

# A validation loss must fall by this share to count as lower (the default of torch's ReduceLROnPlateau).
_SMALLEST_FALL = 1e-4

CONFIG_FILE = "config.toml"  # the config as it was used
ENVIRONMENT_FILE = "environment.json"  # what was asked for, and under which circumstances
HISTORY_FILE = "history.jsonl"  # one line an epoch
SPLIT_FILE = "split.csv"  # file, patient_id, label, split_or_fold
CHECKPOINT_FILE = "checkpoint.safetensors"  # the trained network
CARD_FILE = "card.json"  # what the checkpoint says of itself; written last


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


@dataclass(frozen=True, slots=True)
class PartHistory:
    """One part of a run, such as a fold, and its epochs in order."""

    part: str
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    part: str
    number: int
    phase: str
    learning_rate: float
    loss: float
    validation_loss: float | None = None
    validation_auc: float | None = None
    seconds: float = 0.0


_LINE = TypeAdapter(_Line)
_LINES = TypeAdapter(list[_Line])


def read_lines(text: str) -> tuple[PartHistory, ...]:
    """Read a `HISTORY_FILE`, one epoch a line; a last line that is just being written is left out.

    Raises:
        ValueError: If another line is not an epoch; the message says which.
    """
    whole, _, _ = text.rpartition("\n")
    return _by_part([_line(number, line) for number, line in enumerate(whole.splitlines(), 1) if line.strip()])


def read_document(text: str) -> tuple[PartHistory, ...]:
    """Read the JSON list of epochs that is kept of a run that has ended.

    Raises:
        ValueError: If it is not one; the message names the first wrong place.
    """
    return _by_part(files.read_document(_LINES, text, "the history of a run"))


def _line(number: int, text: str) -> _Line:
    try:
        return _LINE.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"line {number} of the history is not an epoch: {error.errors()[0]['msg']}") from error


def _by_part(lines: list[_Line]) -> tuple[PartHistory, ...]:
    # A run that was killed between writing an epoch and saving its state did that epoch again: the last one counts.
    epochs: dict[str, dict[int, Epoch]] = {}
    for line in lines:
        known = epochs.setdefault(line.part, {})
        known[line.number] = _epoch(line)
    return tuple(PartHistory(part, tuple(known[n] for n in sorted(known))) for part, known in epochs.items())


def _epoch(line: _Line) -> Epoch:
    return Epoch(
        line.number,
        line.phase,
        line.learning_rate,
        line.loss,
        line.validation_loss,
        line.validation_auc,
        line.seconds,
    )
