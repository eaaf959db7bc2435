"""What a run leaves in its folder: the names of its files, and its history, the epochs of each part such as a fold."""

from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from core import documents
from core.fit.history import Epoch

CONFIG_FILE = "config.toml"  # the config as it was used
ENVIRONMENT_FILE = "environment.json"  # what was asked for, and under which circumstances
HISTORY_FILE = "history.jsonl"  # one line an epoch
SPLIT_FILE = "split.csv"  # file, patient_id, label, split_or_fold
CHECKPOINT_FILE = "checkpoint.safetensors"  # the trained network
CARD_FILE = "card.json"  # what the checkpoint says of itself; written last


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
    return _by_part(documents.read_document(_LINES, text, "the history of a run"))


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
