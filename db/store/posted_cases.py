"""How far the cases are that a program has added: states only, and nothing of what the model or a reader says."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import tables
from db.errors import UnknownCaseError
from db.queries.cases import case_row, check_id
from db.queries.permissions import require_permission
from db.queries.study_places import refuse_in_study
from db.store.jobs import seconds_per_job
from db.store.worklist import case_state
from db.values.accounts import Permission
from db.values.jobs import PENDING
from db.values.programs import PostedCase, PostedImage, PostedJob


def posted_case(session: Session, case_id: int, account_id: int) -> PostedCase:
    """Return a case that this account added.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case, or another account added it.
        InStudyError: If this account must read it in a study.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    case = case_row(session, case_id)
    if case.created_by_id != account_id:
        raise UnknownCaseError(f"there is no case number {case_id}")
    # Its state, like all of it, is shown to this account only there.
    refuse_in_study(session, case, account_id)
    image, job = tables.Image, tables.Job
    rows = session.execute(
        select(image.id, job.id, job.state)
        .join(job, job.image_id == image.id)
        .where(image.case_id == case_id)
        .order_by(image.position)
    )
    return PostedCase(
        id=case.id,
        accession=case.accession,
        magnification=case.magnification,
        state=case_state(session, case_id, account_id),
        created_at=case.created_at,
        images=tuple(PostedImage(*row) for row in rows),
    )


def interrupted_case(session: Session, account_id: int, sources: Sequence[str], since: datetime) -> int | None:
    """Return the case that this account has begun to add since then with any of these files; None if there is none.

    Args:
        session: A session.
        account_id: Who added it.
        sources: The sha256 of the files.
        since: When the request was first received.

    Raises:
        NotAllowedError: If this account may not see cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    image, case = tables.Image, tables.Case
    query = (
        select(case.id)
        .join(image, image.case_id == case.id)
        .where(image.source_sha256.in_(sources), case.created_by_id == account_id, case.created_at >= since)
    )
    return session.scalar(query.order_by(case.id).limit(1))


def posted_job(session: Session, job_id: int, account_id: int) -> PostedJob:
    """Return the analysis of an image of a case that this account added.

    Why an analysis gave no result is left out, because it is part of what the model says.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such job, or another account added its case.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    check_id(job_id)
    job, image, case = tables.Job, tables.Image, tables.Case
    query = (
        select(job, image.case_id)
        .join(image, image.id == job.image_id)
        .join(case, case.id == image.case_id)
        .where(job.id == job_id, case.created_by_id == account_id)
    )
    found = session.execute(query).first()
    if found is None:
        raise UnknownCaseError(f"there is no job number {job_id}")
    row, case_id = found
    place = _place(session, row) if row.state in PENDING else None
    pace = seconds_per_job(session) if place else None
    return PostedJob(
        id=row.id,
        image_id=row.image_id,
        case_id=case_id,
        state=row.state,
        attempts=row.attempts,
        place=place,
        seconds_left=place * pace if place and pace else None,
    )


def _place(session: Session, job: tables.Job) -> int:
    """Count the jobs up to this one, in the order in which workers claim them."""
    row = tables.Job
    before = (row.attempts < job.attempts) | ((row.attempts == job.attempts) & (row.id <= job.id))
    return session.scalar(select(func.count()).select_from(row).where(row.state.in_(PENDING), before)) or 1
