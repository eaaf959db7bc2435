"""Save the reads of routine reading: a first read before the reveal, a final read after it, and amendments.

Reads in a study are saved by `db.store.study_reading`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import tables
from db.audit.trail import record_event, record_first_time, was_recorded
from db.errors import CaseChangedError, NotRevealedError
from db.queries.cases import lock_case
from db.queries.consensus import refuse_adjudicator
from db.queries.model_opinion import reveal_of, scopes_of
from db.queries.permissions import require_permission
from db.queries.reader_knowledge import can_be_withdrawn, cases_with_undo, is_informed, latest_time, undo_window
from db.queries.reads import (
    NewRead,
    add_read,
    check_blind,
    check_reason,
    current_read,
    read_blocks,
    read_ids,
    read_values,
)
from db.queries.study_places import is_outside_open_studies, open_study_cases
from db.store.claims import release_claim
from db.store.sign_offs import lock_case_to_read, refuse_signed
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.reading import GRACE, OnScreen, Opinion, Read, Stage


def record_first_read(
    session: Session,
    case_id: int,
    account_id: int,
    opinion: Opinion,
    opened_at: datetime,
    *,
    edit_seconds: float | None = None,
) -> Read:
    """Save a reader's opinion before the reveal; a double click returns the same read.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        CaseChangedError: If this reader already saved another opinion, or the case is signed off.
        ValueError: If the case has no image, or the opinion has a reason or a vote.
    """
    case = lock_case_to_read(session, case_id, account_id)
    existing = current_read(session, case_id, account_id, Stage.FIRST)
    if existing:
        return return_if_same(existing, opinion)
    refuse_signed(session, case)
    check_blind(opinion)
    if session.scalar(select(tables.Image.id).where(tables.Image.case_id == case_id).limit(1)) is None:
        raise ValueError(f"case {case.accession} has no image to read")
    informed = is_informed(session, case_id, account_id, blind=True)
    new = NewRead(case_id, account_id, Stage.FIRST, opinion, opened_at, edit_seconds, informed=informed)
    saved = add_read(session, new, None)
    record_event(session, account_id, Action.FIRST_READ, case.accession, content=saved.seal)
    return saved.read


def record_final_read(
    session: Session,
    case_id: int,
    account_id: int,
    opinion: Opinion,
    opened_at: datetime,
    *,
    seen: OnScreen | None = None,
    edit_seconds: float | None = None,
) -> Read:
    """Save a reader's opinion after the reveal; a double click returns the same read.

    `seen` is what was on the screen of the model; if left out, the current reveal.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        NotRevealedError: If this reader has no first read of it.
        CaseChangedError: If this reader already has another final read, or the case is signed off.
        ValueError: If the label differs from the model's and no reason is given.
    """
    case = lock_case_to_read(session, case_id, account_id)
    _require_first_read(session, case_id, account_id)
    existing = current_read(session, case_id, account_id, Stage.FINAL)
    if existing:
        return return_if_same(existing, opinion)
    refuse_signed(session, case)
    refuse_adjudicator(session, case, account_id)
    reveal = reveal_of(session, case_id, among=seen.predictions if seen else None)
    shown = scopes_of(session, case_id, reveal, among=seen.scopes if seen else None)
    check_reason(opinion, reveal)
    withdrawn = current_read(session, case_id, account_id, Stage.WITHDRAWN)
    replaces = withdrawn.id if withdrawn else None
    informed = is_informed(session, case_id, account_id)
    new = NewRead(
        case_id, account_id, Stage.FINAL, opinion, opened_at, edit_seconds, supersedes=replaces, informed=informed
    )
    saved = add_read(session, new, reveal, shown)
    record_event(session, account_id, Action.FINAL_READ, case.accession, content=saved.seal)
    release_claim(session, account_id, case_id)
    return saved.read


def amend_read(
    session: Session,
    case_id: int,
    account_id: int,
    opinion: Opinion,
    opened_at: datetime,
    *,
    replaces: int | None = None,
    edit_seconds: float | None = None,
) -> Read:
    """Replace the reader's final read, which is kept, by a new one; the same opinion again changes nothing.

    Once the reader could learn what others said, the new read is marked as informed.

    `replaces` is the id of the final read that was on the screen, when the page knows it.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        NotRevealedError: If this reader has no first read of it.
        CaseChangedError: If `replaces` is no longer the current final read, or the case is signed off.
        ValueError: If there is no final read yet, or a reason is missing.
    """
    case = lock_case_to_read(session, case_id, account_id)
    _require_first_read(session, case_id, account_id)
    current = current_read(session, case_id, account_id, Stage.FINAL)
    if current is None:
        raise ValueError(f"you have no final opinion on case {case.accession} to amend yet")
    if current.opinion == opinion:
        return current
    if replaces not in (None, current.id):
        raise _already_saved(current)
    refuse_signed(session, case)
    reveal = reveal_of(session, case_id)
    check_reason(opinion, reveal)
    informed = is_informed(session, case_id, account_id)
    new = NewRead(
        case_id, account_id, Stage.FINAL, opinion, opened_at, edit_seconds, supersedes=current.id, informed=informed
    )
    saved = add_read(session, new, reveal, scopes_of(session, case_id, reveal))
    record_event(session, account_id, Action.AMENDED, case.accession, content=saved.seal)
    return saved.read


def withdraw_read(session: Session, read_id: int, account_id: int) -> Read:
    """Withdraw a final read within the grace time, by a row that replaces it; the case is then revealed again.

    Raises:
        NotAllowedError: If this account may not read cases.
        CaseChangedError: If it is not this reader's current final read, if the grace time is over, or if something of
            what others said was shown.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    row = session.get(tables.Read, read_id)
    if row is None or row.account_id != account_id or row.stage is not Stage.FINAL or row.place_id is not None:
        raise CaseChangedError("there is no final opinion of yours to withdraw")
    case = lock_case_to_read(session, row.case_id, account_id)
    current = current_read(session, row.case_id, account_id, Stage.FINAL)
    if current is None or current.id != read_id:
        raise CaseChangedError("this opinion was already withdrawn or replaced")
    if was_recorded(session, account_id, Action.OPINIONS_SHOWN, case.accession):
        raise CaseChangedError("you have seen what others said of this case: amend your opinion instead")
    if not undo_left(session, read_id, account_id):
        raise CaseChangedError(f"an opinion can be withdrawn only for {GRACE.seconds} seconds: amend it instead")
    refuse_signed(session, case)
    opened = current.saved_at
    new = NewRead(row.case_id, account_id, Stage.WITHDRAWN, Opinion(None, None), opened, supersedes=read_id)
    saved = add_read(session, new, None)
    record_event(session, account_id, Action.WITHDRAWN, case.accession, content=saved.seal)
    return saved.read


