"""Reader studies as their planner sees them: made whole, looked after and closed.

The order in which a reader reads is drawn when the study is made, stored, and never drawn again. It comes from the
seed, the reader, the round and the case alone: the same seed gives the same order on every machine.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import case as choose
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import models
from db.access_values import Permission
from db.audit import record_event
from db.errors import CaseChangedError, UnknownCaseError
from db.permissions import need
from db.reading_models import Study, StudyPlace
from db.reading_values import Arm
from db.seals import seal
from db.study_order import finished
from db.study_planning import preview_study, times_read
from db.study_values import Obstacle, RoundProgress, StudyPlan, StudyRow
from db.values import Action

_NAMED = 5  # cases that a refusal names


def make_study(session: Session, account_id: int, plan: StudyPlan) -> int:
    """Make a study with the order of every reader, and give its id.

    Raises:
        NotAllowedError: If this account may not plan studies.
        ValueError: If the name is taken, somebody cannot be a reader, or a case cannot be in it; with which and why.
    """
    need(session, account_id, Permission.PLAN_READING)
    _hold_cases(session, plan)
    if obstacles := preview_study(session, account_id, plan).obstacles:
        raise ValueError(_refusal(obstacles))
    row = Study(
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
    # As plain rows: objects of the ORM would take twice as long, and nobody else may write meanwhile.
    session.execute(insert(StudyPlace), list(_places(row.id, plan, times_read(session, plan))))
    record_event(session, account_id, Action.STUDY_MADE, plan.name, content=seal(session, row))
    return row.id


def studies(session: Session, account_id: int) -> list[StudyRow]:
    """Give every study with the progress of its readers, the newest first; nothing of what they said.

    Raises:
        NotAllowedError: If this account may not plan studies.
    """
    need(session, account_id, Permission.PLAN_READING)
    progress = _progress(session)
    query = select(Study, models.Account.name).join(models.Account, models.Account.id == Study.created_by_id)
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
        for row, name in session.execute(query.order_by(Study.id.desc()))
    ]


def close_study(session: Session, account_id: int, study_id: int) -> None:
    """End a study for all its readers, finished or not: nothing more is read in it, and its cases are free again.

    Raises:
        NotAllowedError: If this account may not plan studies.
        UnknownCaseError: If there is no such study.
        CaseChangedError: If it is closed already.
    """
    need(session, account_id, Permission.PLAN_READING)
    row = session.get(Study, study_id, with_for_update={"key_share": True}, populate_existing=True)
    if row is None:
        raise UnknownCaseError(f"there is no study number {study_id}")
    if row.closed_at is not None:
        raise CaseChangedError(f"the study {row.name} was already closed on {row.closed_at:%Y-%m-%d %H:%M UTC}")
    row.closed_at = datetime.now(UTC)
    record_event(session, account_id, Action.STUDY_CLOSED, row.name)


def drawn_order(plan: StudyPlan, reader_id: int, number: int) -> list[int]:
    """Draw the order in which a reader reads the cases of a round.

    By the sha256 of seed, reader, round and case: as good as a shuffle, and unlike that of a library, which may
    change from one version to the next, it can be checked by anyone at any time.
    """

    def drawn(case: int) -> bytes:
        return hashlib.sha256(f"study order 1: {plan.seed} {reader_id} {number} {case}".encode("ascii")).digest()

    return sorted(plan.case_ids, key=drawn)


def _hold_cases(session: Session, plan: StudyPlan) -> None:
    """Hold off whoever reads one of the cases in routine, or plans another study with it, until this one is saved."""
    row = models.Case
    # Always in the same order: two planners would wait for each other for ever.
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
    place, account = StudyPlace, models.Account
    done = func.sum(choose((finished(), 1), else_=0))
    query = (
        select(place.study_id, account.name, place.round, place.arm, done, func.count())
        .join(account, account.id == place.account_id)
        .group_by(place.study_id, account.id, account.name, place.round, place.arm)
        .order_by(place.study_id, func.min(place.id))
    )
    found: defaultdict[int, list[RoundProgress]] = defaultdict(list)
    for study, name, number, arm, read, of in session.execute(query):
        found[study].append(RoundProgress(name, number, arm, int(read), of))
    return found


def _refusal(obstacles: tuple[Obstacle, ...]) -> str:
    named = "; ".join(f"{one.accession} {one.why}" for one in obstacles[:_NAMED])
    rest = len(obstacles) - _NAMED
    return f"{named}{f'; and {rest} more cases' if rest > 0 else ''}: leave them out"
