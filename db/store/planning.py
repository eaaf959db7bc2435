"""Assignments and priorities set by administrators, as rows that are added and never changed."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Row, Select, Subquery, exists, func, select
from sqlalchemy.orm import Session, aliased

from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.projection.write import project_touched
from db.queries.case_state import (
    case_conditions,
    current_assignments,
    images_of_cases,
    signed_cases,
    urgent_cases,
)
from db.queries.cases import lock_case
from db.queries.intakes import is_open_intake
from db.queries.permissions import require_permission
from db.queries.reads import is_current_final
from db.values.accessions import search_range
from db.values.accounts import READING_ROLES, Permission
from db.values.audit import Action
from db.values.worklist import AssignableReader, PlanFilter, PlannedCase, PlanPage

PAGE = 50  # cases
_EVERYTHING = PlanFilter()
_BETWEEN_NAMES = "\n"  # occurs in no name


def assign(session: Session, by: int, case_ids: Collection[int], account_id: int, *, active: bool) -> int:
    """Assign cases to a reader, or withdraw the assignment; return the number of cases changed.

    Raises:
        NotAllowedError: If `by` may not plan reading.
        UnknownCaseError: If there is no such case.
        ValueError: If the account cannot read cases, or cannot sign in.
    """
    require_permission(session, by, Permission.PLAN_READING)
    reader = session.get(tables.Account, account_id)
    if reader is None or (active and account_id not in {row.id for row in _readers(session)}):
        raise ValueError(
            f"{reader.name if reader else 'this account'} cannot read cases: choose a reader or an adjudicator"
        )
    changed = 0
    # In numerical order, so that two administrators cannot deadlock.
    for case_id in sorted(set(case_ids)):
        case = lock_case(session, case_id)
        if _is_assigned(session, case_id, account_id) is active:
            continue
        row = tables.Assignment(case_id=case_id, account_id=account_id, active=active, by_id=by, at=datetime.now(UTC))
        session.add(row)
        action = Action.ASSIGNED if active else Action.UNASSIGNED
        way = "to" if active else "from"
        record_event(session, by, action, f"{case.accession} {way} {reader.name}", content=seal(session, row))
        changed += 1
    return changed


def set_priority(session: Session, by: int, case_ids: Collection[int], *, urgent: bool) -> int:
    """Make cases urgent or routine; return the number of cases changed.

    Raises:
        NotAllowedError: If `by` may not plan reading.
        UnknownCaseError: If there is no such case.
    """
    require_permission(session, by, Permission.PLAN_READING)
    changed = 0
    for case_id in sorted(set(case_ids)):
        case = lock_case(session, case_id)
        if _is_urgent(session, case_id) is urgent:
            continue
        row = tables.Priority(case_id=case_id, urgent=urgent, by_id=by, at=datetime.now(UTC))
        session.add(row)
        words = f"{case.accession} {'urgent' if urgent else 'routine'}"
        record_event(session, by, Action.PRIORITY_SET, words, content=seal(session, row))
        changed += 1
    return changed


def cases_to_plan(
    session: Session, by: int, filters: PlanFilter = _EVERYTHING, *, after: PlannedCase | None = None, size: int = PAGE
) -> PlanPage:
    """Return a page of the cases with an image, oldest first; `after` is the `last` of the page before.

    Raises:
        NotAllowedError: If `by` may not plan reading.
    """
    require_permission(session, by, Permission.PLAN_READING)
    project_touched(session)
    case, image = tables.Case, tables.Image
    analysed = select(image.id).join(tables.Job, tables.Job.image_id == image.id).where(image.case_id == case.id)
    query = select(case.id).where(analysed.exists(), *_plan_conditions(filters))
    if after is not None:
        query = query.where(case.id > after.id)
    found = session.scalars(query.order_by(case.id).limit(size + 1)).all()
    rows = _planned_cases(session, found[:size])
    return PlanPage(tuple(rows), rows[-1] if len(found) > size else None)


def _plan_conditions(filters: PlanFilter) -> list[ColumnElement[bool]]:
    case, term, text = tables.Case, tables.CaseTerm, (filters.cases.text or "").strip()
    conditions = case_conditions(replace(filters.cases, text=None))
    if text:
        low, high = search_range(text)
        conditions.append(case.id.in_(select(term.case_id).where(term.term >= low, term.term < high)))
    if not filters.signed_off:
        conditions.append(~exists().where(tables.SignOff.case_id == case.id))
    assigned = current_assignments()
    if filters.reader is not None:
        theirs = assigned.where(tables.Assignment.account_id == filters.reader)
        conditions.append(case.id.in_(theirs.with_only_columns(tables.Assignment.case_id)))
    if filters.unassigned:
        conditions.append(~assigned.where(tables.Assignment.case_id == case.id).correlate(case).exists())
    return conditions


def _planned_cases(session: Session, cases: Sequence[int]) -> list[PlannedCase]:
    """Return what the plan shows of some cases, oldest first."""
    case = tables.Case
    images, finished, readers = images_of_cases(chosen=True), _finished_counts(cases), _reader_names(cases)
    query = (
        select(
            case,
            images.c.images,
            func.coalesce(finished.c.readers, 0),
            readers.c.names,
            urgent_cases().where(tables.Priority.case_id == case.id).correlate(case).exists(),
            exists().where(tables.SignOff.case_id == case.id),
            exists().where(tables.Intake.case_id == case.id, is_open_intake()),
        )
        .join(images, images.c.case_id == case.id)
        .outerjoin(finished, finished.c.case_id == case.id)
        .outerjoin(readers, readers.c.case_id == case.id)
        .where(case.id.in_(cases))
    )
    rows = session.execute(query.order_by(case.id), {"cases": list(cases)})
    return [_planned_case(row) for row in rows]


def assignable_readers(session: Session, by: int) -> list[AssignableReader]:
    """Return the accounts that cases can be assigned to, sorted by name.

    Raises:
        NotAllowedError: If `by` may not plan reading.
    """
    require_permission(session, by, Permission.PLAN_READING)
    return _readers(session)


def _readers(session: Session) -> list[AssignableReader]:
    assigned, final, account = current_assignments().subquery(), aliased(tables.Read), tables.Account
    case_id: ColumnElement[int] = assigned.c.case_id
    read = select(final.id).where(
        final.case_id == case_id, final.account_id == assigned.c.account_id, is_current_final(final)
    )
    waiting = (
        select(func.count())
        .select_from(assigned)
        .where(assigned.c.account_id == account.id, ~read.exists(), case_id.not_in(signed_cases()))
        .scalar_subquery()
    )
    query = (
        select(account.id, account.name, waiting)
        .join(tables.Credential, tables.Credential.account_id == account.id)
        .where(account.role.in_(READING_ROLES), ~tables.Credential.disabled)
    )
    return [AssignableReader(*row) for row in session.execute(query.order_by(account.name))]


def _is_assigned(session: Session, case_id: int, account_id: int) -> bool:
    row = tables.Assignment
    query = select(row.active).where(row.case_id == case_id, row.account_id == account_id)
    return session.scalar(query.order_by(row.id.desc()).limit(1)) or False


def _is_urgent(session: Session, case_id: int) -> bool:
    query = select(tables.Priority.urgent).where(tables.Priority.case_id == case_id)
    return session.scalar(query.order_by(tables.Priority.id.desc()).limit(1)) or False


def _finished_counts(cases: Sequence[int]) -> Subquery:
    final = aliased(tables.Read)
    query = select(final.case_id, func.count(final.account_id.distinct()).label("readers"))
    return query.where(is_current_final(final), final.case_id.in_(cases)).group_by(final.case_id).subquery()


def _reader_names(cases: Sequence[int]) -> Subquery:
    assigned = current_assignments().where(tables.Assignment.case_id.in_(cases)).subquery()
    query: Select[int, str] = select(
        assigned.c.case_id, func.aggregate_strings(tables.Account.name, _BETWEEN_NAMES).label("names")
    ).join(tables.Account, tables.Account.id == assigned.c.account_id)
    return query.group_by(assigned.c.case_id).subquery()


def _planned_case(row: Row[tables.Case, int, int, str | None, bool, bool, bool]) -> PlannedCase:
    case, images, finished, names, urgent, signed, incomplete = row
    return PlannedCase(
        id=case.id,
        accession=case.accession,
        magnification=case.magnification,
        images=int(images),
        created_at=case.created_at,
        urgent=bool(urgent),
        readers=tuple(sorted(names.split(_BETWEEN_NAMES))) if names else (),
        finished=int(finished),
        signed_off=bool(signed),
        incomplete=bool(incomplete),
    )
