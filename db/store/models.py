"""The checkpoint in service, its threshold here, who has confirmed what it is, and training runs."""

from datetime import UTC, datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from core.card import model_version
from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.queries.confirmed_models import has_confirmed
from db.queries.permissions import require_permission
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.evaluations import Deployment, RunRow, RunState, SiteThreshold, ThresholdAim

_SUBJECT_LIMIT = 200  # characters; the width of the audit trail's column


def put_in_service(session: Session, account_id: int | None, path: str, sha256: str, name: str) -> Deployment:
    """Put a checkpoint into service and record who did it; `account_id` None means the program itself.

    Raises:
        NotAllowedError: If this account may not administer models.
    """
    require_permission(session, account_id, Permission.ADMINISTER)
    row = tables.Deployment(at=datetime.now(UTC), account_id=account_id, path=path, sha256=sha256, name=name)
    session.add(row)
    subject = f"{model_version(sha256)} {name}"[:_SUBJECT_LIMIT]
    record_event(session, account_id, Action.MODEL_IN_SERVICE, subject, content=seal(session, row))
    return _deployment_of(row, _account_name(session, account_id))


def in_service(session: Session) -> Deployment | None:
    """Return the checkpoint in service; None if none was ever put into service."""
    row = session.scalar(select(tables.Deployment).order_by(tables.Deployment.id.desc()).limit(1))
    return _deployment_of(row, _account_name(session, row.account_id)) if row else None


def deployments(session: Session) -> list[Deployment]:
    """Return all checkpoints ever put into service, newest first."""
    name = select(tables.Account.name).where(tables.Account.id == tables.Deployment.account_id).scalar_subquery()
    rows = session.execute(select(tables.Deployment, name).order_by(tables.Deployment.id.desc()))
    return [_deployment_of(row, account) for row, account in rows]


def confirm_model(session: Session, account_id: int, version: str) -> None:
    """Record that an account knows what a model version is good and bad at; a second time changes nothing.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    if has_confirmed(session, account_id, version):
        return
    row = tables.ModelConfirmation(account_id=account_id, model_version=version, at=datetime.now(UTC))
    session.add(row)
    record_event(session, account_id, Action.MODEL_CONFIRMED, version, content=seal(session, row))


def is_confirmed(session: Session, account_id: int, version: str) -> bool:
    """Return whether an account has confirmed the explanation of a model version.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    return has_confirmed(session, account_id, version)


def choose_threshold(session: Session, account_id: int, version: str, aim: ThresholdAim, value: float) -> None:
    """Use this threshold for what a model version analyses from now on; stored results keep theirs.

    Raises:
        NotAllowedError: If this account may not administer models.
        ValueError: If it is not between 0 and 1.
    """
    require_permission(session, account_id, Permission.ADMINISTER)
    if not 0 < value < 1:
        raise ValueError(f"a threshold must lie between 0 and 1, got {value}")
    row = tables.SiteThreshold(at=datetime.now(UTC), account_id=account_id, model_version=version, aim=aim, value=value)
    session.add(row)
    subject = f"{version}: {aim.value}, {value:.4f}"
    record_event(session, account_id, Action.THRESHOLD_CHOSEN, subject, content=seal(session, row))


_THRESHOLDS = tables.SiteThreshold.__table__.c  # without the ORM, which takes a third of the time
_NEWEST_THRESHOLD = (
    select(_THRESHOLDS.value)
    .where(_THRESHOLDS.model_version == bindparam("version"))
    .order_by(_THRESHOLDS.id.desc())
    .limit(1)
)


def site_threshold_value(session: Session, version: str) -> float | None:
    """Return the value of `site_threshold`, which every request and every job asks for, in half of the time."""
    value: float | None = session.scalar(_NEWEST_THRESHOLD, {"version": version})
    return value


def site_threshold(session: Session, version: str) -> SiteThreshold | None:
    """Return the threshold that was last chosen for a model version; None if its card decides."""
    row = tables.SiteThreshold
    query = select(row, tables.Account.name).join(tables.Account, tables.Account.id == row.account_id)
    found = session.execute(query.where(row.model_version == version).order_by(row.id.desc()).limit(1)).first()
    if found is None:
        return None
    chosen, name = found
    return SiteThreshold(chosen.model_version, chosen.aim, chosen.value, name, chosen.at)


def _account_name(session: Session, account_id: int | None) -> str | None:
    account = session.get(tables.Account, account_id) if account_id else None
    return account.name if account else None


def _deployment_of(row: tables.Deployment, account: str | None) -> Deployment:
    return Deployment(row.id, row.at, account, row.path, row.sha256, row.name)


def start_run(session: Session, name: str, folder: str, config: str) -> int:
    """Record that a run has started in a folder and return its id; a resumed run keeps its row."""
    row = session.scalar(select(tables.Run).where(tables.Run.folder == folder).with_for_update())
    if row is None:
        row = tables.Run(name=name, folder=folder, started_at=datetime.now(UTC))
        session.add(row)
    row.name, row.config, row.state = name, config, RunState.RUNNING
    row.finished_at = row.history = row.checkpoint_sha256 = None
    session.flush()
    return row.id


def finish_run(
    session: Session, run_id: int, state: RunState, history: str, checkpoint_sha256: str | None = None
) -> None:
    """Record how a run ended.

    Raises:
        LookupError: If there is no such run.
        ValueError: If the state is `RUNNING`.
    """
    if state is RunState.RUNNING:
        raise ValueError("the final state of a run must be finished or failed, not running")
    row = session.get(tables.Run, run_id)
    if row is None:
        raise LookupError(f"there is no run number {run_id}")
    row.state, row.history, row.checkpoint_sha256 = state, history, checkpoint_sha256
    row.finished_at = datetime.now(UTC)
    session.flush()


def runs(session: Session) -> list[RunRow]:
    """Return all runs, newest first."""
    return [
        _run_of(row)
        for row in session.scalars(select(tables.Run).order_by(tables.Run.started_at.desc(), tables.Run.id.desc()))
    ]


def run(session: Session, run_id: int) -> RunRow | None:
    """Find a run by its number."""
    row = session.get(tables.Run, run_id)
    return _run_of(row) if row else None


def _run_of(row: tables.Run) -> RunRow:
    return RunRow(
        id=row.id,
        name=row.name,
        folder=row.folder,
        state=row.state,
        started_at=row.started_at,
        finished_at=row.finished_at,
        config=row.config,
        history=row.history,
        checkpoint_sha256=row.checkpoint_sha256,
    )
