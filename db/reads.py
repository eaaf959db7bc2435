"""What readers said: a first read before the reveal, a final read after it, amendments on top."""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from db import models
from db.access_values import Permission
from db.audit import record_event
from db.cases import lock_case
from db.errors import CaseChangedError, NotRevealedError
from db.permissions import need
from db.reveal import reveal_of
from db.values import REASONS, Action, Opinion, Read, Reveal, Stage

_REASON_CODES = tuple(code for code, _ in REASONS)


def record_first_read(session: Session, case_id: int, account_id: int, opinion: Opinion, opened_at: datetime) -> Read:
    """Save what a reader says before seeing the model; a double click gives the same read again.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        CaseChangedError: If this reader already said something else.
        ValueError: If the case has no image, or the opinion already answers the model.
    """
    need(session, account_id, Permission.READ_CASES)
    case = lock_case(session, case_id)
    existing = current_read(session, case_id, account_id, Stage.FIRST)
    if existing:
        return _same(existing, opinion)
    if opinion.reason is not None or opinion.vote is not None:
        raise ValueError("a first opinion has no reason and no vote: the model has not been seen yet")
    if session.scalar(select(models.Image.id).where(models.Image.case_id == case_id).limit(1)) is None:
        raise ValueError(f"case {case.accession} has no image to read")
    read = _add(session, _row(case_id, account_id, Stage.FIRST, opinion, opened_at), None)
    record_event(session, account_id, Action.FIRST_READ, case.accession)
    return read


def record_final_read(
    session: Session,
    case_id: int,
    account_id: int,
    opinion: Opinion,
    opened_at: datetime,
    *,
    seen: Collection[int] | None = None,
) -> Read:
    """Save what a reader says after the reveal; a double click gives the same read again.

    `seen` are the ids of the predictions that were on the screen (none: the model had no result yet);
    left out, they are those of the reveal as it is now.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        NotRevealedError: If this reader has no first read of it.
        CaseChangedError: If this reader already has another final read.
        ValueError: If the label differs from the model's and no reason is given.
    """
    need(session, account_id, Permission.READ_CASES)
    case = lock_case(session, case_id)
    _need_first_read(session, case_id, account_id)
    existing = current_read(session, case_id, account_id, Stage.FINAL)
    if existing:
        return _same(existing, opinion)
    reveal = reveal_of(session, case_id, among=seen)
    _check_reason(opinion, reveal)
    read = _add(session, _row(case_id, account_id, Stage.FINAL, opinion, opened_at), reveal)
    record_event(session, account_id, Action.FINAL_READ, case.accession)
    return read


def amend_read(
    session: Session,
    case_id: int,
    account_id: int,
    opinion: Opinion,
    opened_at: datetime,
    *,
    replaces: int | None = None,
) -> Read:
    """Save a new final read on top of the last one, which stays; the same opinion again changes nothing.

    `replaces` is the id of the final read that was on the screen, when the page knows it.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        NotRevealedError: If this reader has no first read of it.
        CaseChangedError: If `replaces` is no longer the last final read.
        ValueError: If there is no final read yet, or a reason is missing.
    """
    need(session, account_id, Permission.READ_CASES)
    case = lock_case(session, case_id)
    _need_first_read(session, case_id, account_id)
    current = current_read(session, case_id, account_id, Stage.FINAL)
    if current is None:
        raise ValueError(f"case {case.accession} has no final opinion to amend yet")
    if current.opinion == opinion:
        return current
    if replaces not in (None, current.id):
        raise _changed(current)
    reveal = reveal_of(session, case_id)
    _check_reason(opinion, reveal)
    row = _row(case_id, account_id, Stage.FINAL, opinion, opened_at)
    row.supersedes_id = current.id
    read = _add(session, row, reveal)
    record_event(session, account_id, Action.AMENDED, case.accession)
    return read


