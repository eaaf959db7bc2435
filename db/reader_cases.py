"""The cases of one reader as one statement: their state, their progress, whose they are and who has them open."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Subquery,
    and_,
    bindparam,
    func,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy import case as choose
from sqlalchemy.orm import aliased

from db import models
from db.access_models import Credential
from db.case_states import (
    adjudicated_cases,
    case_triggers,
    has_trigger,
    is_routine,
    is_standing_final,
    resolved_cases,
)
from db.columns import UtcDateTime
from db.consensus import settled_by
from db.once import made_once
from db.reading_models import Assignment, Claim, Priority, SignOff
from db.study_order import open_study_cases
from db.values import Action, CaseState, JobState, Stage
from db.worklist_values import CaseFilter

Asked = dict[str, int | datetime]

_PENDING = (JobState.QUEUED, JobState.RUNNING)

# Statements are made once, because making them takes longer than asking the database; these are filled in each time.
READER = bindparam("reader", type_=Integer())
_CASE = bindparam("case", type_=Integer())
_NOW = bindparam("now", type_=UtcDateTime())

_FIRST, _FINAL, _MINE = aliased(models.Read), aliased(models.Read), aliased(Claim)
_IS_FIRST, _IS_FINAL = is_routine(_FIRST, Stage.FIRST), is_standing_final(_FINAL)


@dataclass(frozen=True, slots=True)
class ReaderCases:
    """A statement that selects id and state, with the parts to choose further columns, filter and order by."""

    query: Select[int, str]
    state: ColumnElement[str]
    first: type[models.Read]  # this reader's first read; nothing where there is none
    final: type[models.Read]  # and the standing final one
    images: ColumnElement[int]
    analysed: ColumnElement[int]
    urgent: ColumnElement[bool]
    mine: ColumnElement[bool]
    others: ColumnElement[bool]  # assigned to others, and not to this reader
    open_with: ColumnElement[str | None]
    open_since: ColumnElement[datetime | None]


def asked_by(account_id: int, case_id: int | None = None) -> Asked:
    """Give what is filled into a statement of `reader_cases`: who asks, now, and after which case."""
    asked: Asked = {"reader": account_id, "now": datetime.now(UTC)}
    return asked if case_id is None else {**asked, "case": case_id}


@made_once
def reader_cases(*, only_one: bool = False) -> ReaderCases:
    """Select the cases with an image that a reader may read in routine, or one of them; to be run with `asked_by`."""
    first, final, mine, case = _FIRST, _FINAL, _MINE, models.Case
    progress, triggers, signed = images_of_cases(only_one=only_one), case_triggers(), _signed()
    assigned, others = _shares(), _open_elsewhere()
    state = _state(_Joined(first, final, progress, triggers, signed.c.version, mine.account_id.is_not(None)))
    query = (
        select(case.id, state.label("state"))
        .join(progress, progress.c.case_id == case.id)
        .outerjoin(first, and_(first.case_id == case.id, first.account_id == READER, _IS_FIRST))
        .outerjoin(final, and_(final.case_id == case.id, final.account_id == READER, _IS_FINAL))
        .outerjoin(triggers, triggers.c.case_id == case.id)
        .outerjoin(signed, signed.c.case_id == case.id)
        .outerjoin(assigned, assigned.c.case_id == case.id)
        .outerjoin(others, others.c.case_id == case.id)
        .outerjoin(mine, and_(mine.case_id == case.id, mine.account_id == READER, _is_live(mine)))
        .where(case.id.not_in(open_study_cases(READER)))
    )
    return ReaderCases(
        query=query.where(case.id == _CASE) if only_one else query,
        state=state,
        first=first,
        final=final,
        images=progress.c.images,
        analysed=progress.c.analysed,
        urgent=case.id.in_(urgent_cases()),
        mine=func.coalesce(assigned.c.mine, 0) == 1,
        others=and_(assigned.c.case_id.is_not(None), assigned.c.mine == 0),
        open_with=others.c.names,
        open_since=others.c.since,
    )


def wanted_cases(wanted: CaseFilter) -> list[ColumnElement[bool]]:
    """Give the conditions of a filter that are the same for everybody."""
    row = models.Case
    text = (wanted.text or "").strip()
    conditions = (
        row.accession.icontains(text, autoescape=True) if text else None,
        row.magnification == wanted.magnification if wanted.magnification is not None else None,
        row.created_at >= wanted.since if wanted.since else None,
        row.created_at < wanted.until if wanted.until else None,
    )
    return [condition for condition in conditions if condition is not None]


@made_once
def current_assignments() -> Select[int, int]:
    """Select case and reader of what is assigned now: the last row of each counts, and of disabled readers none."""
    later = aliased(Assignment)
    newer = select(later.id).where(
        later.case_id == Assignment.case_id, later.account_id == Assignment.account_id, later.id > Assignment.id
    )
    disabled = select(Credential.account_id).where(Credential.disabled)
    return select(Assignment.case_id, Assignment.account_id).where(
        Assignment.active, ~newer.exists(), Assignment.account_id.not_in(disabled)
    )


@made_once
def urgent_cases() -> Select[int]:
    """Select the ids of the cases that are urgent now: the last row of a case counts."""
    later = aliased(Priority)
    newer = select(later.id).where(later.case_id == Priority.case_id, later.id > Priority.id)
    return select(Priority.case_id).where(Priority.urgent, ~newer.exists())


def images_of_cases(*, only_one: bool = False) -> Subquery:
    """Count per case the images, those whose job is over and those with a prediction."""
    predicted = select(models.Prediction.image_id).distinct().subquery()
    pending = models.Job.state.in_(_PENDING)
    query = (
        select(
            models.Image.case_id,
            func.count().label("images"),
            func.sum(choose((pending, 0), else_=1)).label("analysed"),
            func.count(predicted.c.image_id).label("predicted"),
        )
        .join(models.Job, models.Job.image_id == models.Image.id)
        .outerjoin(predicted, predicted.c.image_id == models.Image.id)
        .group_by(models.Image.case_id)
    )
    return (query.where(models.Image.case_id == _CASE) if only_one else query).subquery()


@dataclass(frozen=True, slots=True)
class _Joined:
    """What the state of a case is told from."""

    first: type[models.Read]
    final: type[models.Read]
    progress: Subquery
    triggers: Subquery
    version: ColumnElement[int | None]  # of the sign-off
    open_here: ColumnElement[bool]


def _state(told: _Joined) -> ColumnElement[str]:
    """Tell the state; what comes of others or of the model is hidden until this reader's last word.

    The last word is a final read; an adjudicator who has seen what the readers said has none of their own to give.
    """
    case, progress, event = models.Case.id, told.progress, models.AuditEvent
    seen = select(event.subject).where(event.account_id == READER, event.action == Action.OPINIONS_SHOWN)
    begun = told.first.id.is_not(None)
    finished = or_(
        told.final.id.is_not(None), case.in_(settled_by(READER)), and_(begun, models.Case.accession.in_(seen))
    )
    waits = progress.c.analysed < progress.c.images
    predicted = progress.c.predicted > 0
    triggered = has_trigger(told.triggers)
    return choose(
        (told.version > 1, _text(CaseState.AMENDED)),
        (told.version == 1, _text(CaseState.SIGNED_OUT)),
        (and_(finished, case.in_(resolved_cases())), _text(CaseState.RESOLVED)),
        (and_(finished, triggered, case.in_(adjudicated_cases())), _text(CaseState.ADJUDICATION)),
        (and_(finished, triggered), _text(CaseState.DISCORDANT)),
        (finished, _text(CaseState.FINAL)),
        (and_(begun, waits, not_(predicted)), _text(CaseState.FIRST_READ)),
        (begun, _text(CaseState.REVEALED)),
        (waits, _text(CaseState.WAITING)),
        (and_(predicted, told.open_here), _text(CaseState.IN_READING)),
        (predicted, _text(CaseState.READY)),
        else_=_text(CaseState.UNREADABLE),
    )


@made_once
def _signed() -> Subquery:
    return select(SignOff.case_id, func.max(SignOff.version).label("version")).group_by(SignOff.case_id).subquery()


def _shares() -> Subquery:
    """Say per assigned case whether it is assigned to this reader."""
    found = current_assignments().subquery()
    mine = func.max(choose((found.c.account_id == READER, 1), else_=0))
    return select(found.c.case_id, mine.label("mine")).group_by(found.c.case_id).subquery()


def _open_elsewhere() -> Subquery:
    return (
        select(
            Claim.case_id,
            func.aggregate_strings(models.Account.name, ", ").label("names"),
            func.min(Claim.claimed_at).label("since"),
        )
        .join(models.Account, models.Account.id == Claim.account_id)
        .where(Claim.account_id != READER, _is_live(Claim))
        .group_by(Claim.case_id)
        .subquery()
    )


def _text(state: CaseState) -> ColumnElement[str]:
    # Written into the statement: PostgreSQL cannot tell the type of a CASE made of parameters only.
    return literal_column(f"'{state.value}'")


def _is_live(claim: type[Claim]) -> ColumnElement[bool]:
    return claim.expires_at > _NOW