def undo_left(session: Session, read_id: int, account_id: int) -> timedelta:
    """Return how long this reader can still withdraw a final read; 0 if they cannot.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    read = tables.Read
    query = select(read.saved_at).where(read.id == read_id, read.account_id == account_id)
    saved = session.scalar(query.where(can_be_withdrawn(read, undo_window(session))))
    return saved + GRACE - latest_time(session) if saved else timedelta()


def finals_to_close(session: Session, account_id: int) -> Sequence[int]:
    """Return the cases of which this reader may know what others said only after `end_undo`.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    return cases_with_undo(session, account_id)


def end_undo(session: Session, account_id: int, case_id: int | None = None) -> None:
    """Record that what others said of a case, or of all, is shown to this reader; their final read then stays.

    Every page calls this before it shows opinions of others, because
    queries leave out what could still be withdrawn.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    for waiting in cases_with_undo(session, account_id, case_id):
        case = lock_case(session, waiting)
        # Another window of this reader may have withdrawn the read while we waited for the lock.
        if cases_with_undo(session, account_id, waiting):
            record_first_time(session, account_id, Action.OPINIONS_SHOWN, case.accession)


def own_reads(session: Session, account_id: int, *, case_id: int | None = None) -> list[Read]:
    """Return all reads of this reader, oldest first and including replaced ones; optionally of one case.

    Reads in open studies are left out, because readers cannot go back there.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    read = tables.Read
    conditions = [read.account_id == account_id, is_outside_open_studies()]
    return read_values(session, *conditions, *([read.case_id == case_id] if case_id is not None else []))


def each_own_read(session: Session, account_id: int) -> Iterator[Read]:
    """Return the reads of `own_reads` as the database gives them; few are in memory at once.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    ids = read_ids(session, tables.Read.account_id == account_id, is_outside_open_studies())
    return chain.from_iterable(read_blocks(session, ids))


def has_own_reads(session: Session, account_id: int) -> bool:
    """Return whether `own_reads` has any.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    read = tables.Read
    query = select(read.id).where(read.account_id == account_id, is_outside_open_studies())
    return session.scalar(query.limit(1)) is not None


def own_accessions(session: Session, account_id: int) -> Mapping[int, str]:
    """Return the accessions of the cases that this reader has read, without those of open studies.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    case, read = tables.Case, tables.Read
    mine = select(read.case_id).where(read.account_id == account_id)
    query = select(case.id, case.accession).where(case.id.in_(mine), case.id.not_in(open_study_cases(account_id)))
    return dict(session.execute(query).all())


def return_if_same(existing: Read, opinion: Opinion) -> Read:
    """Return the read already saved if it holds the same opinion.

    Raises:
        CaseChangedError: If it holds another opinion; the saved read stays unchanged.
    """
    if existing.opinion != opinion:
        raise _already_saved(existing)
    return existing


def _require_first_read(session: Session, case_id: int, account_id: int) -> None:
    if current_read(session, case_id, account_id, Stage.FIRST) is None:
        raise NotRevealedError("save your first opinion before the final one")


def _already_saved(existing: Read) -> CaseChangedError:
    label = existing.opinion.label or "cannot assess"
    when = existing.saved_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    stage = existing.stage.value
    return CaseChangedError(
        f"your {stage} opinion on this case was already saved ({label}, {when}) and cannot be replaced"
    )
