"""Values of training runs, evaluations, domain shifts and deployments."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RunState(StrEnum):
    """The progress of a training run."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


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
            f"images of this evaluation that are also pictures of cases: {self.images:,}, of {self.cases:,} cases. "
            "Until readers have finished these cases, the evaluation is shown to them without these images."
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
    """One stored evaluation; never changed afterwards."""

    id: int
    at: datetime
    model_name: str
    model_version: str
    dataset: str
    split: str
    folder: str
    images: int
    document: str


@dataclass(frozen=True, slots=True)
class ShiftRow:
    """One stored distance between two image sets, from the features of `model_version`."""

    id: int
    at: datetime
    source: str
    target: str
    model_version: str
    document: str  # JSON


@dataclass(frozen=True, slots=True)
class Deployment:
    """One checkpoint that was put into service; the last one is in service."""

    id: int
    at: datetime
    account: str | None  # None means the program itself
    path: str
    sha256: str
    name: str
