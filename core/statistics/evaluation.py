"""What is kept of one judged model on one labelled dataset: figures with intervals, matrices, curves, groups."""

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from core.card import Abstention
from core.files import read_document
from core.labels import LabelSet
from core.statistics.cautions import StoredCaution, StoredImageLeftOut

Unit = Literal["image", "patient"]
CurveKind = Literal["roc", "precision_recall", "reliability", "risk_coverage"]
GroupKind = Literal["magnification", "subtype", "patient"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure; `low` and `high` bound its 95 % interval, None where there is none."""

    name: str  # "AUC", "patient recognition rate", ...
    value: float
    low: float | None
    high: float | None
    unit: Unit
    n: int  # of these units


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often a class (row) was called another (column), in images and in different patients."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    patients: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        for table in (self.counts, self.patients):
            if len(table) != len(self.classes) or any(len(row) != len(self.classes) for row in table):
                raise ValueError(f"a matrix of {len(self.classes)} classes needs as many rows and columns")


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one curve, in drawing order; `weights` are the images behind each point of a reliability curve."""

    kind: CurveKind
    x: tuple[float, ...]
    y: tuple[float, ...]
    weights: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one magnification, subtype or patient."""

    kind: GroupKind
    name: str
    images: int
    patients: int
    wrong: int  # images
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class AblationRow:
    """One way of preparing images and the paired change that it makes, on the same images."""

    views: str
    stain: str
    quality_control: bool
    images: int
    auc: Figure
    change: Figure | None  # against the card's own way; None for that row


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured of one model version on one labelled dataset, under one protocol."""

    model_name: str
    model_version: str
    dataset: str
    split: str
    protocol: str
    label_set: LabelSet
    images: int
    patients: int
    threshold: float
    temperature: float
    locked_on: str  # where threshold and temperature were fitted
    figures: tuple[Figure, ...]
    confusions: tuple[Confusion, ...]  # benign / malignant first; then the classes, if there are more than two
    curves: tuple[Curve, ...]
    groups: tuple[Group, ...]
    abstention: Abstention | None = None
    ablation: tuple[AblationRow, ...] = ()
    excluded: tuple[StoredImageLeftOut, ...] = ()
    warnings: tuple[StoredCaution, ...] = ()  # what a reviewer has to know: leaks, images of the training set
    demonstration: bool = False

    def figure(self, name: str, unit: Literal["image", "patient"] = "image") -> Figure | None:
        """Find a figure by its name; None if it could not be measured."""
        return next((f for f in self.figures if (f.name, f.unit) == (name, unit)), None)

    def to_json(self) -> str:
        """Write the evaluation as JSON text."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Evaluation":
        """Read an evaluation.

        Raises:
            ValueError: If the text is not one; the message names the first wrong place.
        """
        return read_document(_ADAPTER, text, "an evaluation")


_ADAPTER = TypeAdapter(Evaluation)
