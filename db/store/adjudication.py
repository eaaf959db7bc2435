"""Adjudication: the adjudicator first reads the case blind, then sees the readers' opinions without names."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from core import clock
from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event, record_first_time
from db.errors import CaseChangedError, NotRevealedError
from db.projection.write import project_touched
from db.queries import case_state
from db.queries.cases import case_row, lock_case
from db.queries.consensus import consensus_value, current_consensus
from db.queries.exported_rows import references_of
from db.queries.permissions import require_permission
from db.queries.reader_knowledge import finished_cases, undo_window
from db.queries.reads import (
    current_read,
    is_current_final,
    is_final_of_any_kind,
    is_routine,
    read_values,
    shown_label,
)
from db.queries.study_places import open_study_cases, refuse_in_study
from db.store.open_case import open_case
from db.store.sign_offs import refuse_signed
from db.values.accounts import Permission, Role
from db.values.adjudication import (
    AdjudicatedLabels,
    Adjudication,
    Consensus,
    Ruling,
    ShownRead,
    WaitingCase,
    WaitingCases,
)
from db.values.audit import Action
from db.values.reading import Read, Stage

PAGE = 50  # cases


def adjudicated_labels(session: Session, account_id: int) -> AdjudicatedLabels:
    """Return the reference labels of the cases this reader has finished, by the rule of the exports.

    A case that could not be assessed has none. A researcher gets those of all cases that any reader has finished.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    require_permission(session, account_id, Permission.SEE_AGREEMENT)
    researcher = session.get_one(tables.Account, account_id).role is Role.RESEARCHER
    read = aliased(tables.Read)
    by_any = select(read.case_id).where(is_final_of_any_kind(read))
    finished = by_any if researcher else finished_cases(account_id, undo_window(session))
    references = references_of(session, finished)
    labels = {case_id: one.label for case_id, one in references.items() if one.label is not None}
    by_consensus = frozenset(case_id for case_id in labels if references[case_id].source == "consensus")
    return AdjudicatedLabels(labels, by_consensus)


def cases_to_adjudicate(
    session: Session, account_id: int, *, after: int | None = None, size: int = PAGE
) -> WaitingCases:
    """Return a page of the cases that need an adjudicator other than their readers, longest waiting first.

    The reason is left out: it would reveal the opinions of the readers or of the model. `after` is the id of a case:
    the page begins with those that have waited less long, or with the first if it does not wait itself.

    Raises:
        NotAllowedError: If this account may not adjudicate.
    """
    require_permission(session, account_id, Permission.ADJUDICATE)
    project_touched(session)
    case, read = tables.Case, tables.Read
    waiting = _waiting(account_id).cte()
    total = session.scalar(select(func.count()).select_from(waiting)) or 0
    page = select(waiting.c.case_id, waiting.c.at)
    if after is not None:
        before = select(waiting.c.number).where(waiting.c.case_id == after).scalar_subquery()
        page = page.where(waiting.c.number > func.coalesce(before, 0))
    found = session.execute(page.order_by(waiting.c.number).limit(size + 1)).all()
    since = {case_id: at for case_id, at in found[:size] if at is not None}
    images = select(func.count(tables.Image.id)).where(tables.Image.case_id == case.id).scalar_subquery()
    begun = select(read.case_id).where(read.account_id == account_id, is_routine(read, Stage.FIRST))
    query = select(case, images, begun.where(read.case_id == case.id).exists()).where(case.id.in_(since))
    rows = {
        row.id: WaitingCase(
            row.id, row.accession, row.magnification, count or 0, since[row.id], row.demonstration, bool(mine)
        )
        for row, count, mine in session.execute(query)
    }
    return WaitingCases(tuple(rows[case_id] for case_id in since), total, more=len(found) > size)


def _waiting(account_id: int) -> Select[int, int, datetime | None]:
    """Select the cases that wait for an adjudicator, with the number and the time of the last final read."""
    read, own = tables.Read, aliased(tables.Read)
    ended = select(own.case_id).where(own.account_id == account_id, is_current_final(own))
    return (
        select(read.case_id, func.max(read.id).label("number"), func.max(read.saved_at).label("at"))
        .where(
            is_current_final(read),
            read.case_id.in_(case_state.cases_to_adjudicate()),
            ~ended.where(own.case_id == read.case_id).correlate(read).exists(),
            read.case_id.not_in(open_study_cases(account_id)),
        )
        .group_by(read.case_id)
    )


def open_adjudication(session: Session, case_id: int, account_id: int, *, met_only: bool = False) -> Adjudication:
    """Open a case for an adjudicator and record it: before the blind read only its images, then every opinion.

    With `met_only` no opinion is shown until this adjudicator has confirmed the explanation of the model.
    Needs a writing session for the audit trail. The blind read is an ordinary first read.

    Raises:
        NotAllowedError: If this account may not adjudicate.
        UnknownCaseError: If there is no such case.
        CaseChangedError: If it does not need an adjudicator, or needs another one.
    """
    require_permission(session, account_id, Permission.ADJUDICATE)
    case = case_row(session, case_id)
    refuse_in_study(session, case, account_id)
    _refuse_own_reader(session, case, account_id)
    waits = case_state.waits_for_adjudication(session, case_id)
    blind = current_read(session, case_id, account_id, Stage.FIRST)
    consensus = current_consensus(session, case_id) if blind else None
    if not waits and consensus is None:
        raise CaseChangedError(f"case {case.accession} does not need adjudication")
    view = open_case(session, case_id, account_id, met_only=met_only)
    if blind is None or view.unmet:
        return Adjudication(view, None, waits=True)
    record_first_time(session, account_id, Action.OPINIONS_SHOWN, case.accession)
    return Adjudication(
        case=view,
        blind=blind,
        waits=waits,
        triggers=case_state.triggers_of(session, case_id),
        reads=_shown_reads(session, case_id),
        consensus=consensus,
    )


