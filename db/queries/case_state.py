"""SQL for the state of each case for one reader, and for what triggers adjudication."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Subquery,
    and_,
    bindparam,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy import case as choose
from sqlalchemy.orm import Session, aliased

from core import clock
from db import tables
from db.queries.cached import cache_statement
from db.queries.consensus import is_current_consensus, settled_by
from db.queries.intakes import incomplete_cases
from db.queries.reader_knowledge import UndoWindow, can_be_withdrawn, others_have_read
from db.queries.reads import is_current_final, is_routine
from db.queries.scales import is_of_current_scale
from db.queries.study_places import open_study_cases
from db.queries.text_search import contains_text
from db.tables import UtcDateTime
from db.values.reading import GRACE, Action, CaseState, JobState, Role, Stage, Trigger
from db.values.worklist import CaseFilter

_NOT_SURE = 2  # of 5; a confidence up to this calls for another opinion

StatementParameters = dict[str, int | datetime]

_PENDING = (JobState.QUEUED, JobState.RUNNING)

# Statements are built once, because building them takes longer than running them; these are filled in each time.
READER = bindparam("reader", type_=Integer())
_CASE = bindparam("case", type_=Integer())
_NOW = bindparam("now", type_=UtcDateTime())
_UNDO = UndoWindow(bindparam("undo_after", type_=UtcDateTime()), _NOW)

_FIRST, _FINAL, _MINE = aliased(tables.Read), aliased(tables.Read), aliased(tables.Claim)


@cache_statement
def case_triggers() -> Subquery:
    """Return a row per case with a current routine final read: `case_id`, and 1 or 0 for each trigger.

    The columns are the members of Trigger in lower case: `readers_split` (some final reads are benign and some
    malignant; "cannot assess" contradicts neither), `model_conflict` (one differs from the model as its reader saw
    it; where the model gave no opinion, nothing differs from it) and `low_confidence` (one has a confidence of 1 or 2).
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
        .where(is_current_final(final))
        .group_by(final.case_id)
        .subquery()
    )


def has_trigger(triggers: Subquery) -> ColumnElement[bool]:
    """Select the rows of `case_triggers` with any trigger; NULL where an outer join has no row."""
    return or_(*(triggers.c[_column(trigger)] == 1 for trigger in Trigger))


@cache_statement
def resolved_cases() -> Select[int]:
    """Select the ids of the cases with a current consensus that no later opinion contradicts.

    A consensus resolves a case until a later current final read says benign where the consensus says malignant, or
    the other way round. A low confidence or "cannot assess" does not reopen a case. Later is a read that has a higher
    number than the adjudicator's own and was not shown to them; a clock may be set back, a number never is.
    """
    consensus, later, seen = aliased(tables.Consensus), aliased(tables.Read), tables.ConsensusRead
    contradicted = (
        select(later.id)
        .where(
            later.case_id == consensus.case_id,
            later.id > consensus.blind_read_id,
            later.id.not_in(select(seen.read_id).where(seen.consensus_id == consensus.id)),
            later.label != consensus.label,
            is_current_final(later),
        )
        .exists()
    )
    return select(consensus.case_id).where(is_current_consensus(consensus), ~contradicted)


@cache_statement
def signed_cases() -> Select[int]:
    """Select the ids of the cases that are signed off, amended or not."""
    return select(tables.SignOff.case_id)


def is_signed(session: Session, case_id: int) -> bool:
    """Return whether a case is signed off."""
    return session.scalar(select(tables.SignOff.id).where(tables.SignOff.case_id == case_id).limit(1)) is not None


@cache_statement
def adjudicated_cases() -> Select[int]:
    """Select the ids of the cases that an adjudicator has read blind: with a first read, but no final one."""
    first, final, adjudicator = aliased(tables.Read), aliased(tables.Read), aliased(tables.Account)
    read_as_reader = (
        select(final.id)
        .where(final.case_id == first.case_id, final.account_id == first.account_id, is_current_final(final))
        .exists()
    )
    return (
        select(first.case_id)
        .join(adjudicator, adjudicator.id == first.account_id)
        .where(adjudicator.role == Role.ADJUDICATOR, is_routine(first, Stage.FIRST), ~read_as_reader)
    )


