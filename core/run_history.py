"""The history of a training run: metrics of each epoch, the best epoch, and when to stop."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from core import files

# A validation loss must fall by this share to count as lower (the default of torch's ReduceLROnPlateau).
_SMALLEST_FALL = 1e-4

CONFIG_FILE = "config.toml"  # the config as it was used
ENVIRONMENT_FILE = "environment.json"  # the command and the environment it ran in
HISTORY_FILE = "history.jsonl"  # one line per epoch
SPLIT_FILE = "split.csv"  # file, patient_id, label, split_or_fold
CHECKPOINT_FILE = "checkpoint.safetensors"  # the trained network
CARD_FILE = "card.json"  # describes the checkpoint; written last


@dataclass(frozen=True, slots=True)
class Epoch:
    """The metrics of one epoch; those of validation belong to the averaged weights."""

    number: int  # over all phases, from 1
    phase: str
    learning_rate: float  # of the head, in the last step
    loss: float
    validation_loss: float | None = None
    validation_auc: float | None = None
    seconds: float = field(default=0.0, compare=False)  # equal runs take different times


@dataclass(frozen=True, slots=True)
class History:
    """The epochs of a training run, and the number of the epoch whose weights were kept."""

    epochs: tuple[Epoch, ...]
    kept: int


def find_best_epoch(epochs: Sequence[Epoch]) -> Epoch | None:
    """Return the epoch with the highest validation AUC, then the lowest loss; the first of equals.

    Without validation images there is none.
    """
    validated = [epoch for epoch in epochs if epoch.validation_loss is not None]
    return max(validated, key=_rank, default=None)


def has_stalled(epochs: Sequence[Epoch], patience: int) -> bool:
    """Return whether the last `patience` epochs were no better than the best; never for patience 0."""
    best = find_best_epoch(epochs)
    return best is not None and patience > 0 and epochs[-1].number - best.number >= patience


def count_reductions(epochs: Sequence[Epoch], patience: int) -> int:
    """Count how often the loss did not fall for more than `patience` epochs, as torch's ReduceLROnPlateau does.

    The loss is that of validation or, without validation images, of training.
    """
    count, waited, lowest = 0, 0, float("inf")
    for epoch in epochs:
        loss = epoch.loss if epoch.validation_loss is None else epoch.validation_loss
        waited = 0 if loss < lowest * (1 - _SMALLEST_FALL) else waited + 1
        lowest = loss if waited == 0 else lowest
        if waited > patience:
            count, waited = count + 1, 0
    return count


def _rank(epoch: Epoch) -> tuple[float, float]:
    return epoch.validation_auc or 0.0, -(epoch.validation_loss or 0.0)


@dataclass(frozen=True, slots=True)
class PartHistory:
    """The epochs of one part of a run, such as a fold, in order."""

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
    """Read the text of a `HISTORY_FILE`, one epoch per line; an incomplete last line is ignored.

    Raises:
        ValueError: If a complete line is not an epoch; the message contains its number.
    """
    whole, _, _ = text.rpartition("\n")
    return _group_by_part(
        [_parse_line(number, line) for number, line in enumerate(whole.splitlines(), 1) if line.strip()]
    )


def read_document(text: str) -> tuple[PartHistory, ...]:
    """Read the JSON list of epochs that is stored for a finished run.

    Raises:
        ValueError: If the text is not such a list; the message names the first wrong field.
    """
    return _group_by_part(files.read_document(_LINES, text, "the history of a run"))


def _parse_line(number: int, text: str) -> _Line:
    try:
        return _LINE.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"line {number} of the history is not an epoch: {error.errors()[0]['msg']}") from error


def _group_by_part(lines: list[_Line]) -> tuple[PartHistory, ...]:
    # A run killed between writing an epoch and saving its state repeated that epoch: the last line counts.
    epochs: dict[str, dict[int, Epoch]] = {}
    for line in lines:
        epochs.setdefault(line.part, {})[line.number] = _to_epoch(line)
    return tuple(PartHistory(part, tuple(own[n] for n in sorted(own))) for part, own in epochs.items())


def _to_epoch(line: _Line) -> Epoch:
    return Epoch(
        line.number,
        line.phase,
        line.learning_rate,
        line.loss,
        line.validation_loss,
        line.validation_auc,
        line.seconds,
    )
