"""The state of each case for one reader, and what calls for adjudication, as SQL."""

from collections.abc import Mapping
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
from sqlalchemy.orm import Session, aliased

from db import tables
from db.queries.cached import made_once
from db.queries.consensus import is_standing, settled_by
from db.queries.reads import standing
from db.queries.study_places import open_study_cases
from db.tables import UtcDateTime
from db.values.reading import Action, CaseState, JobState, Role, Stage, Trigger
from db.values.worklist import CaseFilter

_NOT_SURE = 2  # of 5; a confidence up to here calls for another opinion

Asked = dict[str, int | datetime]

_PENDING = (JobState.QUEUED, JobState.RUNNING)

# Statements are made once, because making them takes longer than asking the database; these are filled in each time.
READER = bindparam("reader", type_=Integer())
_CASE = bindparam("case", type_=Integer())
_NOW = bindparam("now", type_=UtcDateTime())

_FIRST, _FINAL, _MINE = aliased(tables.Read), aliased(tables.Read), aliased(tables.Claim)


@made_once
def case_triggers() -> Subquery:
    """Give a row per case with a standing routine final read: `case_id`, and 1 or 0 for each trigger.

    The columns are called as the members of Trigger in small letters: `readers_split` (standing final reads say
    benign and malignant; "cannot assess" contradicts nobody), `model_conflict` (one differs from the model as its
    reader saw it) and `low_confidence` (one is of confidence 1 or 2).
    """
    final = aliased(tables.Read)
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
    consensus, later = aliased(tables.Consensus), aliased(tables.Read)
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
    return select(tables.SignOff.case_id)


def is_signed(session: Session, case_id: int) -> bool:
    """Say whether a case was signed out."""
    return session.scalar(select(tables.SignOff.id).where(tables.SignOff.case_id == case_id).limit(1)) is not None


@made_once
def adjudicated_cases() -> Select[int]:
    """Select the ids of the cases that an adjudicator has begun to read blind: a first read, and no final one."""
    first, final, adjudicator = aliased(tables.Read), aliased(tables.Read), aliased(tables.Account)
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


def is_routine(read: type[tables.Read], stage: Stage) -> ColumnElement[bool]:
    """Select the reads of a stage that belong to no study."""
    return and_(read.stage == stage, read.place_id.is_(None))


def is_standing_final(read: type[tables.Read]) -> ColumnElement[bool]:
    """Select the final reads of routine reading that no other read has replaced."""
    return and_(is_routine(read, Stage.FINAL), standing(read))


def _any(holds: ColumnElement[bool]) -> ColumnElement[int]:
    return func.max(choose((holds, literal_column("1")), else_=literal_column("0")))


def _column(trigger: Trigger) -> str:
    return trigger.name.lower()


_IS_FIRST, _IS_FINAL = is_routine(_FIRST, Stage.FIRST), is_standing_final(_FINAL)


@dataclass(frozen=True, slots=True)
class ReaderCases:
    """A statement that selects id and state, with the parts to choose further columns, filter and order by."""

    query: Select[int, str]
    state: ColumnElement[str]
    first: type[tables.Read]  # this reader's first read; nothing where there is none
    final: type[tables.Read]  # and the standing final one
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
    first, final, mine, case = _FIRST, _FINAL, _MINE, tables.Case
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
    row = tables.Case
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
    later = aliased(tables.Assignment)
    newer = select(later.id).where(
        later.case_id == tables.Assignment.case_id,
        later.account_id == tables.Assignment.account_id,
        later.id > tables.Assignment.id,
    )
    disabled = select(tables.Credential.account_id).where(tables.Credential.disabled)
    return select(tables.Assignment.case_id, tables.Assignment.account_id).where(
        tables.Assignment.active, ~newer.exists(), tables.Assignment.account_id.not_in(disabled)
    )


@made_once
def urgent_cases() -> Select[int]:
    """Select the ids of the cases that are urgent now: the last row of a case counts."""
    later = aliased(tables.Priority)
    newer = select(later.id).where(later.case_id == tables.Priority.case_id, later.id > tables.Priority.id)
    return select(tables.Priority.case_id).where(tables.Priority.urgent, ~newer.exists())


def images_of_cases(*, only_one: bool = False) -> Subquery:
    """Count per case the images, those whose job is over and those with a prediction."""
    predicted = select(tables.Prediction.image_id).distinct().subquery()
    pending = tables.Job.state.in_(_PENDING)
    query = (
        select(
            tables.Image.case_id,
            func.count().label("images"),
            func.sum(choose((pending, 0), else_=1)).label("analysed"),
            func.count(predicted.c.image_id).label("predicted"),
        )
        .join(tables.Job, tables.Job.image_id == tables.Image.id)
        .outerjoin(predicted, predicted.c.image_id == tables.Image.id)
        .group_by(tables.Image.case_id)
    )
    return (query.where(tables.Image.case_id == _CASE) if only_one else query).subquery()


@dataclass(frozen=True, slots=True)
class _Joined:
    """What the state of a case is told from."""

    first: type[tables.Read]
    final: type[tables.Read]
    progress: Subquery
    triggers: Subquery
    version: ColumnElement[int | None]  # of the sign-off
    open_here: ColumnElement[bool]


def _state(told: _Joined) -> ColumnElement[str]:
    """Tell the state; what comes of others or of the model is hidden until this reader's last word.

    The last word is a final read; an adjudicator who has seen what the readers said has none of their own to give.
    """
    case, progress, event = tables.Case.id, told.progress, tables.AuditEvent
    seen = select(event.subject).where(event.account_id == READER, event.action == Action.OPINIONS_SHOWN)
    begun = told.first.id.is_not(None)
    finished = or_(
        told.final.id.is_not(None), case.in_(settled_by(READER)), and_(begun, tables.Case.accession.in_(seen))
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
    return (
        select(tables.SignOff.case_id, func.max(tables.SignOff.version).label("version"))
        .group_by(tables.SignOff.case_id)
        .subquery()
    )


def _shares() -> Subquery:
    """Say per assigned case whether it is assigned to this reader."""
    found = current_assignments().subquery()
    mine = func.max(choose((found.c.account_id == READER, 1), else_=0))
    return select(found.c.case_id, mine.label("mine")).group_by(found.c.case_id).subquery()


def _open_elsewhere() -> Subquery:
    return (
        select(
            tables.Claim.case_id,
            func.aggregate_strings(tables.Account.name, ", ").label("names"),
            func.min(tables.Claim.claimed_at).label("since"),
        )
        .join(tables.Account, tables.Account.id == tables.Claim.account_id)
        .where(tables.Claim.account_id != READER, _is_live(tables.Claim))
        .group_by(tables.Claim.case_id)
        .subquery()
    )


def _text(state: CaseState) -> ColumnElement[str]:
    # Written into the statement: PostgreSQL cannot tell the type of a CASE made of parameters only.
    return literal_column(f"'{state.value}'")


def _is_live(claim: type[tables.Claim]) -> ColumnElement[bool]:
    return claim.expires_at > _NOW
