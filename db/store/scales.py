"""The scale of images, and the microscope profiles from which it can be chosen."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from core.imaging.scale import Scale
from core.results import QualityFinding
from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.errors import CaseChangedError
from db.queries.cases import case_row, image_row, lock_case, quality_of, write_findings
from db.queries.permissions import require_permission
from db.queries.scales import add_scale, scale_of, scale_row
from db.queries.study_places import refuse_in_study
from db.store.jobs import queue_again
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.scales import ChosenScale, Objective, write_um_per_px
from db.values.words import check_words

_NAME_LIMIT = 100  # characters; the widths of the columns
_OBJECTIVE_LIMIT = 32


def set_scale(
    session: Session,
    account_id: int,
    image_id: int,
    chosen: ChosenScale,
    findings: Sequence[QualityFinding] | None = None,
) -> bool:
    """Record or correct the scale of an image and queue its analysis again; return False if it has this scale already.

    `findings` are all those of its quality with this scale; None leaves them as they are.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such image.
        InStudyError: If this reader must read the case in a study.
        CaseChangedError: If somebody has read the case, or it is part of a study: its scale stays as it is.
        ValueError: If the objective is no longer offered, or has another scale.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    image = image_row(session, image_id)
    # Whoever saves a read locks the case as well.
    case = lock_case(session, image.case_id)
    refuse_in_study(session, case, account_id)
    if reason := _why_fixed(session, case):
        raise CaseChangedError(reason)
    _check_objective(session, chosen)
    current = scale_row(session, image_id)
    if current and (current.um_per_px, current.source) == (chosen.scale.um_per_px, chosen.scale.source):
        return False
    row = add_scale(session, account_id, image_id, chosen)
    subject = f"{case.accession} image {image.position}: {scale_of(session, image_id)}"
    record_event(session, account_id, Action.SCALE_SET, subject, content=seal(session, row))
    if findings is not None and list(findings) != list(quality_of(image).findings):
        image.findings = write_findings(findings)
        content = seal(session, case)
        record_event(session, account_id, Action.QUALITY_ASSESSED, case.accession, content=content)
    queue_again(session, account_id, image_id)
    return True


def can_set_scale(session: Session, account_id: int, case_id: int) -> bool:
    """Return whether the scale of the images of a case can still be recorded or corrected.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    return not _why_fixed(session, case_row(session, case_id))


def set_objective(session: Session, by: int, microscope: str, objective: str, um_per_px: float | None) -> None:
    """Record the scale of an objective of a microscope; None means that it is no longer offered.

    Images that have their scale from it keep it.

    Raises:
        NotAllowedError: If this account may not administer the site.
        ValueError: If a name is empty, too long or has invisible characters, if the scale is not plausible, or if an
            objective to withdraw is not offered.
    """
    require_permission(session, by, Permission.ADMINISTER)
    name = check_words("the name of a microscope", microscope, _NAME_LIMIT)
    lens = check_words("an objective", objective, _OBJECTIVE_LIMIT)
    if name is None or lens is None:
        raise ValueError("a microscope needs a name, and an objective too")
    if um_per_px is not None:
        um_per_px = Scale(um_per_px, "typed").um_per_px
    elif (name, lens) not in {(one.microscope, one.objective) for one in _objectives(session)}:
        raise ValueError(f"there is no objective {lens} of {name}")
    row = tables.MicroscopeProfile(
        name=name, objective=lens, um_per_px=um_per_px, account_id=by, created_at=datetime.now(UTC)
    )
    session.add(row)
    words = "no longer offered" if um_per_px is None else f"{write_um_per_px(um_per_px)} per pixel"
    record_event(session, by, Action.OBJECTIVE_SET, f"{name}, {lens}: {words}", content=seal(session, row))


def objectives(session: Session, account_id: int) -> Sequence[Objective]:
    """Return the objectives of all microscopes, by microscope and from the widest to the finest pixel.

    Raises:
        NotAllowedError: If this account may see neither models nor cases.
    """
    require_permission(session, account_id, Permission.SEE_MODELS)
    return sorted(_objectives(session), key=lambda one: (one.microscope, -one.um_per_px))


def _objectives(session: Session) -> list[Objective]:
    row, later = tables.MicroscopeProfile, aliased(tables.MicroscopeProfile)
    newer = select(later.id).where(later.name == row.name, later.objective == row.objective, later.id > row.id)
    return [
        Objective(one.id, one.name, one.objective, one.um_per_px)
        for one in session.scalars(select(row).where(~newer.exists()))
        if one.um_per_px is not None
    ]


def _check_objective(session: Session, chosen: ChosenScale) -> None:
    if chosen.objective_id is None:
        return
    offered = {one.id: one.um_per_px for one in _objectives(session)}
    if offered.get(chosen.objective_id) != chosen.scale.um_per_px:
        raise ValueError("this objective was changed or withdrawn a moment ago: choose again")


def _why_fixed(session: Session, case: tables.Case) -> str | None:
    read, place = tables.Read, tables.StudyPlace
    if session.scalar(select(read.id).where(read.case_id == case.id).limit(1)) is not None:
        return f"case {case.accession} has been read: the scale of its images can no longer be changed"
    if session.scalar(select(place.id).where(place.case_id == case.id).limit(1)) is not None:
        return f"case {case.accession} is part of a study: the scale of its images can no longer be changed"
    return None