def record_consensus(
    session: Session, case_id: int, account_id: int, ruling: Ruling, opened_at: datetime, *, seen: Collection[int]
) -> Consensus:
    """Save an adjudicator's decision; a double click returns the same consensus.

    The reads stay unchanged. If a later read reopened the case, the new consensus replaces the earlier one.
    `seen` are the ids of the final reads that were on the screen.

    Raises:
        NotAllowedError: If this account may not adjudicate.
        UnknownCaseError: If there is no such case.
        NotRevealedError: If this adjudicator has not read the case blind.
        CaseChangedError: If the case no longer needs a consensus, or a reader has changed an opinion meanwhile.
    """
    require_permission(session, account_id, Permission.ADJUDICATE)
    case = lock_case(session, case_id)
    refuse_in_study(session, case, account_id)
    _refuse_own_reader(session, case, account_id)
    blind = current_read(session, case_id, account_id, Stage.FIRST)
    if blind is None:
        raise NotRevealedError("save your own opinion first: the readers' opinions are shown only after it")
    before = current_consensus(session, case_id)
    if not case_state.waits_for_adjudication(session, case_id):
        return _confirm_same(session, case, account_id, before, ruling)
    finals = _final_rows(session, case_id)
    if {read.id for read in finals} != set(seen):
        raise CaseChangedError(f"a reader has since changed an opinion on {case.accession}: review the opinions again")
    row = _row(case_id, account_id, blind.id, ruling, opened_at)
    row.supersedes_id = before.id if before else None
    session.add(row)
    session.flush()
    session.add_all(tables.ConsensusRead(consensus_id=row.id, read_id=read.id) for read in finals)
    record_event(session, account_id, Action.CONSENSUS, case.accession, content=seal(session, row))
    return consensus_value(row, session.get_one(tables.Account, account_id).name)


def _refuse_own_reader(session: Session, case: tables.Case, account_id: int) -> None:
    if current_read(session, case.id, account_id, Stage.FINAL) is not None:
        raise CaseChangedError(
            f"you have a final opinion on {case.accession} yourself: another adjudicator must settle it"
        )


def _confirm_same(
    session: Session, case: tables.Case, account_id: int, before: Consensus | None, ruling: Ruling
) -> Consensus:
    """Return the consensus already saved if this adjudicator saved the same one; otherwise refuse."""
    if before is None:
        refuse_signed(session, case)
        raise CaseChangedError(f"case {case.accession} no longer needs adjudication: its readers now agree")
    earlier = Ruling(before.label, before.confidence, before.severity, before.subtype, before.note)
    own = session.get_one(tables.Consensus, before.id).account_id == account_id
    if own and earlier == ruling:
        return before
    who = "you have" if own else "another adjudicator has"
    when = before.saved_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    raise CaseChangedError(f"{who} already settled {case.accession} ({earlier.label or 'cannot assess'}, {when})")


def _row(case_id: int, account_id: int, blind_read_id: int, ruling: Ruling, opened_at: datetime) -> tables.Consensus:
    return tables.Consensus(
        case_id=case_id,
        account_id=account_id,
        blind_read_id=blind_read_id,
        label=ruling.label,
        confidence=ruling.confidence,
        subtype=ruling.subtype,
        severity=ruling.severity,
        note=ruling.note,
        opened_at=opened_at,
        saved_at=clock.now(),
    )


def _final_rows(session: Session, case_id: int) -> Sequence[tables.Read]:
    read = tables.Read
    return session.scalars(select(read).where(read.case_id == case_id, is_current_final(read))).all()


def _shown_reads(session: Session, case_id: int) -> tuple[ShownRead, ...]:
    """Return the opinions of Reader A, B …, in a fixed order that does not reveal who they are."""
    read = tables.Read
    firsts = {one.reader: one for one in read_values(session, read.case_id == case_id, is_routine(read, Stage.FIRST))}
    finals = read_values(session, read.case_id == case_id, is_current_final(read))
    ordered = sorted(finals, key=lambda final: _random_order_key(firsts[final.reader]))
    rows = {row.id: row for row in _final_rows(session, case_id)}
    return tuple(
        ShownRead(
            read_id=final.id,
            name=f"Reader {_letter(place)}",
            first=firsts[final.reader].opinion,
            final=final.opinion,
            model=shown_label(rows[final.id]),
        )
        for place, final in enumerate(ordered)
    )


def _random_order_key(first: Read) -> str:
    # Not the order of the accounts or reads: in a small department, either would reveal who is who.
    return hashlib.sha256(f"{first.case_id} {first.id} {first.saved_at.isoformat()}".encode()).hexdigest()


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else str(place + 1)
