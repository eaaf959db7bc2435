"""What calls for adjudication, and how far a case has come for one reader: written once, as SQL.

A trigger comes from the standing final reads of routine reading: stage final, of no study, replaced by no other
read. The states of the worklist and the list of the adjudicators both take it from here. Parts that are the same for
everybody are built once: building them takes longer than asking the database.
"""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Select, Subquery, and_, func, literal_column, or_, select
from sqlalchemy import case as choose
from sqlalchemy.orm import Session, aliased

from db import models
from db.consensus import is_standing
from db.once import made_once
from db.read_rows import standing
from db.reading_models import Consensus, SignOff
from db.reading_values import Trigger
from db.values import Role, Stage

_NOT_SURE = 2  # of 5; a confidence up to here calls for another opinion


@made_once
def case_triggers() -> Subquery:
    """Give a row per case with a standing routine final read: `case_id`, and 1 or 0 for each trigger.

    The columns are called as the members of Trigger in small letters: `readers_split` (standing final reads say
    benign and malignant; "cannot assess" contradicts nobody), `model_conflict` (one differs from the model as its
    reader saw it) and `low_confidence` (one is of confidence 1 or 2).
    """
    final = aliased(models.Read)
    model_says_malignant = final.shown_probability >= final.shown_threshold
    differs = and_(final.label.is_not(None), final.model_visible, (final.label == "malignant") != model_says_malignant)
    return (
        select(
            final.case_id,
            (_any(final.label == "benign") * _any(final.label == "malignant")).label(_column(Trigger.READERS_SPLIT)),
            _any(differs).label(_column(Trigger.MODEL_CONFLICT)),
            _any(final.confidence <= _NOT_SURE).label(_column(Trigger.LOW_CONFIDENCE)),
        )
        .where(is_standing_final(final))
        .group_by(final.case_id)
        .subquery()
    )


def has_trigger(triggers: Subquery) -> ColumnElement[bool]:
    """Say of a row of `case_triggers` whether any trigger holds; unknown where an outer join found none."""
    return or_(*(triggers.c[_column(trigger)] == 1 for trigger in Trigger))


@made_once
def resolved_cases() -> Select[int]:
    """Select the ids of the cases with a standing consensus that no later opinion contradicts.

    A consensus settles a case until a standing final read that was saved after it says benign where it says
    malignant, or malignant where it says benign. One that is not sure, or cannot assess, opens nothing again.
    """
    consensus, later = aliased(Consensus), aliased(models.Read)
    contradicted = (
        select(later.id)
        .where(
            later.case_id == consensus.case_id,
            later.saved_at > consensus.saved_at,
            later.label != consensus.label,
            is_standing_final(later),
        )
        .exists()
    )
    return select(consensus.case_id).where(is_standing(consensus), ~contradicted)


@made_once
def signed_cases() -> Select[int]:
    """Select the ids of the cases that were signed out, amended or not."""
    return select(SignOff.case_id)


def is_signed(session: Session, case_id: int) -> bool:
    """Say whether a case was signed out."""
    return session.scalar(select(SignOff.id).where(SignOff.case_id == case_id).limit(1)) is not None


@made_once
def adjudicated_cases() -> Select[int]:
    """Select the ids of the cases that an adjudicator has begun to read blind: a first read, and no final one."""
    first, final, adjudicator = aliased(models.Read), aliased(models.Read), aliased(models.Account)
    read_as_reader = (
        select(final.id)
        .where(final.case_id == first.case_id, final.account_id == first.account_id, is_standing_final(final))
        .exists()
    )
    return (
        select(first.case_id)
        .join(adjudicator, adjudicator.id == first.account_id)
        .where(adjudicator.role == Role.ADJUDICATOR, is_routine(first, Stage.FIRST), ~read_as_reader)
    )


@made_once
def cases_to_adjudicate() -> Select[int]:
    """Select the ids of the cases with a trigger that are neither settled nor signed out."""
    triggers = case_triggers()
    found: ColumnElement[int] = triggers.c.case_id
    return select(found).where(has_trigger(triggers), found.not_in(resolved_cases()), found.not_in(signed_cases()))


def triggers_of(session: Session, cases: Select[int]) -> Mapping[int, tuple[Trigger, ...]]:
    """Say for each of these cases that has a trigger which ones hold, in the order of Trigger."""
    triggers = case_triggers()
    columns = [triggers.c[_column(trigger)] for trigger in Trigger]
    query = select(triggers.c.case_id, *columns).where(has_trigger(triggers), triggers.c.case_id.in_(cases))
    return {
        case_id: tuple(trigger for trigger, holds in zip(Trigger, held, strict=True) if holds)
        for case_id, *held in session.execute(query)
    }


def is_routine(read: type[models.Read], stage: Stage) -> ColumnElement[bool]:
    """Select the reads of a stage that belong to no study."""
    return and_(read.stage == stage, read.place_id.is_(None))


def is_standing_final(read: type[models.Read]) -> ColumnElement[bool]:
    """Select the final reads of routine reading that no other read has replaced."""
    return and_(is_routine(read, Stage.FINAL), standing(read))


def _any(holds: ColumnElement[bool]) -> ColumnElement[int]:
    return func.max(choose((holds, literal_column("1")), else_=literal_column("0")))


def _column(trigger: Trigger) -> str:
    return trigger.name.lower()
