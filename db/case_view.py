"""One case as one reader may see it now."""

from dataclasses import replace

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import models
from db.access_values import Permission
from db.audit import record_opening, record_reveal
from db.case_claims import claim_case, claim_holders
from db.case_states import is_signed
from db.cases import case_row, quality_of
from db.jobs import seconds_per_job
from db.permissions import need
from db.read_rows import current_read
from db.reveal import reveal_of
from db.study_order import refuse_in_study
from db.values import CaseState, CaseView, ImageRow, JobState, Stage
from db.worklist import case_state


def open_case(session: Session, case_id: int, account_id: int) -> CaseView:
    """Give a case to a reader, with the model's opinion only after their first read, and record it.

    Needs a writing session, for the audit trail. A page that others wait for does it in two steps, so that only
    the second one holds them off: `case_view`, then `record_opened`.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader has to read it in a study.
    """
    return record_opened(session, case_view(session, case_id, account_id), account_id)


def case_view(session: Session, case_id: int, account_id: int) -> CaseView:
    """Give a case as this reader may see it now; it must be recorded by `record_opened` before it is shown.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader has to read it in a study.
    """
    need(session, account_id, Permission.READ_CASES)
    case = case_row(session, case_id)
    refuse_in_study(session, case, account_id)
    first = current_read(session, case_id, account_id, Stage.FIRST)
    return CaseView(
        id=case.id,
        accession=case.accession,
        magnification=case.magnification,
        demonstration=case.demonstration,
        state=case_state(session, case_id, account_id),
        images=case_images(session, case_id),
        first_read=first,
        final_read=current_read(session, case_id, account_id, Stage.FINAL),
        reveal=reveal_of(session, case_id) if first else None,
        open_elsewhere=claim_holders(session, case_id, account_id),
    )


def record_opened(session: Session, case: CaseView, account_id: int) -> CaseView:
    """Record that a case, and what it holds of the model, is shown to a reader, and claim it for them.

    Raises:
        NotAllowedError: If this account may not see cases.
        InStudyError: If a study has taken the case meanwhile.
    """
    need(session, account_id, Permission.READ_CASES)
    refuse_in_study(session, case_row(session, case.id), account_id)
    claimed = case.final_read is None and not is_signed(session, case.id)
    if claimed:
        claim_case(session, case.id, account_id)
    record_opening(session, account_id, case.accession)
    if case.reveal:
        record_reveal(session, account_id, case.accession)
    return replace(case, state=CaseState.IN_READING) if claimed and case.state is CaseState.READY else case


def case_images(session: Session, case_id: int) -> tuple[ImageRow, ...]:
    """Give the images of a case; those still to be analysed with their place in the queue as seconds."""
    job = models.Job
    queue = (
        select(job.id, func.row_number().over(order_by=(job.attempts, job.id)).label("place"))
        .where(job.state.in_((JobState.QUEUED, JobState.RUNNING)))
        .subquery()
    )
    query = (
        select(models.Image, job, queue.c.place)
        .join(job, job.image_id == models.Image.id)
        .outerjoin(queue, queue.c.id == job.id)
        .where(models.Image.case_id == case_id)
        .order_by(models.Image.position)
    )
    found = session.execute(query).all()
    pace = seconds_per_job(session) if any(place for _, _, place in found) else None
    return tuple(_image_row(image, row, place * pace if place and pace else None) for image, row, place in found)


def _image_row(image: models.Image, job: models.Job, seconds_left: float | None) -> ImageRow:
    return ImageRow(
        id=image.id,
        position=image.position,
        height=image.height,
        width=image.width,
        quality=quality_of(image),
        job=job.state,
        job_message=job.message,
        seconds_left=seconds_left,
    )
