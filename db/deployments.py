"""Which checkpoint is in service: the last one that was put there; the ones before stay on record."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.card import model_version
from db import models
from db.access_values import Permission
from db.audit import record_event
from db.evaluation_models import Deployment as DeploymentRow
from db.evaluation_values import Deployment
from db.permissions import need
from db.seals import seal
from db.values import Action

_SUBJECT_LIMIT = 200  # characters; the width of the audit trail's column


def put_in_service(session: Session, account_id: int | None, path: str, sha256: str, name: str) -> Deployment:
    """Put a checkpoint into service and record who did it; `account_id` None means the program itself.

    Raises:
        NotAllowedError: If this account may not.
    """
    need(session, account_id, Permission.ADMINISTER)
    row = DeploymentRow(at=datetime.now(UTC), account_id=account_id, path=path, sha256=sha256, name=name)
    session.add(row)
    subject = f"{model_version(sha256)} {name}"[:_SUBJECT_LIMIT]
    record_event(session, account_id, Action.MODEL_IN_SERVICE, subject, content=seal(session, row))
    return _value(row, _account_name(session, account_id))


def in_service(session: Session) -> Deployment | None:
    """Give the checkpoint that was put into service last; None if none ever was."""
    row = session.scalar(select(DeploymentRow).order_by(DeploymentRow.id.desc()).limit(1))
    return _value(row, _account_name(session, row.account_id)) if row else None


def deployments(session: Session) -> list[Deployment]:
    """Give every checkpoint that was put into service, the newest first."""
    name = select(models.Account.name).where(models.Account.id == DeploymentRow.account_id).scalar_subquery()
    rows = session.execute(select(DeploymentRow, name).order_by(DeploymentRow.id.desc()))
    return [_value(row, account) for row, account in rows]


def _account_name(session: Session, account_id: int | None) -> str | None:
    account = session.get(models.Account, account_id) if account_id else None
    return account.name if account else None


def _value(row: DeploymentRow, account: str | None) -> Deployment:
    return Deployment(row.id, row.at, account, row.path, row.sha256, row.name)