@cache_statement
def cases_to_adjudicate() -> Select[int]:
    """Select the ids of the cases with a trigger that are neither resolved nor signed off."""
    triggers = case_triggers()
    case_id: ColumnElement[int] = triggers.c.case_id
    return select(case_id).where(
        has_trigger(triggers), case_id.not_in(resolved_cases()), case_id.not_in(signed_cases())
    )


def triggers_of(session: Session, cases: Select[int]) -> Mapping[int, tuple[Trigger, ...]]:
    """Return the triggers of those of these cases that have any, in the order of Trigger."""
    triggers = case_triggers()
    columns = [triggers.c[_column(trigger)] for trigger in Trigger]
    query = select(triggers.c.case_id, *columns).where(has_trigger(triggers), triggers.c.case_id.in_(cases))
    return {
        case_id: tuple(trigger for trigger, holds in zip(Trigger, flags, strict=True) if holds)
        for case_id, *flags in session.execute(query)
    }


def _any(holds: ColumnElement[bool]) -> ColumnElement[int]:
    return func.max(choose((holds, literal_column("1")), else_=literal_column("0")))


def _column(trigger: Trigger) -> str:
    return trigger.name.lower()


_IS_FIRST, _IS_FINAL = is_routine(_FIRST, Stage.FIRST), is_current_final(_FINAL)


@dataclass(frozen=True, slots=True)
class ReaderCases:
    """A statement that selects id and state, and its parts for further columns, filters and orders."""

    query: Select[int, str]
    state: ColumnElement[str]
    first: type[tables.Read]  # this reader's first read, outer-joined
    final: type[tables.Read]  # this reader's current final read, outer-joined
    images: ColumnElement[int]
    analysed: ColumnElement[int]
    first_image: ColumnElement[int]
    urgent: ColumnElement[bool]
    mine: ColumnElement[bool]
    others: ColumnElement[bool]  # assigned to others, and not to this reader
    open_with: ColumnElement[str | None]
    open_since: ColumnElement[datetime | None]


def statement_parameters(account_id: int, case_id: int | None = None) -> StatementParameters:
    """Return the parameters for a statement of `reader_cases`: the reader, the time and the case, if only one."""
    now = clock.now()
    parameters: StatementParameters = {"reader": account_id, "now": now, "undo_after": now - GRACE}
    return parameters if case_id is None else {**parameters, "case": case_id}


@cache_statement
def reader_cases(*, only_one: bool = False) -> ReaderCases:
    """Select the cases with an image that a reader may read in routine, or one; run it with `statement_parameters`."""
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
        first_image=progress.c.first_image,
        urgent=case.id.in_(urgent_cases()),
        mine=func.coalesce(assigned.c.mine, 0) == 1,
        others=and_(assigned.c.case_id.is_not(None), assigned.c.mine == 0),
        open_with=others.c.names,
        open_since=others.c.since,
    )


