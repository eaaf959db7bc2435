"""The stored evaluation of one model on one labelled dataset: metrics with intervals, matrices, curves, groups."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from core.card import Abstention
from core.files import read_document
from core.labels import LabelSet
from core.results import ScopeLevel
from core.statistics.cautions import ImageNote, StoredCaution, StoredImageLeftOut

Unit = Literal["image", "patient"]
CurveKind = Literal["roc", "precision_recall", "reliability", "risk_coverage"]
GroupKind = Literal["magnification", "subtype", "patient"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric; `low` and `high` bound its 95% confidence interval, None if there is none."""

    name: str  # "AUC", "patient recognition rate", ...
    value: float
    low: float | None
    high: float | None
    unit: Unit
    n: int  # number of these units


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often images of a class (row) were called a class (column), counted by image and by patient."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    patients: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        for table in (self.counts, self.patients):
            if len(table) != len(self.classes) or any(len(row) != len(self.classes) for row in table):
                raise ValueError(f"a confusion matrix of {len(self.classes)} classes needs as many rows and columns")


@dataclass(frozen=True, slots=True)
class TriedThreshold:
    """What another threshold than the locked one would give on the same images: for looking, never to be stored."""

    threshold: float
    confusion: Confusion
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one curve, in drawing order; `weights` are the image counts of the points of a reliability curve."""

    kind: CurveKind
    x: tuple[float, ...]
    y: tuple[float, ...]
    weights: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The metrics of one magnification, subtype or patient."""

    kind: GroupKind
    name: str
    images: int
    patients: int
    wrong: int  # images
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True)
class AblationRow:
    """One way of preparing images, and the paired change of the AUC on the same images."""

    views: str
    stain: str
    quality_control: bool
    images: int
    auc: Figure
    change: Figure | None  # against the preparation in the card; None for that one


@dataclass(frozen=True, slots=True)
class ScopeCounts:
    """How many images the network found in its scope, unusual, and out of scope, where it gives no opinion."""

    within: int
    unusual: int
    out: int

    @classmethod
    def of(cls, levels: Iterable[ScopeLevel | None]) -> "ScopeCounts | None":
        """Count the levels of images; None if no image has one, because the checkpoint has no reference."""
        known = Counter(level for level in levels if level is not None)
        return cls(known["in"], known["unusual"], known["out"]) if known else None

    @property
    def images(self) -> int:
        """All images whose scope was judged."""
        return self.within + self.unusual + self.out

    @property
    def coverage(self) -> float:
        """The share of images on which the network gives an opinion."""
        return 1 - self.out / self.images

    @property
    def words(self) -> str:
        """Return the counts as a sentence."""
        return (
            f"of {self.images} images, {self.within} are in the model's scope, {self.unusual} are unusual, and "
            f"{self.out} are out of scope: no opinion on these; coverage {self.coverage:.1%}"
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All results of one model version on one labelled dataset, under one protocol."""

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
    scope: ScopeCounts | None = None  # of all images, those without an opinion too
    ablation: tuple[AblationRow, ...] = ()
    excluded: tuple[StoredImageLeftOut, ...] = ()
    notes: tuple[ImageNote, ...] = ()  # how files were read, if anything was left out or changed
    warnings: tuple[StoredCaution, ...] = ()  # for the reviewer: leaks, images of the training set
    demonstration: bool = False

    def figure(self, name: str, unit: Literal["image", "patient"] = "image") -> Figure | None:
        """Return the metric of this name; None if it could not be measured."""
        return next((f for f in self.figures if (f.name, f.unit) == (name, unit)), None)

    def to_json(self) -> str:
        """Return the evaluation as JSON text."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Evaluation":
        """Read an evaluation from JSON text.

        Raises:
            ValueError: If the text is not an evaluation; the message names the first wrong field.
        """
        return read_document(_ADAPTER, text, "an evaluation")


_ADAPTER = TypeAdapter(Evaluation)
