"""The stored comparison of two image sets: how far apart they are, in which respect, and what brings them closer."""

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from core.files import read_document
from core.statistics.cautions import StoredCaution
from core.statistics.evaluation import Figure, ScopeCounts

Side = Literal["source", "target"]

FRECHET = "Frechet distance"
DISCREPANCY = "maximum mean discrepancy"
TWO_SAMPLE_AUC = "told apart with AUC"


@dataclass(frozen=True, slots=True)
class Distance:
    """One distance; `halves` is the mean distance between random halves of the source set's patients."""

    name: str
    value: float
    low: float | None
    high: float | None
    halves: float
    p: float | None = None  # probability of such a distance between sets that do not differ


@dataclass(frozen=True, slots=True)
class Distribution:
    """One statistic in both sets: smoothed shares of images by bin, medians, and the difference between the sets."""

    name: str
    unit: str
    edges: tuple[float, ...]  # one more than shares
    source: tuple[float, ...]
    target: tuple[float, ...]
    source_median: float
    target_median: float
    difference: float  # of patient means, in standard deviations of the source's patient means
    p: float  # by permuting patients


@dataclass(frozen=True, slots=True)
class Point:
    """One image in the first two principal components of the network's features."""

    x: float
    y: float
    side: Side
    patient_id: str


@dataclass(frozen=True, slots=True)
class Step:
    """The AUC on the target set after one change; `change` is paired, against the card's preparation (None for that).

    `images` is the number behind the AUC; quality control, or a change that makes images unusable, excludes others.
    """

    name: str
    images: int
    auc: Figure
    change: Figure | None


@dataclass(frozen=True, slots=True)
class Shift:
    """All results of the comparison of a source and a target set."""

    source: str
    target: str
    model_name: str
    model_version: str
    images: tuple[int, int]  # source, target
    patients: tuple[int, int]
    distances: tuple[Distance, ...]
    distributions: tuple[Distribution, ...]
    points: tuple[Point, ...]
    explained: tuple[float, float]  # share of the variance on either axis of the points
    steps: tuple[Step, ...] = ()  # the card's preparation first
    source_auc: Figure | None = None
    drop: Figure | None = None  # AUC on the source set minus that on the target set, with the card's preparation
    trained_on: tuple[int, int] = (0, 0)  # patients of either set that the network was trained on
    scope: tuple[ScopeCounts | None, ScopeCounts | None] = (None, None)  # source, target
    warnings: tuple[StoredCaution, ...] = ()

    def distance(self, name: str) -> Distance | None:
        """Return the distance of this name; None if there is none."""
        return next((distance for distance in self.distances if distance.name == name), None)

    def given_back(self, step: Step) -> float | None:
        """Return the share of the drop that a step recovers; None unless the interval of the drop lies above 0.

        A share of a drop that may be zero would be noise divided by noise.
        """
        if self.drop is None or self.drop.low is None or self.drop.low <= 0 or step.change is None:
            return None
        return step.change.value / self.drop.value

    def to_json(self) -> str:
        """Return the comparison as JSON text."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Shift":
        """Read a comparison from JSON text.

        Raises:
            ValueError: If the text is not a comparison; the message names the first wrong field.
        """
        return read_document(_ADAPTER, text, "a comparison of sets")


_ADAPTER = TypeAdapter(Shift)
