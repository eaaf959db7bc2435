"""Rows of scales: the newest row of an image counts, and it decides which results are current."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import Session, aliased

from db import tables
from db.values.scales import ChosenScale, ImageScale


def add_scale(session: Session, account_id: int, image_id: int, chosen: ChosenScale) -> tables.ImageScale:
    """Add a row and return it; the caller seals it."""
    row = tables.ImageScale(
        image_id=image_id,
        um_per_px=chosen.scale.um_per_px,
        source=chosen.scale.source,
        profile_id=chosen.objective_id,
        account_id=account_id,
        created_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    return row


def scale_row(session: Session, image_id: int) -> tables.ImageScale | None:
    """Return the row that counts for an image; None if its scale is unknown."""
    row = tables.ImageScale
    return session.scalar(select(row).where(row.image_id == image_id).order_by(row.id.desc()).limit(1))


def scale_of(session: Session, image_id: int) -> ImageScale | None:
    """Return the scale of an image; None if it is unknown."""
    image = tables.Image.id
    return scales_of(session, select(image).where(image == image_id)).get(image_id)


def scales_of(session: Session, images: Select[int]) -> Mapping[int, ImageScale]:
    """Return the scales of images by id, without those whose scale is unknown."""
    row, profile = tables.ImageScale, tables.MicroscopeProfile
    query = select(row, profile.name, profile.objective).outerjoin(profile, profile.id == row.profile_id)
    return {
        one.image_id: ImageScale(one.um_per_px, one.source, f"{name}, {objective}" if name else "")
        # A later row replaces an earlier one.
        for one, name, objective in session.execute(query.where(row.image_id.in_(images)).order_by(row.id))
    }


def is_of_current_scale(result: type[tables.Prediction] | type[tables.ImageScope]) -> ColumnElement[bool]:
    """Select the results of analyses that were made with the scale that their image has now."""
    scale = aliased(tables.ImageScale)
    later = select(scale.id).where(
        scale.image_id == result.image_id,
        or_(result.scale_id.is_(None), scale.id > result.scale_id),
    )
    return ~later.exists()
