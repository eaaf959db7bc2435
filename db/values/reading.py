"""Values of cases and their images, reads, regions, and what is shown of the model."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from core.labels import Malignancy
from core.results import Prediction, Quality, Scope, ScopeLevel
from core.wording import count_words
from db.values.jobs import JobState
from db.values.scales import ChosenScale, ImageScale

# Why a final read differs from the model: the stored code, and the words on the screen.
REASONS: tuple[tuple[str, str], ...] = (
    ("wrong_area", "model attends to the wrong area"),
    ("quality", "artefact or poor quality"),
    ("missed_feature", "feature the model misses"),
    ("context", "context beyond this image"),
    ("borderline", "borderline lesion"),
    ("other", "other (explain in the note)"),
)

# How long a final read can be withdrawn, as long as nothing of others was shown; later it must be amended.
GRACE = timedelta(seconds=60)

LARGEST_ID = 2**31 - 1  # of a row; larger numbers fail differently in PostgreSQL and SQLite
_POINTS_LIMIT = 2_000  # of one region
_REGION_NOTE_LIMIT = 200  # characters


class Arm(StrEnum):
    """When a reader of a study sees the model's opinion."""

    UNAIDED = "unaided"  # never
    BLIND_FIRST = "blind first"  # after a first read
    MODEL_FIRST = "model first"  # from the beginning


class RegionKind(StrEnum):
    """How a region is drawn."""

    POINT = "point"
    BOX = "box"
    SHAPE = "shape"
    LINE = "line"  # a length that was measured; it marks no finding


@dataclass(frozen=True, slots=True)
class Region:
    """A place in an image that a reader marked; points are (x, y) in image pixels from the top left corner.

    A point has one, a box its top left and bottom right corners, a shape an outline of at least three, a line its ends.
    """

    image_id: int
    kind: RegionKind
    points: tuple[tuple[float, float], ...]
    note: str = ""

    def __post_init__(self) -> None:
        required = {RegionKind.POINT: 1, RegionKind.BOX: 2, RegionKind.LINE: 2}.get(self.kind)
        if required is not None and len(self.points) != required:
            raise ValueError(f"a {self.kind} needs {count_words(required, 'point')}, got {len(self.points)}")
        if self.kind is RegionKind.SHAPE and not 3 <= len(self.points) <= _POINTS_LIMIT:
            raise ValueError(f"a shape needs 3 to {_POINTS_LIMIT} points, got {len(self.points)}")
        if any(not 0 <= c < float("inf") for point in self.points for c in point):
            raise ValueError("a region must be inside its image")
        if self.kind is RegionKind.BOX and any(a >= b for a, b in zip(*self.points, strict=True)):
            raise ValueError("a box needs its top left corner first and must not be empty")
        if self.kind is RegionKind.LINE and self.points[0] == self.points[1]:
            raise ValueError("a line needs two different ends")
        if len(self.note) > _REGION_NOTE_LIMIT:
            raise ValueError(f"the note of a region may have at most {_REGION_NOTE_LIMIT} characters")

    @property
    def length(self) -> float:
        """The distance between the first and the last point in pixels: what a line measures."""
        return math.dist(self.points[0], self.points[-1])


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


class CaseState(StrEnum):
    """The state of a case for one reader; derived from the rows, and kept beside them for the worklists."""

    INCOMPLETE = "incomplete"  # its intake has not ended, so nobody may open it
    WAITING = "waiting"  # some image is still queued or being analysed
    UNREADABLE = "unreadable"  # no image of it can be analysed
    READY = "ready"  # this reader can save a first read
    IN_READING = "in reading"  # this reader has it open, without a first read
    FIRST_READ = "first read"  # saved, but the model has no result yet
    REVEALED = "revealed"  # first read saved, final read missing
    FINAL = "final"  # final read saved, no adjudication needed
    DISCORDANT = "discordant"  # final read saved, adjudication needed
    ADJUDICATION = "adjudication"  # an adjudicator has begun
    RESOLVED = "resolved"  # there is a consensus
    SIGNED_OFF = "signed off"  # for every reader, whether they have read it or not
    AMENDED = "amended"  # signed off, and amended since


class Stage(StrEnum):
    """Whether a read was saved before or after the reveal, or withdraws one."""

    FIRST = "first"
    FINAL = "final"
    WITHDRAWN = "withdrawn"  # withdraws a final read shortly after it was saved; holds no opinion


class Vote(StrEnum):
    """Whether the reader found the heat map useful."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of a case, with only what may be shown before the reveal."""

    id: int
    position: int  # 1 is the first image of the case
    height: int
    width: int
    quality: Quality
    job: JobState
    job_message: str | None  # why there is no result; never reveals the model's opinion, nor that it gave none
    seconds_left: float | None = None
    scale: ImageScale | None = None  # None: unknown


