"""The plain values of studies, regions, adjudication and sign-off."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.labels import Malignancy

# Why a final read may differ from the model: what is stored, and the words on the screen.
REASONS: tuple[tuple[str, str], ...] = (
    ("wrong_area", "model attends to the wrong area"),
    ("quality", "artefact or poor quality"),
    ("missed_feature", "feature the model misses"),
    ("context", "context beyond this image"),
    ("borderline", "borderline lesion"),
    ("other", "other (say in the note)"),
)

_POINTS_LIMIT = 2_000  # of one region
_REGION_NOTE_LIMIT = 200  # characters


class Arm(StrEnum):
    """What a reader of a study sees of the model, and when."""

    UNAIDED = "unaided"  # never
    BLIND_FIRST = "blind first"  # after a first read
    MODEL_FIRST = "model first"  # from the beginning


class RegionKind(StrEnum):
    """How a region is drawn."""

    POINT = "point"
    BOX = "box"
    SHAPE = "shape"


class Severity(StrEnum):
    """How much a discordance would have mattered."""

    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"


class Trigger(StrEnum):
    """Why a case needs adjudication."""

    READERS_SPLIT = "readers differ"
    MODEL_CONFLICT = "a reader and the model differ"
    LOW_CONFIDENCE = "a reader is not sure"


@dataclass(frozen=True, slots=True)
class Region:
    """A place in an image that a reader marked; points are (x, y) in image pixels from the top left corner.

    A point has one, a box its left top and right bottom corners, a shape its outline of at least three.
    """

    image_id: int
    kind: RegionKind
    points: tuple[tuple[float, float], ...]
    note: str = ""

    def __post_init__(self) -> None:
        wanted = {RegionKind.POINT: 1, RegionKind.BOX: 2}.get(self.kind)
        if wanted is not None and len(self.points) != wanted:
            raise ValueError(f"a {self.kind} has {wanted} points, got {len(self.points)}")
        if self.kind is RegionKind.SHAPE and not 3 <= len(self.points) <= _POINTS_LIMIT:
            raise ValueError(f"a shape has 3 to {_POINTS_LIMIT} points, got {len(self.points)}")
        if any(not 0 <= c < float("inf") for point in self.points for c in point):
            raise ValueError("a region lies inside its image")
        if self.kind is RegionKind.BOX and any(a >= b for a, b in zip(*self.points, strict=True)):
            raise ValueError("a box has its left top corner first and covers some pixels")
        if len(self.note) > _REGION_NOTE_LIMIT:
            raise ValueError(f"the note of a region has at most {_REGION_NOTE_LIMIT} characters")


@dataclass(frozen=True, slots=True)
class Place:
    """One case in the order of one reader of a study."""

    id: int
    study_id: int
    study: str
    account_id: int
    case_id: int
    round: int  # 1 is the first
    arm: Arm
    iteration: int  # 2 where this reader reads the case for the second time in this arm
    position: int  # 1 is the first case of the round
    of: int  # cases in the round


@dataclass(frozen=True, slots=True)
class Consensus:
    """What an adjudicator settled; `supersedes` names an earlier consensus on the same case."""

    id: int
    case_id: int
    adjudicator: str
    label: Malignancy | None
    confidence: int | None
    subtype: str | None
    severity: Severity
    note: str
    opened_at: datetime
    saved_at: datetime
    supersedes: int | None


@dataclass(frozen=True, slots=True)
class SignOff:
    """One signed version of a case; version 1 is the sign-off, later ones amend it and say why."""

    id: int
    case_id: int
    version: int
    signer: str
    label: Malignancy | None
    subtype: str | None
    note: str
    why: str
    consensus_id: int | None
    saved_at: datetime
