"""The queue of analyses, and what the model found in images."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Enum, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.results import ScopeLevel
from db.tables.base import Base, unique_where
from db.values.jobs import JobState


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


class Prediction(Base):
    """The prediction of one model version for one image; holds all fields of a `Prediction` value."""

    __tablename__ = "predictions"
    __table_args__ = (
        # An image whose scale was corrected is analysed again.
        UniqueConstraint("image_id", "model_version", "scale_id"),
        unique_where("uq_predictions_without_scale", ("image_id", "model_version"), "scale_id IS NULL"),
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


class ImageScope(Base):
    """How unlike its training images a model version found an image; `out` means that it gave no opinion."""

    __tablename__ = "image_scopes"
    __table_args__ = (
        UniqueConstraint("image_id", "model_version", "scale_id"),
        unique_where("uq_image_scopes_without_scale", ("image_id", "model_version"), "scale_id IS NULL"),
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
    map_sha256: Mapped[str | None] = mapped_column(String(64))  # of the file of its map; null if none was stored
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
