"""The tables of the database; rows are never passed out of `db`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import get_args

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from core.imaging.scale import ScaleSource
from core.labels import Malignancy
from core.results import ScopeLevel
from db.values.accounts import TokenScope
from db.values.evaluations import RunState, ThresholdAim
from db.values.reading import Arm, JobState, RegionKind, Role, Severity, Stage, Vote

# A later migration cannot drop a constraint that has no name.
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

_LINKED = text("unlinked_at IS NULL")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, stored in UTC; SQLite stores no time zone, so it is added when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert a time to UTC, or refuse one without a time zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time needs a time zone, got {value.isoformat()}")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def by_value(enum: type[StrEnum], name: str) -> Enum:
    """Store an enum by value, so that renaming a member in code does not affect rows."""
    return Enum(
        enum,
        name=name,
        native_enum=False,
        create_constraint=True,
        validate_strings=True,
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """The base class of all tables."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
        datetime: UtcDateTime,
        Role: by_value(Role, "role"),
        JobState: by_value(JobState, "state"),
        Stage: by_value(Stage, "stage"),
        Vote: by_value(Vote, "vote"),
        Malignancy: Enum("benign", "malignant", name="label", native_enum=False, create_constraint=True, length=16),
        list[str]: JSON,
        list[float]: JSON,
        list[int]: JSON,
        list[dict[str, str]]: JSON,
    }


def _once(name: str, columns: Sequence[str], where: str) -> Index:
    return Index(name, *columns, unique=True, sqlite_where=text(where), postgresql_where=text(where))


