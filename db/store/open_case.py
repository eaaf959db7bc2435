"""A case as one reader may see it now, with its image and heat map files."""

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.results import OUT_OF_SCOPE
from db import tables
from db.audit.trail import record_opening, record_reveal
from db.errors import CaseChangedError, NotRevealedError, UnknownCaseError
from db.queries.case_state import is_signed
from db.queries.cases import case_row, image_row, lock_case, quality_of
from db.queries.confirmed_models import without_unmet_model
from db.queries.intakes import image_places, ordered_images, refuse_incomplete, was_opened
from db.queries.model_opinion import reveal_of, scopes_of
from db.queries.permissions import require_permission
from db.queries.reader_knowledge import may_see_images, may_see_model
from db.queries.reads import current_read
from db.queries.scales import is_of_current_scale, scales_of
from db.queries.study_places import refuse_in_study
from db.store.claims import claim_case, claim_holders
from db.store.jobs import is_pending, place_in_queue, seconds_per_job
from db.store.reads import end_undo
from db.store.worklist import case_state
from db.values.accounts import Permission
from db.values.reading import CaseState, CaseView, ImageRow, Stage


def heatmap_file(session: Session, image_id: int, account_id: int) -> str:
    """Return the sha256 of an image's heat map, from the model version that the reveal shows.

    Raises:
        NotAllowedError: If this account may not see cases.
        NotRevealedError: If this reader has not saved a first read of the case.
        UnknownCaseError: If there is no such image, or it has no heat map.
    """
    image = _image_with_model(session, image_id, account_id)
    reveal = reveal_of(session, image.case_id)
    revealed = {one.image_id: one.prediction_id for one in reveal.images} if reveal else {}
    prediction = session.get(tables.Prediction, revealed[image_id]) if image_id in revealed else None
    if prediction is None or prediction.heatmap_sha256 is None:
        withheld = {one.image_id for one in scopes_of(session, image.case_id, reveal) if one.withheld}
        why = f". {OUT_OF_SCOPE}." if image_id in withheld else ""
        raise UnknownCaseError(f"image {image_id} has no heat map{why}")
    return prediction.heatmap_sha256


def scope_map_file(session: Session, image_id: int, account_id: int) -> str:
    """Return the sha256 of the map of where an image is unlike the training images of the revealed model version.

    Raises:
        NotAllowedError: If this account may not see cases.
        NotRevealedError: If this reader has not saved a first read of the case.
        UnknownCaseError: If there is no such image, or it has no such map.
    """
    image = _image_with_model(session, image_id, account_id)
    scopes = scopes_of(session, image.case_id, reveal_of(session, image.case_id))
    shown = next((one.scope_id for one in scopes if one.image_id == image_id), None)
    scope = None if shown is None else session.get(tables.ImageScope, shown)
    if scope is None or scope.map_sha256 is None:
        raise UnknownCaseError(f"image {image_id} has no map of where it is unlike the training images")
    return scope.map_sha256


def _image_with_model(session: Session, image_id: int, account_id: int) -> tables.Image:
    """Return the row of an image of which this reader may see what the model says."""
    require_permission(session, account_id, Permission.READ_CASES)
    image = image_row(session, image_id)
    if not may_see_model(session, image.case_id, account_id):
        raise NotRevealedError("save your first opinion to see what the model says")
    return image


def image_file(session: Session, image_id: int, account_id: int) -> str:
    """Return the sha256 of an image's pixels, if this reader may see them now.

    Raises:
        NotAllowedError: If this account may not see cases.
        NotRevealedError: If its case belongs to an open study of this reader and is not the one to read now.
        UnknownCaseError: If there is no such image or no such account.
        IncompleteCaseError: If its case is incomplete, and another account's.
    """
    if session.get(tables.Account, account_id) is None:
        raise UnknownCaseError(f"there is no account number {account_id}")
    require_permission(session, account_id, Permission.READ_CASES)
    image = image_row(session, image_id)
    if not may_see_images(session, image.case_id, account_id):
        raise NotRevealedError("this image belongs to a study: it is shown when its case is to be read")
    case = case_row(session, image.case_id)
    if case.created_by_id != account_id:
        refuse_incomplete(session, case)
    return image.file_sha256


