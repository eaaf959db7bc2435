"""Plan, create and close reader studies."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from sqlalchemy import case as choose
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.identifiers import fold_identifier
from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.errors import CaseChangedError, UnknownCaseError
from db.queries.case_state import has_answer
from db.queries.intakes import incomplete_cases
from db.queries.permissions import require_permission
from db.queries.study_places import is_finished
from db.store.accounts import has_accounts
from db.values.accounts import ALLOWED, Account, Permission, Role
from db.values.audit import Action
from db.values.jobs import PENDING
from db.values.reading import Arm, Stage
from db.values.studies import MOST_CASES, CaseChoice, Obstacle, RoundProgress, StudyPlan, StudyPreview, StudyRow

_READER_ROLES = [role for role in Role if Permission.READ_CASES in ALLOWED[role]]

_CASES_IN_REFUSAL = 5  # how many cases a refusal lists


def study_readers(session: Session, account_id: int) -> list[Account]:
    """Return the accounts that can be readers of a study, sorted by name.

    Raises:
        NotAllowedError: If this account may not plan studies.
    """
    require_permission(session, account_id, Permission.PLAN_READING)
    row = tables.Account
    query = select(row).where(row.role.in_(_READER_ROLES)).order_by(row.name)
    if has_accounts(session):
        query = query.join(tables.Credential, tables.Credential.account_id == row.id).where(~tables.Credential.disabled)
    return [Account(found.id, found.name, found.role) for found in session.scalars(query)]


def cases_for_study(session: Session, account_id: int, filters: CaseChoice) -> tuple[int, ...]:
    """Return the ids of the cases with images that match a filter, in order.

    Raises:
        NotAllowedError: If this account may not plan studies.
        ValueError: If there are more of them than a study may have cases.
    """
    require_permission(session, account_id, Permission.PLAN_READING)
    row = tables.Case
    has_image = select(tables.Image.id).where(tables.Image.case_id == row.id).exists()
    query = select(row.id).where(has_image).order_by(row.id)
    if filters.magnification is not None:
        query = query.where(row.magnification == filters.magnification)
    if filters.demonstration is not None:
        query = query.where(row.demonstration == filters.demonstration)
    if filters.since is not None:
        query = query.where(row.created_at >= filters.since)
    if filters.until is not None:
        query = query.where(row.created_at < filters.until)
    found = tuple(session.scalars(query.limit(MOST_CASES + 1)))
    if len(found) > MOST_CASES:
        raise ValueError(f"more than {MOST_CASES:,} cases match, and a study may have no more: narrow the filter")
    return found


def find_cases(session: Session, account_id: int, accessions: Sequence[str]) -> list[int | None]:
    """Return the ids of cases by accession, however it is written, in the same order; None for an unknown accession.

    Raises:
        NotAllowedError: If this account may not plan studies.
        ValueError: If there are more accessions than a study may have cases.
    """
    require_permission(session, account_id, Permission.PLAN_READING)
    if len(accessions) > MOST_CASES:
        raise ValueError(f"a study may have at most {MOST_CASES} cases, got {len(accessions)}")
    row, number = tables.Case, tables.CaseNumber
    folded = {accession: fold_identifier(accession) for accession in accessions}
    query = select(row.accession, number.folded, row.id).join(number, number.case_id == row.id)
    # Sorted here: to find them in this order, the database would look at all cases.
    found = sorted(session.execute(query.where(number.folded.in_(set(folded.values())))), key=lambda one: -one.id)
    by_number = {same: case_id for _, same, case_id in found}
    # Two old cases may share a number: then the one that is written like this is meant.
    exact = {accession: case_id for accession, _, case_id in found}
    return [exact.get(accession, by_number.get(folded[accession])) for accession in accessions]


def preview_study(session: Session, account_id: int, plan: StudyPlan) -> StudyPreview:
    """Return the obstacles to a plan, and how many of its readings would be repeats.

    Raises:
        NotAllowedError: If this account may not plan studies.
        ValueError: If a case does not exist, or an account cannot be a reader.
    """
    able = {account.id for account in study_readers(session, account_id)}
    if unable := [reader for reader in plan.reader_ids if reader not in able]:
        raise ValueError(
            f"only readers and adjudicators who can sign in may read in a study, not {_names_of(session, unable)}"
        )
    # A case with several obstacles is listed once, with the first.
    first = {obstacle.case_id: obstacle for obstacle in reversed(list(_obstacles(session, plan)))}
    ordered = tuple(first[case] for case in plan.case_ids if case in first)
    before = times_read(session, plan)
    remaining = [case for case in plan.case_ids if case not in first]
    repeats = sum(
        arm in arms[:position] or (reader, case, arm) in before
        for reader in plan.reader_ids
        for arms in [plan.arms_of(reader)]
        for position, arm in enumerate(arms)
        for case in remaining
    )
    return StudyPreview(ordered, repeats)


def times_read(session: Session, plan: StudyPlan) -> Counter[tuple[int, int, Arm]]:
    """Count how many times each reader of a plan has read each of its cases in each arm."""
    place, read = tables.StudyPlace, tables.Read
    # A place counts as read even if only the first of two reads was saved.
    was_read = select(read.id).where(read.place_id == place.id).exists()
    query = select(place.account_id, place.case_id, place.arm).where(
        place.account_id.in_(plan.reader_ids), place.case_id.in_(plan.case_ids), was_read
    )
    return Counter((reader, case, arm) for reader, case, arm in session.execute(query))


def _obstacles(session: Session, plan: StudyPlan) -> Iterator[Obstacle]:
    row, image = tables.Case, tables.Image
    cases = plan.case_ids
    accessions = dict(session.execute(select(row.id, row.accession).where(row.id.in_(cases))).all())
    if unknown := [str(case) for case in cases if case not in accessions]:
        raise ValueError(f"there is no case number {', '.join(unknown)}")
    pending = select(image.case_id).join(tables.Job, tables.Job.image_id == image.id)
    pending = pending.where(tables.Job.state.in_(PENDING), image.case_id.in_(cases))
    answered = select(image.case_id).where(has_answer())
    incomplete = set(session.scalars(incomplete_cases().where(tables.Intake.case_id.in_(cases))))
    waiting = set(session.scalars(pending.distinct()))
    analysed = set(session.scalars(answered.where(image.case_id.in_(cases)).distinct()))
    for case in cases:
        if case in incomplete:
            yield Obstacle(case, accessions[case], "is incomplete: its images are still being stored")
        elif case in waiting:
            yield Obstacle(case, accessions[case], "is still being analysed")
        elif case not in analysed:
            yield Obstacle(case, accessions[case], "is unreadable: the model has no result for it")
    for case, why in (*_read_in_routine(session, plan), *_in_open_studies(session, plan)):
        yield Obstacle(case, accessions[case], why)


def _read_in_routine(session: Session, plan: StudyPlan) -> Iterator[tuple[int, str]]:
    read, account = tables.Read, tables.Account
    query = (
        select(read.case_id, account.name)
        .join(account, account.id == read.account_id)
        .where(read.stage == Stage.FIRST, read.place_id.is_(None))
        .where(read.case_id.in_(plan.case_ids), read.account_id.in_(plan.reader_ids))
    )
    for case, name in session.execute(query.order_by(read.id)):
        yield case, f"was read in routine reading by {name}, who may know the model's opinion"


def _in_open_studies(session: Session, plan: StudyPlan) -> Iterator[tuple[int, str]]:
    place, account = tables.StudyPlace, tables.Account
    query = (
        select(place.case_id, account.name, tables.Study.name)
        .join(account, account.id == place.account_id)
        .join(tables.Study, tables.Study.id == place.study_id)
        .where(tables.Study.closed_at.is_(None))
        .where(place.case_id.in_(plan.case_ids), place.account_id.in_(plan.reader_ids))
    )
    for case, name, study in session.execute(query.order_by(place.id)):
        yield case, f"is already part of the open study {study} for {name}"


def _names_of(session: Session, accounts: Collection[int]) -> str:
    row = tables.Account
    names = dict(session.execute(select(row.id, row.name).where(row.id.in_(accounts))).all())
    return ", ".join(names.get(account, f"account number {account}") for account in accounts)


def make_study(session: Session, account_id: int, plan: StudyPlan) -> int:
    """Create a study, draw the order of cases for every reader, and return its id.

    Raises:
        NotAllowedError: If this account may not plan studies.
        ValueError: If the name is taken, an account cannot be a reader, or a case cannot be included.
    """
    require_permission(session, account_id, Permission.PLAN_READING)
    _lock_cases(session, plan)
    if obstacles := preview_study(session, account_id, plan).obstacles:
        raise ValueError(_refusal(obstacles))
    row = tables.Study(
        name=plan.name,
        seed=plan.seed,
        washout_days=float(plan.washout_days),
        counterbalanced=plan.counterbalanced,
        created_by_id=account_id,
        created_at=datetime.now(UTC),
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise ValueError(f"there is already a study {plan.name}") from error
    # Plain rows: ORM objects would take twice as long, and no one else can write meanwhile.
    session.execute(insert(tables.StudyPlace), list(_places(row.id, plan, times_read(session, plan))))
    record_event(session, account_id, Action.STUDY_MADE, plan.name, content=seal(session, row))
    return row.id


def studies(session: Session, account_id: int) -> list[StudyRow]:
    """Return all studies with the progress of their readers, newest first, without any opinions.

    Raises:
        NotAllowedError: If this account may not plan studies.
    """
    require_permission(session, account_id, Permission.PLAN_READING)
    progress = _progress(session)
    query = select(tables.Study, tables.Account.name).join(
        tables.Account, tables.Account.id == tables.Study.created_by_id
    )
    return [
        StudyRow(
            id=row.id,
            name=row.name,
            seed=row.seed,
            washout_days=row.washout_days,
            counterbalanced=row.counterbalanced,
            created_by=name,
            created_at=row.created_at,
            closed_at=row.closed_at,
            progress=tuple(progress[row.id]),
        )
        for row, name in session.execute(query.order_by(tables.Study.id.desc()))
    ]


def close_study(session: Session, account_id: int, study_id: int) -> None:
    """Close a study for all its readers, finished or not; its cases return to routine reading.

    Raises:
        NotAllowedError: If this account may not plan studies.
        UnknownCaseError: If there is no such study.
        CaseChangedError: If it is already closed.
    """
    require_permission(session, account_id, Permission.PLAN_READING)
    row = session.get(tables.Study, study_id, with_for_update={"key_share": True}, populate_existing=True)
    if row is None:
        raise UnknownCaseError(f"there is no study number {study_id}")
    if row.closed_at is not None:
        raise CaseChangedError(f"the study {row.name} was already closed on {row.closed_at:%Y-%m-%d %H:%M UTC}")
    row.closed_at = datetime.now(UTC)
    record_event(session, account_id, Action.STUDY_CLOSED, row.name, content=seal(session, row))


def drawn_order(plan: StudyPlan, reader_id: int, number: int) -> list[int]:
    """Draw the order in which a reader reads the cases of a round.

    Cases are sorted by the sha256 of seed, reader, round and case. This is as good as a library's shuffle, which may
    change between versions, and anyone can check it at any time.
    """

    def sha256(case: int) -> bytes:
        return hashlib.sha256(f"study order 1: {plan.seed} {reader_id} {number} {case}".encode("ascii")).digest()

    return sorted(plan.case_ids, key=sha256)


def _lock_cases(session: Session, plan: StudyPlan) -> None:
    """Lock the cases of a plan against routine reads and other plans until the transaction ends."""
    row = tables.Case
    # Always in the same order, so that two planners cannot deadlock.
    query = select(row.id).where(row.id.in_(plan.case_ids)).order_by(row.id)
    session.execute(query.with_for_update(key_share=True)).all()


def _places(study_id: int, plan: StudyPlan, before: Counter[tuple[int, int, Arm]]) -> Iterator[dict[str, object]]:
    for reader in plan.reader_ids:
        arms = plan.arms_of(reader)
        for number, arm in enumerate(arms, start=1):
            repeats = arms[:number].count(arm)
            for position, case in enumerate(drawn_order(plan, reader, number), start=1):
                yield {
                    "study_id": study_id,
                    "account_id": reader,
                    "case_id": case,
                    "round": number,
                    "arm": arm,
                    "iteration": before[reader, case, arm] + repeats,
                    "position": position,
                }


def _progress(session: Session) -> defaultdict[int, list[RoundProgress]]:
    place, account = tables.StudyPlace, tables.Account
    done = func.sum(choose((is_finished(), 1), else_=0))
    query = (
        select(place.study_id, account.name, place.round, place.arm, done, func.count())
        .join(account, account.id == place.account_id)
        .group_by(place.study_id, account.id, account.name, place.round, place.arm)
        .order_by(place.study_id, func.min(place.id))
    )
    progress: defaultdict[int, list[RoundProgress]] = defaultdict(list)
    for study, name, number, arm, read, of in session.execute(query):
        progress[study].append(RoundProgress(name, number, arm, int(read), of))
    return progress


def _refusal(obstacles: tuple[Obstacle, ...]) -> str:
    reasons = "; ".join(f"{one.accession} {one.why}" for one in obstacles[:_CASES_IN_REFUSAL])
    rest = len(obstacles) - _CASES_IN_REFUSAL
    return f"{reasons}{f'; and {rest} more cases' if rest > 0 else ''}: leave them out"
