"""Training runs, evaluations, and which checkpoint is in service."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, by_value
from db.values.evaluations import RunState, ThresholdAim


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
