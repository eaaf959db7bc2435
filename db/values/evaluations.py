"""Values of training runs, evaluations, domain shifts and deployments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from core.files import read_document
from core.labels import Malignancy
from core.wording import count_words

# The folder beside a checkpoint, `NAME.evaluations` beside `NAME.safetensors`, has one folder for each evaluation and
# comparison that comes with it; these are their files. The measurement of its heat maps lies in the folder itself.
SHIPPED_SUFFIX: Final = ".evaluations"
EVALUATION_FILE: Final = "metrics.json"
IMAGES_FILE: Final = "images.json"
SHIFT_FILE: Final = "shift.json"
MAP_TRUST_FILE: Final = "map_trust.json"


def shipped_folder(checkpoint: Path) -> Path:
    """Return the folder of the evaluations that come with a checkpoint."""
    return checkpoint.with_suffix(SHIPPED_SUFFIX)


def map_trust_files(checkpoint: Path, version: str, evaluations: Path) -> tuple[Path, Path]:
    """Return where a measurement of a checkpoint's heat maps may lie: beside it, and in a folder of evaluations.

    The first one is replaced with the checkpoint; the second one is for checkpoints that have no folder beside them.
    """
    return shipped_folder(checkpoint) / MAP_TRUST_FILE, evaluations / version / MAP_TRUST_FILE


class RunState(StrEnum):
    """The progress of a training run."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


class ThresholdAim(StrEnum):
    """What a threshold of a model was chosen for; the words are stored."""

    BALANCE = "balance"  # the highest sum of sensitivity and specificity (Youden's J)
    SENSITIVITY = "sensitivity"  # a sensitivity of 95 %


@dataclass(frozen=True, slots=True)
class SiteThreshold:
    """The threshold that this site uses of a model version, who chose it, and when."""

    model_version: str
    aim: ThresholdAim
    value: float
    account: str
    at: datetime

    def __post_init__(self) -> None:
        if not 0 < self.value < 1:
            raise ValueError(f"a threshold must lie between 0 and 1, got {self.value}")


@dataclass(frozen=True, slots=True)
class JudgedCase:
    """A case of this site whose label was settled or signed, and what a model version said of its images."""

    label: Malignancy
    probabilities: tuple[float, ...]  # malignant


@dataclass(frozen=True, slots=True)
class RunRow:
    """One training run; its files are in `folder`."""

    id: int
    name: str
    folder: str
    state: RunState
    started_at: datetime
    finished_at: datetime | None
    config: str  # JSON
    history: str | None  # JSON list of epochs, each with its part; None until it ends
    checkpoint_sha256: str | None


@dataclass(frozen=True, slots=True)
class EvaluatedImage:
    """The model's result for one labelled image, with the true label."""

    position: int  # in the dataset, from 1
    name: str
    patient_id: str
    magnification: str  # the dataset's own word; empty where it has none
    label: str
    predicted: str
    malignant: bool
    called_malignant: bool
    malignant_probability: float
    probabilities: tuple[float, ...]
    preview_sha256: str | None = None  # of a stored file; None if none was stored
    heatmap_sha256: str | None = None
    source_sha256: str | None = None  # of the file; None in an evaluation of an older version
    file_sha256: str | None = None  # of its pixels, as an upload of them would be stored

    notes: tuple[str, ...] = ()  # how its file was read; kept in the document of the evaluation

    def __post_init__(self) -> None:
        if not 0 <= self.malignant_probability <= 1:
            raise ValueError(f"{self.name}: a probability must be between 0 and 1, got {self.malignant_probability}")
        if not self.probabilities:
            raise ValueError(f"{self.name}: an evaluated image needs a probability for each class")


_IMAGES = TypeAdapter(tuple[EvaluatedImage, ...])


def images_to_json(images: Sequence[EvaluatedImage]) -> str:
    """Return evaluated images as JSON text, for a file beside the evaluation's own."""
    return _IMAGES.dump_json(tuple(images)).decode()


def images_from_json(text: str | bytes) -> tuple[EvaluatedImage, ...]:
    """Read evaluated images from JSON text.

    Raises:
        ValueError: If the text does not hold evaluated images; the message names the first wrong field.
    """
    return read_document(_IMAGES, text, "a list of evaluated images")


@dataclass(frozen=True, slots=True)
class HiddenImages:
    """The images of an evaluation that a reader may not see before they have finished the cases with these pictures.

    `without_hashes` says that nobody knows whether they are pictures of cases: the evaluation is of an older version.
    """

    positions: tuple[int, ...]
    without_hashes: bool


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many images of an evaluation are also pictures of cases, of how many cases."""

    images: int
    cases: int

    @property
    def words(self) -> str:
        """The warning that a reader could learn from the evaluation what they have yet to read blind."""
        return (
            f"This evaluation shares {count_words(self.images, 'image')} with {count_words(self.cases, 'case')}. Until "
            "readers have finished these cases, the evaluation is shown to them without these images."
        )


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """A filter for the images of an evaluation: those that match every field that is not None."""

    label: str | None = None
    predicted: str | None = None
    malignant: bool | None = None
    called_malignant: bool | None = None
    patient_id: str | None = None
    magnification: str | None = None


@dataclass(frozen=True, slots=True)
class NewEvaluation:
    """An evaluation to store; `document` is `core.statistics.evaluation.Evaluation` as JSON."""

    model_name: str
    model_version: str
    dataset: str
    split: str
    folder: str
    document: str


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One evaluation; never changed afterwards. The numbers of shipped ones are negative."""

    id: int
    at: datetime
    model_name: str
    model_version: str
    dataset: str
    split: str
    folder: str
    images: int
    document: str
    shipped: bool = False  # read from the folder beside its checkpoint, not from the database


@dataclass(frozen=True, slots=True)
class ShiftRow:
    """One distance between two image sets, from the features of `model_version`.

    The numbers of shipped ones are negative.
    """

    id: int
    at: datetime
    source: str
    target: str
    model_version: str
    document: str  # JSON
    shipped: bool = False  # read from the folder beside its checkpoint, not from the database


@dataclass(frozen=True, slots=True)
class Deployment:
    """One checkpoint that was put into service; the last one is in service."""

    id: int
    at: datetime
    account: str | None  # None means the program itself
    path: str
    sha256: str
    name: str
