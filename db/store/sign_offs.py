"""Sign-off of a case and its amendments: each version is a separate row, and the last one is current."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import clock
from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.errors import CaseChangedError, NotRevealedError
from db.queries import case_state
from db.queries.cases import case_row, lock_case
from db.queries.consensus import current_consensus
from db.queries.intakes import refuse_incomplete
from db.queries.permissions import require_permission
from db.queries.reader_knowledge import may_know_opinions
from db.queries.reads import current_read, is_current_final
from db.queries.study_places import refuse_in_study
from db.store.accounts import has_accounts
from db.values.accounts import Permission
from db.values.adjudication import Amendment, Consensus, ProposedSignOff, SignOff, SignOffView, Trigger
from db.values.audit import Action
from db.values.reading import Stage

_Content = tuple[object, ...]


def sign_offs_of(session: Session, case_id: int, account_id: int) -> SignOffView:
    """Return the signed versions of a case, or what this account could sign off.

    They reveal the opinions of others, so an account that has neither finished the case nor adjudicated it gets only
    the time of the sign-off.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader must read it in a study.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    refuse_in_study(session, case_row(session, case_id), account_id)
    versions = _versions(session, case_id)
    signed_at = versions[0].saved_at if versions else None
    if not may_know_opinions(session, case_id, account_id):
        return SignOffView(signed_at)
    consensus = current_consensus(session, case_id)
    if versions:
        return SignOffView(signed_at, tuple(versions), consensus)
    triggers = _open_triggers(session, case_id)
    may_sign = not triggers and _may_sign_off(session, case_id, account_id, consensus)
    return SignOffView(None, (), consensus, triggers, _proposal(session, case_id, consensus) if may_sign else None)


def sign_off(session: Session, case_id: int, account_id: int, proposed: ProposedSignOff, note: str) -> SignOff:
    """Sign a case off with its consensus, or else the shared opinion of its readers; no reads are accepted afterwards.

    `proposed` is the content shown on the screen. A double click returns the same version.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        NotRevealedError: If this account has neither finished the case nor adjudicated it.
        CaseChangedError: If it is already signed off, needs adjudication, or its content has changed meanwhile.
    """
    case = lock_case_to_read(session, case_id, account_id)
    consensus = current_consensus(session, case_id)
    if not _may_sign_off(session, case_id, account_id, consensus):
        raise NotRevealedError("Only a reader who has finished this case, or its adjudicator, can sign it off.")
    versions = _rows(session, case_id)
    content = (proposed.label, proposed.subtype, note, "", proposed.consensus_id)
    if len(versions) == 1 and _content_by(versions[0], account_id) == content:
        return _value(session, versions[0])
    refuse_signed(session, case)
    if triggers := _open_triggers(session, case_id):
        raise CaseChangedError(f"case {case.accession} needs adjudication first: {', '.join(triggers)}")
    if _proposal(session, case_id, consensus) != proposed:
        raise CaseChangedError(
            f"another opinion on {case.accession} has been saved since: check what you are about to sign off"
        )
    row = tables.SignOff(
        case_id=case_id,
        version=1,
        account_id=account_id,
        label=proposed.label,
        subtype=proposed.subtype,
        note=note,
        why="",
        consensus_id=proposed.consensus_id,
        saved_at=clock.now(),
    )
    return _add_version(session, case, row, Action.SIGNED_OFF)


def amend_sign_off(
    session: Session, case_id: int, account_id: int, amended: Amendment, *, replaces_version: int
) -> SignOff:
    """Amend a sign-off with a new version and its reason; earlier versions are kept and stay readable.

    A double click returns the same version.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        NotRevealedError: If this account has neither finished the case nor adjudicated it.
        CaseChangedError: If the case is not signed off, or was amended by someone else meanwhile.
        ValueError: If the amendment changes nothing.
    """
    case = lock_case_to_read(session, case_id, account_id)
    if not may_know_opinions(session, case_id, account_id):
        raise NotRevealedError("Only a reader who has finished this case, or its adjudicator, can amend its sign-off.")
    versions = _rows(session, case_id)
    if not versions:
        raise CaseChangedError(f"case {case.accession} is not signed off yet")
    last = versions[-1]
    content = (amended.label, amended.subtype, amended.note, amended.why, last.consensus_id)
    if last.version == replaces_version + 1 and _content_by(last, account_id) == content:
        return _value(session, last)
    if last.version != replaces_version:
        raise _amended_meanwhile(_value(session, last))
    if (last.label, last.subtype, last.note) == (amended.label, amended.subtype, amended.note):
        raise ValueError(f"this is the same as version {last.version}: change something before you amend it")
    row = tables.SignOff(
        case_id=case_id,
        version=last.version + 1,
        account_id=account_id,
        label=amended.label,
        subtype=amended.subtype,
        note=amended.note,
        why=amended.why,
        consensus_id=last.consensus_id,
        saved_at=clock.now(),
    )
    return _add_version(session, case, row, Action.SIGN_OFF_AMENDED)


