"""The tables of training and evaluation; whoever imports `Base` from here knows every table of the database."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import by_value
from db.evaluation_values import RunState
from db.models import Base

__all__ = ["Base", "Deployment", "EvaluatedImage", "Evaluation", "Run", "Shift"]


class Run(Base):
    """One training run; its row follows it until it ends."""

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
    """What was measured of one model version on one labelled dataset."""

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
    """One image of an evaluation; `confidence` is its largest probability, kept to sort by."""

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


class Shift(Base):
    """How far one image set lies from another."""

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