class Account(Base):
    """One person who may sign in."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    role: Mapped[Role]
    created_at: Mapped[datetime]


class Case(Base):
    """One diagnostic request; `automatic_number` is set if its accession was generated."""

    __tablename__ = "cases"
    __table_args__ = (Index(None, "created_by_id", "id"), Index(None, "created_at", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    accession: Mapped[str] = mapped_column(String(64), unique=True)
    automatic_number: Mapped[int | None] = mapped_column(unique=True)
    magnification: Mapped[str | None] = mapped_column(String(32))
    demonstration: Mapped[bool]
    created_by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    created_at: Mapped[datetime]


class Image(Base):
    """One field of view of a case and its quality at intake; lengths in pixels."""

    __tablename__ = "images"
    __table_args__ = (
        UniqueConstraint("case_id", "position"),
        Index(None, "file_sha256"),
        CheckConstraint("height > 0 AND width > 0", name="size"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    position: Mapped[int]
    source_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    file_sha256: Mapped[str] = mapped_column(String(64))
    height: Mapped[int]
    width: Mapped[int]
    sharpness: Mapped[float]
    tissue_fraction: Mapped[float]
    findings: Mapped[list[dict[str, str]]]
    added_at: Mapped[datetime]


class CaseNumber(Base):
    """The accession of a case in the form in which case numbers are compared; derived from it, so its row may change.

    `shared` marks a case from the time when `S24-10` and `s24-10` were two numbers, if an older case has the same one.
    """

    __tablename__ = "case_numbers"
    __table_args__ = (_once("uq_case_numbers_folded", ("folded",), "NOT shared"),)

    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    folded: Mapped[str] = mapped_column(Text)
    shared: Mapped[bool]


class WorklistCase(Base):
    """A case on the worklist of one reader: derived from the other rows by `db.projection`, so its row changes.

    The state in `pile` (`db.values.piles`) is the one that the reader learns when Undo has ended, without claims.
    `uncertainty` and `concordance` are 2 where the model said nothing; they are null before the reader's own first or
    final read.
    """

    __tablename__ = "worklist_cases"
    __table_args__ = (
        Index(None, "account_id", "pile", "case_id"),
        Index(
            "ix_worklist_cases_uncertainty",
            *("account_id", "uncertainty", "case_id"),
            sqlite_where=text("uncertainty IS NOT NULL"),
            postgresql_where=text("uncertainty IS NOT NULL"),
        ),
        Index(
            "ix_worklist_cases_concordance",
            *("account_id", "concordance", "case_id"),
            sqlite_where=text("concordance IS NOT NULL"),
            postgresql_where=text("concordance IS NOT NULL"),
        ),
        # SQLite then keeps the rows of a reader together, in the order of the cases.
        {"sqlite_with_rowid": False},
    )

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    pile: Mapped[int] = mapped_column(SmallInteger)
    uncertainty: Mapped[float | None]  # distance of the model's probability from its threshold
    concordance: Mapped[float | None]  # how far the shown probability is on the reader's side of the threshold


class WorklistPile(Base):
    """How many cases are on a pile of one reader; derived like `worklist_cases`."""

    __tablename__ = "worklist_piles"
    __table_args__ = (CheckConstraint("cases >= 0", name="cases"), {"sqlite_with_rowid": False})

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    pile: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    cases: Mapped[int]


class CaseTerm(Base):
    """The accession of a case from one of its parts on, in the form in which it is searched; derived from it."""

    __tablename__ = "case_terms"
    __table_args__ = ({"sqlite_with_rowid": False},)

    term: Mapped[bytes] = mapped_column(primary_key=True)  # bytes sort alike in every database
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)


class CaseSortKey(Base):
    """The place of a case in the natural order of accessions; derived from its accession."""

    __tablename__ = "case_sort_keys"
    __table_args__ = (Index(None, "sort_key", "case_id"),)

    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    sort_key: Mapped[bytes]


class Intake(Base):
    """Several images received together: for one case, or with a case for each of them (`case_id` None).

    Until a row of `intake_ends` says that it has ended, the case is incomplete.
    """

    __tablename__ = "intakes"
    __table_args__ = (Index(None, "case_id"), CheckConstraint("images > 0", name="images"))

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int | None] = mapped_column(ForeignKey("cases.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    images: Mapped[int]  # received, whether or not they could be stored
    begun_at: Mapped[datetime]


class IntakeEnd(Base):
    """The end of an intake: everything was stored, or somebody has decided to do without the rest."""

    __tablename__ = "intake_ends"

    intake_id: Mapped[int] = mapped_column(ForeignKey("intakes.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    at: Mapped[datetime]


class IntakeImage(Base):
    """Which of the images of an intake was stored as which image; `position` 1 is the first that was received."""

    __tablename__ = "intake_images"
    __table_args__ = (UniqueConstraint("intake_id", "position"),)

    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)
    intake_id: Mapped[int] = mapped_column(ForeignKey("intakes.id"))
    position: Mapped[int]


class ImageOrder(Base):
    """An order of the images of a case, by their ids; the last row of a case counts."""

    __tablename__ = "image_orders"
    __table_args__ = (Index(None, "case_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    images: Mapped[list[int]]
    at: Mapped[datetime]


class MicroscopeProfile(Base):
    """The scale of one objective of a microscope, or that it is no longer offered (`um_per_px` None).

    The last row of a microscope and an objective counts.
    """

    __tablename__ = "microscope_profiles"
    __table_args__ = (Index(None, "name", "objective", "id"), CheckConstraint("um_per_px > 0", name="um_per_px"))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    objective: Mapped[str] = mapped_column(String(32))
    um_per_px: Mapped[float | None]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    created_at: Mapped[datetime]


class ImageScale(Base):
    """The scale of an image and who said so; the last row of an image counts, and none is added once it was read."""

    __tablename__ = "image_scales"
    __table_args__ = (
        Index(None, "image_id", "id"),
        CheckConstraint("um_per_px > 0", name="um_per_px"),
        CheckConstraint("(source = 'microscope') = (profile_id IS NOT NULL)", name="profile"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    um_per_px: Mapped[float]
    source: Mapped[ScaleSource] = mapped_column(
        Enum(*get_args(ScaleSource), name="source", native_enum=False, create_constraint=True, length=16)
    )
    profile_id: Mapped[int | None] = mapped_column(ForeignKey("microscope_profiles.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    created_at: Mapped[datetime]


class Prediction(Base):
    """The prediction of one model version for one image; holds all fields of a `Prediction` value."""

    __tablename__ = "predictions"
    __table_args__ = (
        # An image whose scale was corrected is analysed again.
        UniqueConstraint("image_id", "model_version", "scale_id"),
        _once("uq_predictions_without_scale", ("image_id", "model_version"), "scale_id IS NULL"),
        CheckConstraint("malignant_probability BETWEEN 0 AND 1", name="probability"),
        CheckConstraint("(heatmap_sha256 IS NULL) = (heatmap_low IS NULL)", name="heatmap_low"),
        CheckConstraint("(heatmap_sha256 IS NULL) = (heatmap_high IS NULL)", name="heatmap_high"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    model_version: Mapped[str] = mapped_column(String(64))
    model_name: Mapped[str] = mapped_column(String(200))
    demonstration: Mapped[bool]
    label_set: Mapped[str] = mapped_column(String(64))
    classes: Mapped[list[str]]
    malignant_classes: Mapped[list[str]]
    probabilities: Mapped[list[float]]
    malignant_probability: Mapped[float]
    threshold: Mapped[float]
    benign_patches: Mapped[int]
    malignant_patches: Mapped[int]
    heatmap_sha256: Mapped[str | None] = mapped_column(String(64))
    heatmap_low: Mapped[float | None]
    heatmap_high: Mapped[float | None]
    created_at: Mapped[datetime]
    scale_id: Mapped[int | None] = mapped_column(ForeignKey("image_scales.id"))  # with which it was analysed


class ImageEmbedding(Base):
    """Where an image lies among all others for the network that predicted it, by which similar images are found.

    `network` is the version of the model whose weights made it: a version that was calibrated for a site has those of
    its origin. The values are of half precision, little-endian, and of length 1 together.
    """

    __tablename__ = "image_embeddings"
    __table_args__ = (Index(None, "network", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    prediction_id: Mapped[int] = mapped_column(ForeignKey("predictions.id"), unique=True)
    network: Mapped[str] = mapped_column(String(64))
    embedding: Mapped[bytes] = mapped_column(LargeBinary)


class ImageScope(Base):
    """How unlike its training images a model version found an image; `out` means that it gave no opinion."""

    __tablename__ = "image_scopes"
    __table_args__ = (
        UniqueConstraint("image_id", "model_version", "scale_id"),
        _once("uq_image_scopes_without_scale", ("image_id", "model_version"), "scale_id IS NULL"),
        Index(None, "job_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    model_version: Mapped[str] = mapped_column(String(64))
    model_name: Mapped[str] = mapped_column(String(200))
    demonstration: Mapped[bool]
    level: Mapped[ScopeLevel] = mapped_column(
        Enum("in", "unusual", "out", name="level", native_enum=False, create_constraint=True, length=16)
    )
    score: Mapped[float]
    limit_unusual: Mapped[float]
    limit_out: Mapped[float]
    reasons: Mapped[list[str]]
    created_at: Mapped[datetime]
    scale_id: Mapped[int | None] = mapped_column(ForeignKey("image_scales.id"))  # with which it was analysed


class Job(Base):
    """The progress of the analysis of one image; its row changes."""

    __tablename__ = "jobs"
    # In the order in which jobs are claimed.
    __table_args__ = (Index(None, "state", "attempts", "id"), Index(None, "state", "finished_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), unique=True)
    state: Mapped[JobState]
    attempts: Mapped[int]
    worker: Mapped[str | None] = mapped_column(String(200))
    message: Mapped[str | None] = mapped_column(Text)
    queued_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Read(Base):
    """One opinion of one reader, and what the model showed when it was saved."""

    __tablename__ = "reads"
    __table_args__ = (
        # A double click must not save two reads; an amendment is a final read that refers to the one it replaces.
        _once("uq_reads_first", ("case_id", "account_id"), "stage = 'first' AND place_id IS NULL"),
        _once(
            "uq_reads_final",
            ("case_id", "account_id"),
            "stage = 'final' AND supersedes_id IS NULL AND place_id IS NULL",
        ),
        # In a study a reader reads a case again in every round.
        # Without the reads of routine reading: SQLite would look for all of them here, instead of those of a case.
        _once("uq_reads_place_first", ("place_id",), "stage = 'first' AND place_id IS NOT NULL"),
        _once(
            "uq_reads_place_final",
            ("place_id",),
            "stage = 'final' AND supersedes_id IS NULL AND place_id IS NOT NULL",
        ),
        Index(None, "account_id", "case_id", "stage"),
        Index(None, "case_id", "account_id"),
        Index(None, "account_id", "saved_at"),
        CheckConstraint("(label IS NULL) = (confidence IS NULL)", name="label_with_confidence"),
        CheckConstraint("confidence BETWEEN 1 AND 5", name="confidence"),
        CheckConstraint("stage = 'final' OR NOT model_visible", name="first_is_blind"),
        CheckConstraint("stage <> 'first' OR supersedes_id IS NULL", name="first_replaces_nothing"),
        CheckConstraint("stage <> 'withdrawn' OR (supersedes_id IS NOT NULL AND label IS NULL)", name="withdrawn"),
        CheckConstraint("model_visible = (shown_probability IS NOT NULL)", name="shown_probability"),
        CheckConstraint("model_visible = (shown_threshold IS NOT NULL)", name="shown_threshold"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    stage: Mapped[Stage]
    label: Mapped[Malignancy | None]
    confidence: Mapped[int | None]
    subtype: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(String(64))
    vote: Mapped[Vote | None]
    model_visible: Mapped[bool]
    shown_probability: Mapped[float | None]  # malignant, of the case, as the reader saw it
    shown_threshold: Mapped[float | None]
    opened_at: Mapped[datetime]
    saved_at: Mapped[datetime]
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("reads.id"), unique=True)
    place_id: Mapped[int | None] = mapped_column(ForeignKey("study_places.id"))  # in a study; None in routine reading
    edit_seconds: Mapped[float | None]  # with the form on the screen, pauses left out
    informed: Mapped[bool | None]  # given after others' opinions were open to the reader; None if not recorded
    # Of the case: `out` if the model gave no opinion, `unusual` if it was marked; None if nothing of it was shown.
    shown_scope: Mapped[ScopeLevel | None] = mapped_column(String(16))


class ReadPrediction(Base):
    """One prediction that was on the screen when a read was saved; a case may have several images."""

    __tablename__ = "read_predictions"

    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)
    prediction_id: Mapped[int] = mapped_column(ForeignKey("predictions.id"), primary_key=True)


class ReadScope(Base):
    """The scope of one image that was on the screen when a read was saved."""

    __tablename__ = "read_scopes"

    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)
    scope_id: Mapped[int] = mapped_column(ForeignKey("image_scopes.id"), primary_key=True)


class ReadImage(Base):
    """One image that a read was given on; reads from before images were named have none."""

    __tablename__ = "read_images"

    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"), primary_key=True)


class AuditEvent(Base):
    """Who did what to what, and when, chained by its hashes: `db.audit.chain`."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "account_id", "id"), Index(None, "subject", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))  # None: the program itself
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(200))
    previous_hash: Mapped[str] = mapped_column(String(64), unique=True)  # two events cannot follow the same one
    hash: Mapped[str] = mapped_column(String(64))
    content_of: Mapped[str | None] = mapped_column(String(120))  # the row that the event describes: `db.audit.seals`
    content_sha256: Mapped[str | None] = mapped_column(String(64))


