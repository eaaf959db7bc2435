"""Cases, their images, how these were received, and their scales."""

from datetime import datetime
from typing import get_args

from sqlalchemy import CheckConstraint, Enum, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from core.imaging.scale import ScaleSource
from db.tables.base import Base, unique_where


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


class CaseNumber(Base):
    """The accession of a case in the form in which case numbers are compared; derived from it, so its row may change.

    `shared` marks a case from the time when `S24-10` and `s24-10` were two numbers, if an older case has the same one.
    """

    __tablename__ = "case_numbers"
    __table_args__ = (unique_where("uq_case_numbers_folded", ("folded",), "NOT shared"),)

    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    folded: Mapped[str] = mapped_column(Text)
    shared: Mapped[bool]


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