def refuse_signed(session: Session, case: tables.Case) -> None:
    """Refuse a further read of a case that is signed off.

    Raises:
        CaseChangedError: If it is signed off; the message says by whom and when.
    """
    versions = _versions(session, case.id)
    if versions:
        first = versions[0]
        when = first.saved_at.strftime("%Y-%m-%d %H:%M UTC")
        raise CaseChangedError(
            f"case {case.accession} was signed off by {first.signer} on {when}: no further opinions can be saved"
        )


def lock_case_to_read(session: Session, case_id: int, account_id: int) -> tables.Case:
    """Return a case that this reader may read in routine, locked until the transaction ends."""
    require_permission(session, account_id, Permission.READ_CASES)
    case = lock_case(session, case_id)
    refuse_in_study(session, case, account_id)
    refuse_incomplete(session, case)
    return case


def _may_sign_off(session: Session, case_id: int, account_id: int, consensus: Consensus | None) -> bool:
    if not may_know_opinions(session, case_id, account_id):
        return False
    if current_read(session, case_id, account_id, Stage.FINAL) is not None:
        return True
    return consensus is not None and session.get_one(tables.Consensus, consensus.id).account_id == account_id


def _open_triggers(session: Session, case_id: int) -> tuple[Trigger, ...]:
    """Return what must be adjudicated first; nothing in single-reader mode, where there is no adjudicator."""
    if not has_accounts(session):
        return ()
    waits = case_state.waits_for_adjudication(session, case_id)
    return case_state.triggers_of(session, case_id) if waits else ()


def _proposal(session: Session, case_id: int, consensus: Consensus | None) -> ProposedSignOff:
    read = tables.Read
    query = select(read.label, read.subtype).where(read.case_id == case_id, is_current_final(read))
    opinions = session.execute(query).all()
    if consensus is not None:
        return ProposedSignOff(consensus.label, consensus.subtype, consensus.id, len(opinions))
    # If readers differed, the case would need adjudication; "cannot assess" contradicts no label.
    label = next((label for label, _ in opinions if label is not None), None)
    subtypes = {subtype for _, subtype in opinions if subtype is not None}
    return ProposedSignOff(label, subtypes.pop() if len(subtypes) == 1 else None, None, len(opinions))


def _rows(session: Session, case_id: int) -> Sequence[tables.SignOff]:
    return session.scalars(
        select(tables.SignOff).where(tables.SignOff.case_id == case_id).order_by(tables.SignOff.version)
    ).all()


def _versions(session: Session, case_id: int) -> list[SignOff]:
    return [_value(session, row) for row in _rows(session, case_id)]


def _content_by(row: tables.SignOff, account_id: int) -> _Content | None:
    """Return the content of a version; None if another account signed it."""
    return (row.label, row.subtype, row.note, row.why, row.consensus_id) if row.account_id == account_id else None


def _amended_meanwhile(last: SignOff) -> CaseChangedError:
    when = last.saved_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    words = last.label or "cannot assess"
    return CaseChangedError(f"{last.signer} has since saved version {last.version} ({words}, {when})")


def _add_version(session: Session, case: tables.Case, row: tables.SignOff, action: Action) -> SignOff:
    session.add(row)
    session.flush()
    record_event(session, row.account_id, action, case.accession, content=seal(session, row))
    return _value(session, row)


def _value(session: Session, row: tables.SignOff) -> SignOff:
    return SignOff(
        id=row.id,
        case_id=row.case_id,
        version=row.version,
        signer=session.get_one(tables.Account, row.account_id).name,
        label=row.label,
        subtype=row.subtype,
        note=row.note,
        why=row.why,
        consensus_id=row.consensus_id,
        saved_at=row.saved_at,
    )
