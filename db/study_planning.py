"""What a planner chooses a study from, and what stands in the way of a plan."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import models
from db.access_models import Credential
from db.access_values import ALLOWED, Permission
from db.permissions import has_accounts, need
from db.reading_models import Study, StudyPlace
from db.reading_values import Arm
from db.study_values import MOST_CASES, CaseChoice, Obstacle, Preview, StudyPlan
from db.values import Account, JobState, Role, Stage

_READ = [role for role in Role if Permission.READ_CASES in ALLOWED[role]]


def study_readers(session: Session, account_id: int) -> list[Account]:
    """Give everyone who can be a reader of a study, by name.

    Raises:
        NotAllowedError: If this account may not plan studies.
    """
    need(session, account_id, Permission.PLAN_READING)
    row = models.Account
    query = select(row).where(row.role.in_(_READ)).order_by(row.name)
    if has_accounts(session):
        query = query.join(Credential, Credential.account_id == row.id).where(~Credential.disabled)
    return [Account(found.id, found.name, found.role) for found in session.scalars(query)]


def cases_for_study(session: Session, account_id: int, wanted: CaseChoice) -> tuple[int, ...]:
    """Give the cases with images that meet a filter, by number.

    Raises:
        NotAllowedError: If this account may not plan studies.
    """
    need(session, account_id, Permission.PLAN_READING)
    row = models.Case
    has_image = select(models.Image.id).where(models.Image.case_id == row.id).exists()
    query = select(row.id).where(has_image).order_by(row.id)
    if wanted.magnification is not None:
        query = query.where(row.magnification == wanted.magnification)
    if wanted.demonstration is not None:
        query = query.where(row.demonstration == wanted.demonstration)
    if wanted.since is not None:
        query = query.where(row.created_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(row.created_at < wanted.until)
    return tuple(session.scalars(query))


def cases_named(session: Session, account_id: int, accessions: Sequence[str]) -> list[int | None]:
    """Find cases by their accessions, in the same order; None where there is no such case.

    Raises:
        NotAllowedError: If this account may not plan studies.
        ValueError: If there are more than a study can have.
    """
    need(session, account_id, Permission.PLAN_READING)
    if len(accessions) > MOST_CASES:
        raise ValueError(f"a study has at most {MOST_CASES} cases, and these are {len(accessions)}")
    row = models.Case
    found = dict(session.execute(select(row.accession, row.id).where(row.accession.in_(accessions))).all())
    return [found.get(accession) for accession in accessions]


def preview_study(session: Session, account_id: int, plan: StudyPlan) -> Preview:
    """Say what stands in the way of a plan, and how many of its places would be repeats.

    Raises:
        NotAllowedError: If this account may not plan studies.
        ValueError: If a case is not there, or somebody named as a reader cannot be one.
    """
    able = {account.id for account in study_readers(session, account_id)}
    if unable := [reader for reader in plan.reader_ids if reader not in able]:
        raise ValueError(
            f"only readers and adjudicators who may sign in read in a study: not {_names(session, unable)}"
        )
    # A case that fails for several reasons is named once.
    first = {obstacle.case_id: obstacle for obstacle in reversed(list(_obstacles(session, plan)))}
    ordered = tuple(first[case] for case in plan.case_ids if case in first)
    before = times_read(session, plan)
    left = [case for case in plan.case_ids if case not in first]
    repeats = sum(
        arm in arms[:position] or (reader, case, arm) in before
        for reader in plan.reader_ids
        for arms in [plan.arms_of(reader)]
        for position, arm in enumerate(arms)
        for case in left
    )
    return Preview(ordered, repeats)


def times_read(session: Session, plan: StudyPlan) -> Counter[tuple[int, int, Arm]]:
    """Count how many times each reader of a plan has read each of its cases in each arm."""
    place, read = StudyPlace, models.Read
    # A place at which only the first of two reads was given has been read as well.
    was_read = select(read.id).where(read.place_id == place.id).exists()
    query = select(place.account_id, place.case_id, place.arm).where(
        place.account_id.in_(plan.reader_ids), place.case_id.in_(plan.case_ids), was_read
    )
    return Counter((reader, case, arm) for reader, case, arm in session.execute(query))


def _obstacles(session: Session, plan: StudyPlan) -> Iterator[Obstacle]:
    row, image = models.Case, models.Image
    cases = plan.case_ids
    known = dict(session.execute(select(row.id, row.accession).where(row.id.in_(cases))).all())
    if unknown := [str(case) for case in cases if case not in known]:
        raise ValueError(f"there is no case number {', '.join(unknown)}")
    pending = select(image.case_id).join(models.Job, models.Job.image_id == image.id)
    pending = pending.where(models.Job.state.in_((JobState.QUEUED, JobState.RUNNING)), image.case_id.in_(cases))
    predicted = select(image.case_id).join(models.Prediction, models.Prediction.image_id == image.id)
    waiting = set(session.scalars(pending.distinct()))
    analysed = set(session.scalars(predicted.where(image.case_id.in_(cases)).distinct()))
    for case in cases:
        if case in waiting:
            yield Obstacle(case, known[case], "is still being analysed")
        elif case not in analysed:
            yield Obstacle(case, known[case], "is unreadable: the model has no result for it")
    for case, why in (*_read_in_routine(session, plan), *_in_open_studies(session, plan)):
        yield Obstacle(case, known[case], why)


def _read_in_routine(session: Session, plan: StudyPlan) -> Iterator[tuple[int, str]]:
    read, account = models.Read, models.Account
    query = (
        select(read.case_id, account.name)
        .join(account, account.id == read.account_id)
        .where(read.stage == Stage.FIRST, read.place_id.is_(None))
        .where(read.case_id.in_(plan.case_ids), read.account_id.in_(plan.reader_ids))
    )
    for case, name in session.execute(query.order_by(read.id)):
        yield case, f"was read by {name} in routine, so that the model's opinion may be known"


def _in_open_studies(session: Session, plan: StudyPlan) -> Iterator[tuple[int, str]]:
    place, account = StudyPlace, models.Account
    query = (
        select(place.case_id, account.name, Study.name)
        .join(account, account.id == place.account_id)
        .join(Study, Study.id == place.study_id)
        .where(Study.closed_at.is_(None))
        .where(place.case_id.in_(plan.case_ids), place.account_id.in_(plan.reader_ids))
    )
    for case, name, study in session.execute(query.order_by(place.id)):
        yield case, f"is already in the open study {study} for {name}"


def _names(session: Session, accounts: Collection[int]) -> str:
    row = models.Account
    names = dict(session.execute(select(row.id, row.name).where(row.id.in_(accounts))).all())
    return ", ".join(names.get(account, f"account number {account}") for account in accounts)
