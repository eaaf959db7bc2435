"""What people do in any order, as dice say: reads, amendments, studies, sign-offs and so on, through the store."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.results import Analysis
from db import store, tables
from db.errors import CaseChangedError, InStudyError, NotAllowedError, NotRevealedError
from db.values.accounts import Role
from db.values.adjudication import Amendment
from db.values.reading import Arm
from db.values.studies import StudyPlan
from tests.helpers.rows import (
    CANNOT_ASSESS,
    MALIGNANT,
    MODEL,
    OPENED,
    QUALITY,
    RULING,
    SAYS_BENIGN,
    SAYS_MALIGNANT,
    analysis,
)
from tests.helpers.world import World, make_case

REFUSED = (CaseChangedError, InStudyError, NotAllowedError, NotRevealedError, ValueError)


@dataclass(frozen=True, slots=True)
class Chance:
    """Who does something with which case, and how the dice fall."""

    world: World
    planner: int
    dice: random.Random

    @property
    def case(self) -> int:
        return self.dice.choice(self.world.cases)

    @property
    def who(self) -> int:
        return self.dice.choice((*self.world.readers, *self.world.adjudicators))


def read_first(session: Session, by: Chance) -> None:
    opinion = by.dice.choice((SAYS_MALIGNANT, CANNOT_ASSESS, replace(MALIGNANT, confidence=1)))
    store.reads.record_first_read(session, by.case, by.who, opinion, OPENED)


def read_to_the_end(session: Session, by: Chance) -> None:
    opinion = by.dice.choice((SAYS_MALIGNANT, SAYS_BENIGN, CANNOT_ASSESS))
    store.reads.record_final_read(session, by.case, by.who, opinion, OPENED)


def amend(session: Session, by: Chance) -> None:
    store.reads.amend_read(session, by.case, by.who, by.dice.choice((SAYS_MALIGNANT, SAYS_BENIGN)), OPENED)


def withdraw(session: Session, by: Chance) -> None:
    who = by.who
    for read in store.reads.own_reads(session, who)[-1:]:
        store.reads.withdraw_read(session, read.id, who)


def sign_off(session: Session, by: Chance) -> None:
    case, who = by.case, by.who
    store.reads.end_undo(session, who)
    session.flush()
    view = store.sign_offs.sign_offs_of(session, case, who)
    if view.proposed is not None:
        store.sign_offs.sign_off(session, case, who, view.proposed, "")
    elif view.versions:
        amended = Amendment("benign", None, f"note {by.dice.random()}", why="looked again")
        replaces = view.versions[-1].version
        store.sign_offs.amend_sign_off(session, case, who, amended, replaces_version=replaces)


def settle(session: Session, by: Chance) -> None:
    case, who = by.case, by.world.adjudicator
    opened = store.adjudication.open_adjudication(session, case, who)
    seen = [read.read_id for read in opened.reads]
    store.adjudication.record_consensus(session, case, who, RULING, OPENED, seen=seen)


def plan(session: Session, by: Chance) -> None:
    store.planning.assign(session, by.planner, [by.case], by.who, active=by.dice.random() < 0.7)
    store.planning.set_priority(session, by.planner, [by.case], urgent=by.dice.random() < 0.5)


def plan_study(session: Session, by: Chance) -> None:
    name = f"study {by.dice.random()}"
    store.studies.make_study(session, by.planner, StudyPlan(name, (by.who,), (by.case,), (Arm.UNAIDED,)))


def close_study(session: Session, by: Chance) -> None:
    for study in session.scalars(select(tables.Study.id).where(tables.Study.closed_at.is_(None))).all():
        store.studies.close_study(session, by.planner, study)


def change_account(session: Session, by: Chance) -> None:
    name = session.get_one(tables.Account, by.who).name
    store.accounts.set_disabled(session, by.planner, name, disabled=by.dice.random() < 0.3)
    other = session.get_one(tables.Account, by.world.readers[-1]).name
    store.accounts.set_role(session, by.planner, other, by.dice.choice(list(Role)))


def take_in(session: Session, by: Chance) -> None:
    who = by.world.reader
    case_id = store.cases.add_case(session, who, accession=None, magnification="40X")
    intake = store.intakes.begin_intake(session, who, case_id, 1)
    if by.dice.random() < 0.5:
        store.intakes.end_intake(session, who, intake)


def add_image(session: Session, by: Chance) -> None:
    make_case(session, by.world.reader, images=by.dice.choice((1, 2)))


def work(session: Session, by: Chance) -> None:
    job = store.jobs.claim_job(session, "w")
    if job is None:
        return
    match by.dice.choice(("found", "blank", "failed", "released")):
        case "found":
            result = analysis(by.dice.random())
            store.jobs.finish_job(session, job, "w", result, model=MODEL, heatmap=None)
        case "blank":
            blank = Analysis(460, 700, QUALITY, reason="the image is blank")
            store.jobs.finish_job(session, job, "w", blank, model=MODEL, heatmap=None)
        case "failed":
            store.jobs.fail_job(session, job, "w", "damaged")
        case _:
            store.jobs.release_jobs(session, "w")


def analyse_again(session: Session, by: Chance) -> None:
    image = session.scalar(select(tables.Image.id).where(tables.Image.case_id == by.case))
    assert image is not None
    store.jobs.queue_again(session, by.who, image)


def open_a_case(session: Session, by: Chance) -> None:
    store.open_case.open_case(session, by.case, by.who)


def end_undo(session: Session, by: Chance) -> None:
    store.reads.end_undo(session, by.who)


OFTEN: list[Callable[[Session, Chance], None]] = [read_first, read_to_the_end] * 4
SELDOM: list[Callable[[Session, Chance], None]] = [
    *(amend, withdraw, sign_off, settle, plan, plan_study, close_study, change_account, take_in, add_image),
    *(work, work, analyse_again, open_a_case, end_undo),
]