def case_conditions(filters: CaseFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter that do not depend on the reader."""
    row = tables.Case
    text = (filters.text or "").strip()
    conditions = (
        contains_text(row.accession, text) if text else None,
        row.magnification == filters.magnification if filters.magnification is not None else None,
        row.created_at >= filters.since if filters.since else None,
        row.created_at < filters.until if filters.until else None,
    )
    return [condition for condition in conditions if condition is not None]


@cache_statement
def current_assignments() -> Select[int, int]:
    """Select case and reader of the current assignments: the last row of each counts; disabled readers are left out."""
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


@cache_statement
def urgent_cases() -> Select[int]:
    """Select the ids of the cases that are urgent now: the last row of each case counts."""
    later = aliased(tables.Priority)
    newer = select(later.id).where(later.case_id == tables.Priority.case_id, later.id > tables.Priority.id)
    return select(tables.Priority.case_id).where(tables.Priority.urgent, ~newer.exists())


def images_of_cases(*, only_one: bool = False) -> Subquery:
    """Count the images of each case, those whose job has ended, and those with an answer; name the first image."""
    pending = tables.Job.state.in_(_PENDING)
    query = (
        select(
            tables.Image.case_id,
            func.count().label("images"),
            func.sum(choose((pending, 0), else_=1)).label("analysed"),
            func.sum(choose((has_answer(), 1), else_=0)).label("answered"),
            func.min(tables.Image.id).label("first_image"),
        )
        .join(tables.Job, tables.Job.image_id == tables.Image.id)
        .group_by(tables.Image.case_id)
    )
    return (query.where(tables.Image.case_id == _CASE) if only_one else query).subquery()


def has_answer() -> ColumnElement[bool]:
    """Select the images of which the model gave an opinion, or said that they are out of scope.

    A case whose images are all out of scope is read like any other: its state must not tell.
    """
    image, prediction, scope = tables.Image, tables.Prediction, tables.ImageScope
    opinions = select(prediction.id).where(prediction.image_id == image.id, is_of_current_scale(prediction))
    withheld = select(scope.id).where(scope.image_id == image.id, scope.level == "out", is_of_current_scale(scope))
    return or_(opinions.correlate(image).exists(), withheld.correlate(image).exists())


@dataclass(frozen=True, slots=True)
class _Joined:
    """The joined tables from which the state of a case is computed."""

    first: type[tables.Read]
    final: type[tables.Read]
    progress: Subquery
    triggers: Subquery
    version: ColumnElement[int | None]  # of the sign-off
    open_here: ColumnElement[bool]


def _state(joined: _Joined) -> ColumnElement[str]:
    """Compute the state; what others or the model say stays hidden until this reader has finished.

    A reader finishes with a final read; an adjudicator who has seen the readers' opinions cannot save one. While a
    final read can be withdrawn, the state does not depend on what others said.
    """
    case, progress, event = tables.Case.id, joined.progress, tables.AuditEvent
    shown_cases = select(event.subject).where(event.account_id == READER, event.action == Action.OPINIONS_SHOWN)
    begun = joined.first.id.is_not(None)
    finished = or_(
        joined.final.id.is_not(None), case.in_(settled_by(READER)), and_(begun, tables.Case.accession.in_(shown_cases))
    )
    hidden = and_(can_be_withdrawn(joined.final, _UNDO), others_have_read(case, READER))
    known = and_(finished, not_(func.coalesce(hidden, false())))
    waits = progress.c.analysed < progress.c.images
    answered = progress.c.answered > 0
    triggered = has_trigger(joined.triggers)
    return choose(
        (case.in_(incomplete_cases()), _text(CaseState.INCOMPLETE)),
        (joined.version > 1, _text(CaseState.AMENDED)),
        (joined.version == 1, _text(CaseState.SIGNED_OFF)),
        (and_(known, case.in_(resolved_cases())), _text(CaseState.RESOLVED)),
        (and_(known, triggered, case.in_(adjudicated_cases())), _text(CaseState.ADJUDICATION)),
        (and_(known, triggered), _text(CaseState.DISCORDANT)),
        (finished, _text(CaseState.FINAL)),
        (and_(begun, waits, not_(answered)), _text(CaseState.FIRST_READ)),
        (begun, _text(CaseState.REVEALED)),
        (waits, _text(CaseState.WAITING)),
        (and_(answered, joined.open_here), _text(CaseState.IN_READING)),
        (answered, _text(CaseState.READY)),
        else_=_text(CaseState.UNREADABLE),
    )


@cache_statement
def _signed() -> Subquery:
    return (
        select(tables.SignOff.case_id, func.max(tables.SignOff.version).label("version"))
        .group_by(tables.SignOff.case_id)
        .subquery()
    )


def _shares() -> Subquery:
    """Select the assigned cases, and for each whether it is assigned to this reader."""
    assigned = current_assignments().subquery()
    mine = func.max(choose((assigned.c.account_id == READER, 1), else_=0))
    return select(assigned.c.case_id, mine.label("mine")).group_by(assigned.c.case_id).subquery()


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
    # A literal: PostgreSQL cannot infer the type of a CASE that has only parameters.
    return literal_column(f"'{state.value}'")


def _is_live(claim: type[tables.Claim]) -> ColumnElement[bool]:
    return claim.expires_at > _NOW