def open_case(session: Session, case_id: int, account_id: int, *, met_only: bool = False) -> CaseView:
    """Open a case for a reader and record it; the model's opinion is included only after their first read.

    Needs a writing session for the audit trail. Pages call `case_view` and then `record_opened` instead, so that
    only the second step blocks other writers.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader must read it in a study.
        IncompleteCaseError: If its images are still being stored.
    """
    return record_opened(session, case_view(session, case_id, account_id, met_only=met_only), account_id)


def case_view(session: Session, case_id: int, account_id: int, *, met_only: bool = False) -> CaseView:
    """Return a case as this reader may see it now; call `record_opened` before showing it.

    With `met_only` the opinion of a model is left out until this reader has confirmed the explanation of the model.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader must read it in a study.
        IncompleteCaseError: If its images are still being stored.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    case = case_row(session, case_id)
    refuse_in_study(session, case, account_id)
    refuse_incomplete(session, case)
    first = current_read(session, case_id, account_id, Stage.FIRST)
    shows = may_see_model(session, case_id, account_id)
    reveal = reveal_of(session, case_id) if shows else None
    view = CaseView(
        id=case.id,
        accession=case.accession,
        magnification=case.magnification,
        demonstration=case.demonstration,
        state=case_state(session, case_id, account_id),
        images=case_images(session, case_id),
        first_read=first,
        final_read=current_read(session, case_id, account_id, Stage.FINAL),
        reveal=reveal,
        open_elsewhere=claim_holders(session, case_id, account_id),
        scopes=scopes_of(session, case_id, reveal) if shows else (),
    )
    return without_unmet_model(session, view, account_id) if met_only else view


def record_opened(session: Session, case: CaseView, account_id: int) -> CaseView:
    """Record that a case, and what it holds of the model, is shown to a reader, and claim it for them.

    Beside a case that the reader has finished the page shows what others said, which ends Undo.

    Raises:
        NotAllowedError: If this account may not see cases.
        InStudyError: If the case has become part of an open study meanwhile.
        IncompleteCaseError: If images are joining it.
        CaseChangedError: If images have joined it, or changed places, since the view was made.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    row = case_row(session, case.id)
    refuse_in_study(session, row, account_id)
    if not was_opened(session, row):
        # From here on no image can join it, so what is shown must be all that it has.
        refuse_incomplete(session, lock_case(session, case.id))
    if ordered_images(session, case.id) != tuple(image.id for image in case.images):
        raise CaseChangedError(f"images of case {row.accession} were added or moved a moment ago: open it again")
    claimed = case.final_read is None and not is_signed(session, case.id)
    if claimed:
        claim_case(session, case.id, account_id)
    record_opening(session, account_id, case.accession)
    if case.reveal or case.scopes:
        record_reveal(session, account_id, case.accession)
    end_undo(session, account_id, case.id)
    return replace(case, state=CaseState.IN_READING) if claimed and case.state is CaseState.READY else case


def case_images(session: Session, case_id: int) -> tuple[ImageRow, ...]:
    """Return the images of a case; those not analysed yet with the estimated seconds left.

    That the model gave no opinion of an image is part of its opinion, so the reason of such a job is left out.
    """
    job, scope = tables.Job, tables.ImageScope
    withheld = select(scope.id).where(scope.job_id == job.id, scope.level == "out", is_of_current_scale(scope)).exists()
    query = (
        select(tables.Image, job, withheld)
        .join(job, job.image_id == tables.Image.id)
        .where(tables.Image.case_id == case_id)
    )
    places = image_places(session, select(tables.Case.id).where(tables.Case.id == case_id))
    rows = sorted(session.execute(query).all(), key=lambda row: places.get(row[0].id, row[0].position))
    scales = scales_of(session, select(tables.Image.id).where(tables.Image.case_id == case_id))
    pace = seconds_per_job(session) if any(is_pending(row) for _, row, _ in rows) else None
    return tuple(
        replace(
            _image_row(image, position, row, None if hidden else row.message),
            seconds_left=place_in_queue(session, row) * pace if pace and is_pending(row) else None,
            scale=scales.get(image.id),
        )
        for position, (image, row, hidden) in enumerate(rows, start=1)
    )


def _image_row(image: tables.Image, position: int, job: tables.Job, message: str | None) -> ImageRow:
    return ImageRow(
        id=image.id,
        position=position,
        height=image.height,
        width=image.width,
        quality=quality_of(image),
        job=job.state,
        job_message=message,
    )