@dataclass(frozen=True, slots=True)
class AddedImage:
    """The outcome of one uploaded image; `already_in` is the case that already holds the same file."""

    image_id: int
    already_in: str | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """A reader's opinion of a case; `label` None means that the case cannot be assessed."""

    label: Malignancy | None
    confidence: int | None  # 1 (guess) to 5 (certain); None when it cannot be assessed
    subtype: str | None = None
    note: str = ""
    reason: str | None = None  # a code of REASONS; required when a final read differs from the model
    vote: Vote | None = None  # on the heat map; final reads only
    regions: tuple[Region, ...] = ()

    def __post_init__(self) -> None:
        if self.label not in ("benign", "malignant", None):
            raise ValueError(f"an opinion must be benign, malignant or None, got {self.label!r}")
        if (self.label is None) != (self.confidence is None):
            raise ValueError("an opinion needs a confidence, except 'cannot assess', which has none")
        if self.confidence is not None and not 1 <= self.confidence <= 5:
            raise ValueError(f"the confidence must be 1 to 5, got {self.confidence}")
        # They cannot be typed but can be sent: PostgreSQL refuses NUL, and no database stores half a surrogate pair.
        if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in self.note):
            raise ValueError("This note contains characters that cannot be stored. Please retype it.")

    @property
    def marked(self) -> tuple[Region, ...]:
        """The regions that were marked as findings: all but lengths."""
        return tuple(region for region in self.regions if region.kind is not RegionKind.LINE)

    @property
    def measured(self) -> tuple[Region, ...]:
        """The lengths that were measured."""
        return tuple(region for region in self.regions if region.kind is RegionKind.LINE)


@dataclass(frozen=True, slots=True)
class Read:
    """One saved opinion; never changed afterwards."""

    id: int
    case_id: int
    reader: str
    stage: Stage
    opinion: Opinion
    model_visible: bool
    opened_at: datetime
    saved_at: datetime
    supersedes: int | None
    place_id: int | None = None  # of a study; None in routine reading
    edit_seconds: float | None = None
    informed: bool = False  # given after its reader could learn what others said; left out of agreement
    shown_scope: ScopeLevel | None = None  # as in `find_shown_scope`


@dataclass(frozen=True, slots=True)
class RevealedImage:
    """The model's opinion of one image, returned only after the first read."""

    image_id: int
    prediction_id: int
    prediction: Prediction
    heatmap_low: float | None  # smallest and largest evidence of the map, logit units
    heatmap_high: float | None


@dataclass(frozen=True, slots=True)
class Reveal:
    """The model's opinion of a case: the mean over its analysed images."""

    model_version: str
    model_name: str
    demonstration: bool
    malignant_probability: float
    threshold: float
    malignancy: Malignancy
    images: tuple[RevealedImage, ...]


@dataclass(frozen=True, slots=True)
class RevealedScope:
    """How unlike the training images a model found one image, returned only after the first read."""

    image_id: int
    scope_id: int
    model: "ModelIdentity"
    scope: Scope
    has_map: bool = False  # whether a map of where it is unlike them is stored

    @property
    def withheld(self) -> bool:
        """Whether the model gave no opinion of this image."""
        return self.scope.level == "out"


def find_shown_scope(reveal: Reveal | None, scopes: Sequence[RevealedScope]) -> ScopeLevel | None:
    """Return what is shown of the scope of a case, of which `reveal` is the opinion.

    `out` means that there is no opinion, because all images with an answer are unlike the training images; `unusual`
    that the opinion is marked, because an image is unusual or was left out of it; None that nothing is known of it.
    """
    if reveal is None:
        return "out" if any(one.withheld for one in scopes) else None
    if not scopes:
        return None
    return "unusual" if any(one.scope.level != "in" for one in scopes) else "in"


@dataclass(frozen=True, slots=True)
class OnScreen:
    """What was on the screen of the model when a read was saved: ids; empty if it had no result yet."""

    predictions: Collection[int] = ()
    scopes: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """Another reader who has a case open."""

    reader: str
    since: datetime


@dataclass(frozen=True, slots=True)
class CaseView:
    """What the reading page shows of a case; `reveal` and `scopes` are empty until this reader's first read is saved.

    Afterwards there may be a scope without a reveal: then the model gave no opinion.
    """

    id: int
    accession: str
    magnification: str | None
    demonstration: bool
    state: CaseState
    images: tuple[ImageRow, ...]
    first_read: Read | None
    final_read: Read | None
    reveal: Reveal | None
    open_elsewhere: tuple[Holder, ...] = ()
    scopes: tuple[RevealedScope, ...] = ()  # in the order of the images; without those of older results
    unmet: "ModelIdentity | None" = None  # the model that is withheld until this reader has confirmed what it is

    @property
    def shown_scope(self) -> ScopeLevel | None:
        """What is shown of the scope of the case."""
        return find_shown_scope(self.reveal, self.scopes)

    @property
    def model(self) -> "ModelIdentity | None":
        """The model that is shown to have given an opinion, or none."""
        if self.reveal:
            return ModelIdentity(self.reveal.model_version, self.reveal.model_name, self.reveal.demonstration)
        return next((one.model for one in self.scopes if one.withheld), None)

    @property
    def on_screen(self) -> OnScreen:
        """What this view shows of the model."""
        predictions = [image.prediction_id for image in self.reveal.images] if self.reveal else []
        return OnScreen(predictions, [one.scope_id for one in self.scopes])


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that is already on disk: the hash of the upload, and the stored pixels."""

    source_sha256: str  # of the uploaded bytes; recognises the same file again
    file_sha256: str  # of the stored PNG, without metadata
    height: int
    width: int
    quality: Quality
    scale: ChosenScale | None = None


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which checkpoint made a prediction."""

    version: str  # first twelve hex digits of the file's sha256
    name: str
    demonstration: bool
    origin: str | None = None  # the version with the same weights that this one was calibrated from

    @property
    def network(self) -> str:
        """The version whose weights it has: embeddings of one network are comparable."""
        return self.origin or self.version
