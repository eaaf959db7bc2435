"""How like the training images of a model the uploads of this site are."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import tables
from db.queries.permissions import has_permission, require_permission
from db.queries.reader_knowledge import shows_scopes
from db.queries.scales import is_of_current_scale
from db.values.accounts import Permission
from db.values.uploads import UploadedScope


def uploaded_scopes(session: Session, account_id: int, version: str) -> list[UploadedScope]:
    """Return what a model version found of the scope of every uploaded image, oldest first; without demo cases.

    An account that reads cases gets only those of which it has saved its first opinion: in a quiet month, a sum tells
    of single images.

    Raises:
        NotAllowedError: If this account may not watch what is uploaded.
    """
    require_permission(session, account_id, Permission.WATCH_UPLOADS)
    scope, image, case = tables.ImageScope, tables.Image, tables.Case
    query = (
        select(image.added_at, case.id, scope.score, scope.level)
        .join(image, image.id == scope.image_id)
        .join(case, case.id == image.case_id)
        .where(scope.model_version == version, case.demonstration.is_(False), is_of_current_scale(scope))
        .order_by(image.id)
    )
    if has_permission(session, account_id, Permission.READ_CASES):
        query = query.where(shows_scopes(case.id, account_id))
    return [UploadedScope(at.date(), case_id, score, level) for at, case_id, score, level in session.execute(query)]
