"""The values of cases, images, reads, regions, adjudication and sign-off."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.labels import Malignancy
from core.results import Prediction, Quality

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


class Role(StrEnum):
    """What an account may do."""

    READER = "reader"
    ADJUDICATOR = "adjudicator"
    RESEARCHER = "researcher"
    ADMINISTRATOR = "administrator"


class CaseState(StrEnum):
    """How far a case has come for one reader."""

    WAITING = "waiting"  # some image is still queued or being analysed
    UNREADABLE = "unreadable"  # no image of it can be analysed
    READY = "ready"  # waits for this reader's first read
    IN_READING = "in reading"  # this reader has it open, without a first read
    FIRST_READ = "first read"  # saved, and the model has no result yet
    REVEALED = "revealed"  # first read saved, final read missing
    FINAL = "final"  # final read saved, and nothing calls for adjudication
    DISCORDANT = "discordant"  # final read saved, and an adjudicator is needed
    ADJUDICATION = "adjudication"  # an adjudicator has begun
    RESOLVED = "resolved"  # there is a consensus
    SIGNED_OUT = "signed out"  # for everyone, whether they have read it or not
    AMENDED = "amended"  # signed out, and signed again since


class JobState(StrEnum):
    """How far the analysis of one image has come."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Stage(StrEnum):
    """Whether a read was given before or after the reveal, or takes one back."""

    FIRST = "first"
    FINAL = "final"
    WITHDRAWN = "withdrawn"  # a final read taken back at once; it says nothing of the case


class Vote(StrEnum):
    """Whether the reader found the heat map useful."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Account:
    """One person who may sign in."""

    id: int
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of a case, as far as it may be known before the reveal."""

    id: int
    position: int  # 1 is the first image of the case
    height: int
    width: int
    quality: Quality
    job: JobState
    job_message: str | None  # why there is no result; never the model's opinion
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class AddedImage:
    """What became of one uploaded image; `already_in` names the case that has the same bytes."""

    image_id: int
    already_in: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One image to analyse, claimed by one worker."""

    id: int
    image_id: int
    file_sha256: str
    attempt: int
    magnification: str | None  # of the case


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a reader says of a case; `label` None means that it cannot be assessed."""

    label: Malignancy | None
    confidence: int | None  # 1 (guess) to 5 (certain); None when it cannot be assessed
    subtype: str | None = None
    note: str = ""
    reason: str | None = None  # coded; asked when a final read differs from the model
    vote: Vote | None = None  # on the heat map; final reads only
    regions: tuple[Region, ...] = ()

    def __post_init__(self) -> None:
        if self.label not in ("benign", "malignant", None):
            raise ValueError(f"an opinion is benign, malignant or None, got {self.label!r}")
        if (self.label is None) != (self.confidence is None):
            raise ValueError("a label needs a confidence; 'cannot assess' has none")
        if self.confidence is not None and not 1 <= self.confidence <= 5:
            raise ValueError(f"confidence is 1 to 5, got {self.confidence}")
        # Not to be typed, but to be sent: PostgreSQL refuses the one, and no database takes the others.
        if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in self.note):
            raise ValueError("a note with NUL or half a letter in it cannot be kept: please write it anew")


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


@dataclass(frozen=True, slots=True)
class RevealedImage:
    """The model's opinion of one image, given out only after the first read."""

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
class Holder:
    """Another reader who has a case open."""

    reader: str
    since: datetime


@dataclass(frozen=True, slots=True)
class CaseView:
    """What the reading page shows of a case; `reveal` is None until this reader's first read is saved."""

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


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image that is already on disk: what was sent, and the pixels we kept of it."""

    source_sha256: str  # of the bytes as they were sent; recognises the same file again
    file_sha256: str  # of the PNG we keep, without metadata
    height: int
    width: int
    quality: Quality


@dataclass(frozen=True, slots=True)
class StoredHeatmap:
    """A heat map that is already on disk, with the range of its evidence in logit units."""

    file_sha256: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which checkpoint made a prediction."""

    version: str  # first twelve hex digits of the file's sha256
    name: str
    demonstration: bool


class Action(StrEnum):
    """What the audit trail records; accounts and backups add their own words."""

    CASE_ADDED = "case added"
    IMAGE_ADDED = "image added"
    CASE_OPENED = "case opened"
    FIRST_READ = "first read saved"
    REVEALED = "revealed"
    FINAL_READ = "final read saved"
    AMENDED = "read amended"
    WITHDRAWN = "read withdrawn"
    OPINIONS_SHOWN = "opinions of others shown"
    CONSENSUS = "consensus saved"
    SIGNED_OFF = "signed off"
    SIGN_OFF_AMENDED = "sign-off amended"
    ASSIGNED = "case assigned"
    UNASSIGNED = "assignment withdrawn"
    PRIORITY_SET = "priority set"
    STUDY_MADE = "study made"
    STUDY_CLOSED = "study closed"
    EXPORTED = "exported"
    MODEL_IN_SERVICE = "model put into service"
    CHAINED = "audit trail chained"
    BACKED_UP = "backed up"
    RESTORED = "restored"


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One line of the audit trail; `account` None means the program itself."""

    at: datetime
    account: str | None
    action: str
    subject: str
    number: int