def current_read(session: Session, case_id: int, account_id: int, stage: Stage) -> Read | None:
    """Give this reader's first read, or the final read that no amendment has replaced."""
    read, newer = models.Read, aliased(models.Read)
    query = (
        select(read, models.Account.name)
        .join(models.Account, models.Account.id == read.account_id)
        .where(read.case_id == case_id, read.account_id == account_id, read.stage == stage)
        .where(~select(newer.id).where(newer.supersedes_id == read.id).exists())
    )
    found = session.execute(query).first()
    return _value(found[0], found[1]) if found else None


def own_reads(session: Session, account_id: int, *, case_id: int | None = None) -> list[Read]:
    """Give all that this reader ever saved, amended reads included, oldest first; of one case when asked."""
    need(session, account_id, Permission.READ_CASES)
    read = models.Read
    query = select(read, models.Account.name).join(models.Account, models.Account.id == read.account_id)
    query = query.where(read.account_id == account_id)
    if case_id is not None:
        query = query.where(read.case_id == case_id)
    return [_value(row, name) for row, name in session.execute(query.order_by(read.id))]


def _need_first_read(session: Session, case_id: int, account_id: int) -> None:
    if current_read(session, case_id, account_id, Stage.FIRST) is None:
        raise NotRevealedError("save your first opinion before the final one")


def _same(existing: Read, opinion: Opinion) -> Read:
    if existing.opinion != opinion:
        raise _changed(existing)
    return existing


def _changed(existing: Read) -> CaseChangedError:
    said = existing.opinion.label or "cannot assess"
    when = existing.saved_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    stage = existing.stage.value
    return CaseChangedError(f"your {stage} opinion on this case was already saved ({said}, {when}); it stays as it is")


def _check_reason(opinion: Opinion, reveal: Reveal | None) -> None:
    """Ask why, where a reader contradicts the model; 'cannot assess' contradicts nobody."""
    if opinion.reason is not None and opinion.reason not in _REASON_CODES:
        raise ValueError(f"unknown reason {opinion.reason!r}: use one of {', '.join(_REASON_CODES)}")
    if opinion.reason == "other" and not opinion.note.strip():
        raise ValueError("for another reason, say in the note which")
    differs = reveal is not None and opinion.label is not None and opinion.label != reveal.malignancy
    if reveal is not None and differs and opinion.reason is None:
        raise ValueError(f"you say {opinion.label}, the model says {reveal.malignancy}: choose a reason")


def _row(case_id: int, account_id: int, stage: Stage, opinion: Opinion, opened_at: datetime) -> models.Read:
    if opened_at.tzinfo is None:
        raise ValueError(f"opened_at needs a time zone, got {opened_at.isoformat()}")
    return models.Read(
        case_id=case_id,
        account_id=account_id,
        stage=stage,
        label=opinion.label,
        confidence=opinion.confidence,
        subtype=opinion.subtype,
        note=opinion.note,
        reason=opinion.reason,
        vote=opinion.vote,
        opened_at=opened_at,
        saved_at=datetime.now(UTC),
    )


def _add(session: Session, row: models.Read, reveal: Reveal | None) -> Read:
    row.model_visible = reveal is not None
    row.shown_probability = reveal.malignant_probability if reveal else None
    row.shown_threshold = reveal.threshold if reveal else None
    session.add(row)
    session.flush()
    for image in reveal.images if reveal else ():
        session.add(models.ReadPrediction(read_id=row.id, prediction_id=image.prediction_id))
    session.flush()
    account = session.get_one(models.Account, row.account_id)
    return _value(row, account.name)


def _value(row: models.Read, reader: str) -> Read:
    opinion = Opinion(row.label, row.confidence, row.subtype, row.note, row.reason, row.vote)
    return Read(
        id=row.id,
        case_id=row.case_id,
        reader=reader,
        stage=row.stage,
        opinion=opinion,
        model_visible=row.model_visible,
        opened_at=row.opened_at,
        saved_at=row.saved_at,
        supersedes=row.supersedes_id,
    )