class Run(Base):
    """One training run; its row is updated until it ends."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    folder: Mapped[str] = mapped_column(String(1000), unique=True)
    state: Mapped[RunState] = mapped_column(by_value(RunState, "state"))
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    config: Mapped[str] = mapped_column(Text)
    history: Mapped[str | None] = mapped_column(Text)
    checkpoint_sha256: Mapped[str | None] = mapped_column(String(64))


class Evaluation(Base):
    """The metrics of one model version on one labelled dataset."""

    __tablename__ = "evaluations"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    model_name: Mapped[str] = mapped_column(String(200))
    model_version: Mapped[str] = mapped_column(String(64))
    dataset: Mapped[str] = mapped_column(String(200))
    split: Mapped[str] = mapped_column(String(64))
    folder: Mapped[str] = mapped_column(String(1000))
    images: Mapped[int]
    document: Mapped[str] = mapped_column(Text)


class EvaluatedImage(Base):
    """One image of an evaluation; `confidence` is its largest probability, stored for sorting."""

    __tablename__ = "evaluated_images"
    __table_args__ = (
        CheckConstraint("malignant_probability BETWEEN 0 AND 1", name="probability"),
        # The cells of the two matrices.
        Index(None, "evaluation_id", "malignant", "called_malignant"),
        Index(None, "evaluation_id", "label", "predicted"),
    )

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(1000))
    patient_id: Mapped[str] = mapped_column(String(200))
    magnification: Mapped[str] = mapped_column(String(32))
    label: Mapped[str] = mapped_column(String(64))
    predicted: Mapped[str] = mapped_column(String(64))
    malignant: Mapped[bool]
    called_malignant: Mapped[bool]
    malignant_probability: Mapped[float]
    confidence: Mapped[float]
    probabilities: Mapped[list[float]]
    preview_sha256: Mapped[str | None] = mapped_column(String(64))
    heatmap_sha256: Mapped[str | None] = mapped_column(String(64))
    source_sha256: Mapped[str | None] = mapped_column(String(64))  # as in `images`; None in older evaluations
    file_sha256: Mapped[str | None] = mapped_column(String(64))


class Shift(Base):
    """The distance between two image sets."""

    __tablename__ = "shifts"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    source: Mapped[str] = mapped_column(String(200))
    target: Mapped[str] = mapped_column(String(200))
    model_version: Mapped[str] = mapped_column(String(64))
    document: Mapped[str] = mapped_column(Text)


class Deployment(Base):
    """One checkpoint that was put into service."""

    __tablename__ = "deployments"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))  # None: the program itself
    path: Mapped[str] = mapped_column(String(1000))
    sha256: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200))


class ModelConfirmation(Base):
    """An account has confirmed that it knows what a model version is good and bad at."""

    __tablename__ = "model_confirmations"
    __table_args__ = (UniqueConstraint("account_id", "model_version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    model_version: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]


class SiteThreshold(Base):
    """The threshold that this site uses of a model version; the last row of a version counts."""

    __tablename__ = "site_thresholds"
    __table_args__ = (
        CheckConstraint("value > 0 AND value < 1", name="value"),
        Index(None, "model_version", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    model_version: Mapped[str] = mapped_column(String(64))
    aim: Mapped[ThresholdAim] = mapped_column(by_value(ThresholdAim, "aim"))
    value: Mapped[float]


class Study(Base):
    """One reader study; only `closed_at` is filled in later."""

    __tablename__ = "studies"
    __table_args__ = (CheckConstraint("washout_days >= 0", name="washout"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    seed: Mapped[int]
    washout_days: Mapped[float]
    counterbalanced: Mapped[bool]
    created_by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    created_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class StudyPlace(Base):
    """One case in the order of one reader; written when the study is made."""

    __tablename__ = "study_places"
    __table_args__ = (
        UniqueConstraint("study_id", "account_id", "round", "position", name="uq_study_places_order"),
        UniqueConstraint("study_id", "account_id", "round", "case_id", name="uq_study_places_case"),
        Index(None, "account_id", "case_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    round: Mapped[int]
    arm: Mapped[Arm] = mapped_column(by_value(Arm, "arm"))
    iteration: Mapped[int]
    position: Mapped[int]


class Assignment(Base):
    """An assignment of a case to a reader, or its withdrawal; the last row of a case and a reader counts."""

    __tablename__ = "assignments"
    __table_args__ = (Index(None, "case_id", "account_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    active: Mapped[bool]
    by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    at: Mapped[datetime]


class Priority(Base):
    """Whether a case is urgent; the last row of a case counts."""

    __tablename__ = "priorities"
    __table_args__ = (Index(None, "case_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    urgent: Mapped[bool]
    by_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    at: Mapped[datetime]


class Claim(Base):
    """The case that a reader has open now, at most one; holds no history."""

    __tablename__ = "claims"
    __table_args__ = (Index(None, "case_id"),)

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    claimed_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class Region(Base):
    """A place in an image that a reader marked with a read; coordinates in image pixels."""

    __tablename__ = "regions"
    __table_args__ = (Index(None, "read_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id"))
    kind: Mapped[RegionKind] = mapped_column(by_value(RegionKind, "kind"))
    points: Mapped[list[list[float]]] = mapped_column(JSON)
    note: Mapped[str] = mapped_column(String(200))


class Consensus(Base):
    """The decision of an adjudicator after their own blind read."""

    __tablename__ = "consensus"
    __table_args__ = (
        # Two adjudicators who save at once must not add two; a later consensus refers to the one it replaces.
        Index(
            "uq_consensus_first",
            "case_id",
            unique=True,
            sqlite_where=text("supersedes_id IS NULL"),
            postgresql_where=text("supersedes_id IS NULL"),
        ),
        Index(None, "case_id", "id"),
        CheckConstraint("(label IS NULL) = (confidence IS NULL)", name="label_with_confidence"),
        CheckConstraint("confidence BETWEEN 1 AND 5", name="confidence"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    blind_read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"))
    label: Mapped[Malignancy | None]
    confidence: Mapped[int | None]
    subtype: Mapped[str | None] = mapped_column(String(64))
    severity: Mapped[Severity] = mapped_column(by_value(Severity, "severity"))
    note: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[datetime]
    saved_at: Mapped[datetime]
    supersedes_id: Mapped[int | None] = mapped_column(ForeignKey("consensus.id"), unique=True)


class ConsensusRead(Base):
    """One read that was shown, without a name, when a consensus was saved."""

    __tablename__ = "consensus_reads"

    consensus_id: Mapped[int] = mapped_column(ForeignKey("consensus.id"), primary_key=True)
    read_id: Mapped[int] = mapped_column(ForeignKey("reads.id"), primary_key=True)


class SignOff(Base):
    """One signed version of a case; the last one is current, and earlier ones are kept."""

    __tablename__ = "sign_offs"
    __table_args__ = (
        UniqueConstraint("case_id", "version"),
        CheckConstraint("version >= 1 AND (version = 1) = (why = '')", name="amendment_says_why"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"))
    version: Mapped[int]
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    label: Mapped[Malignancy | None]
    subtype: Mapped[str | None] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text)
    why: Mapped[str] = mapped_column(Text)
    consensus_id: Mapped[int | None] = mapped_column(ForeignKey("consensus.id"))
    saved_at: Mapped[datetime]


class Credential(Base):
    """How one account signs in; an account without such a row cannot.

    Separate from `accounts`, so that a hash is never loaded, shown or exported together with a name.
    """

    __tablename__ = "credentials"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    disabled: Mapped[bool]
    changed_at: Mapped[datetime]


class SignIn(Base):
    """One sign-in of a browser; stores only the hash of its cookie's secret."""

    __tablename__ = "sign_ins"
    __table_args__ = (Index(None, "account_id", "ended_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    idle_until: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ApiToken(Base):
    """One token of a program that acts for an account; stores only its hash.

    Without a scope it shows images as its account may see them, as all tokens once did.
    """

    __tablename__ = "api_tokens"
    __table_args__ = (Index(None, "account_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    label: Mapped[str] = mapped_column(String(200))
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    scope: Mapped[TokenScope | None] = mapped_column(by_value(TokenScope, "scope"))


class KeyedRequest(Base):
    """A request of a program that must be carried out only once, by the key it was sent with, and its answer.

    Without an answer it is being carried out, or was interrupted.
    """

    __tablename__ = "keyed_requests"
    __table_args__ = (
        UniqueConstraint("token_id", "key"),
        CheckConstraint("(status IS NULL) = (answer IS NULL)", name="answered"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("api_tokens.id"))
    key: Mapped[str] = mapped_column(String(255))
    request_sha256: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    status: Mapped[int | None]
    answer: Mapped[str | None] = mapped_column(Text)


class PredictionPermit(Base):
    """An administrator lets programs ask for predictions of the images of a case before it is signed off."""

    __tablename__ = "prediction_permits"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), unique=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))  # None: a command
    why: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime]


class LinkedIdentity(Base):
    """One identity at a provider that signs in as an account; known by its e-mail address until its first sign-in."""

    __tablename__ = "identities"
    __table_args__ = (
        Index(
            "uq_identities_subject", "issuer", "subject", unique=True, sqlite_where=_LINKED, postgresql_where=_LINKED
        ),
        Index("uq_identities_email", "issuer", "email", unique=True, sqlite_where=_LINKED, postgresql_where=_LINKED),
        Index(None, "account_id"),
        CheckConstraint("subject IS NOT NULL OR email IS NOT NULL", name="names_somebody"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    issuer: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str | None] = mapped_column(String(255))
    email: Mapped[str | None] = mapped_column(String(255))
    linked_at: Mapped[datetime]
    unlinked_at: Mapped[datetime | None]
