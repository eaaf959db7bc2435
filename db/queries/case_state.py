"""SQL for the state of cases for their readers, and for what triggers adjudication.

The state is derived here, from the rows that are never changed. What the worklists show is kept beside them by
`db.projection`, which asks the same statement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    union,
)
from sqlalchemy import case as choose
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from db import tables
from db.queries.cached import cache_statement
from db.queries.consensus import has_settled, is_current_consensus
from db.queries.events import were_opinions_shown
from db.queries.intakes import is_open_intake
from db.queries.reads import is_current_final, is_routine
from db.queries.scales import is_of_current_scale
from db.queries.study_places import is_in_open_study
from db.queries.text_search import contains_text
from db.values.accounts import READING_ROLES, Role
from db.values.adjudication import Trigger
from db.values.jobs import PENDING
from db.values.piles import SHARES, STATE_NUMBERS, Pile, Share
from db.values.reading import CaseState, Stage
from db.values.worklist import CaseFilter

_NOT_SURE = 2  # of 5; a confidence up to this calls for another opinion
_NOTHING_SAID: ColumnElement[float] = literal_column(
    "2.0"
)  # farther than any distance between a probability and a threshold
_SEVERAL = SHARES * 2  # piles of one state

Numbers = ColumnElement[int] | InstrumentedAttribute[int]

# Statements are built once, because building them takes longer than running them; these are filled in each time.
_CASES = bindparam("cases", type_=Integer(), expanding=True)
_READERS = bindparam("readers", type_=Integer(), expanding=True)


@dataclass(frozen=True, slots=True)
class DerivedCase:
    """A case for one reader as it follows from the rows; the fields are those of `tables.WorklistCase`."""

    account_id: int
    case_id: int
    pile: Pile
    uncertainty: float | None
    concordance: float | None

    @classmethod
    def of_row(
        cls, account_id: int, case_id: int, pile: int, uncertainty: float | None, concordance: float | None
    ) -> "DerivedCase":
        """Return the value of a row."""
        return cls(account_id, case_id, Pile.of_number(pile), uncertainty, concordance)


def derive_cases(session: Session, cases: Sequence[int], readers: Sequence[int]) -> list[DerivedCase]:
    """Derive the state of these cases for these readers, without cases that one must read in an open study.

    Neither claims nor Undo count: both end by themselves, so `db.queries.live_cases` adds them when a list is made.
    """
    found = session.execute(derivation(), {"cases": list(cases), "readers": list(readers)})
    return [DerivedCase.of_row(*row) for row in found]


@cache_statement
def derivation() -> Select[int, int, int, float | None, float | None]:
    """Select the fields of `DerivedCase` for the parameters `cases` and `readers`."""
    case, reader = tables.Case, tables.Account
    first, final = aliased(tables.Read), aliased(tables.Read)
    progress, triggers, opinion = images_of_cases(chosen=True), _case_triggers(chosen=True), _opinions()
    signed = _signed()
    finished = or_(
        final.id.is_not(None),
        has_settled(case.id, reader.id),
        and_(first.id.is_not(None), were_opinions_shown(case.accession, reader.id)),
    )
    known = _Known(
        first=first.id.is_not(None),
        finished=finished,
        waits=progress.c.analysed < progress.c.images,
        answered=progress.c.answered > 0,
        triggered=func.coalesce(triggers.c.any, 0) == 1,
        version=signed.c.version,
    )
    beyond = final.shown_probability - final.shown_threshold
    agrees = choose((final.label == "malignant", beyond), (final.label == "benign", -beyond))
    distance: ColumnElement[float] = func.abs(opinion.c.probability - opinion.c.threshold)
    return (
        select(
            reader.id,
            case.id,
            (_state(case.id, known) + _urgency(case.id) + _share(case.id, reader.id)).label("pile"),
            choose((first.id.is_not(None), func.coalesce(distance, _NOTHING_SAID))).label("uncertainty"),
            choose((final.id.is_not(None), func.coalesce(agrees, _NOTHING_SAID))).label("concordance"),
        )
        .select_from(case)
        .join(reader, true())
        .join(progress, progress.c.case_id == case.id)
        .outerjoin(triggers, triggers.c.case_id == case.id)
        .outerjoin(signed, signed.c.case_id == case.id)
        .outerjoin(opinion, opinion.c.case_id == case.id)
        .outerjoin(first, and_(first.case_id == case.id, first.account_id == reader.id, is_routine(first, Stage.FIRST)))
        .outerjoin(final, and_(final.case_id == case.id, final.account_id == reader.id, is_current_final(final)))
        .where(case.id.in_(_CASES), reader.id.in_(_READERS), ~is_in_open_study(case.id, reader.id))
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """From what the state of a case is computed, apart from what its number alone decides."""

    first: ColumnElement[bool]  # this reader has a first read
    finished: ColumnElement[bool]
    waits: ColumnElement[bool]
    answered: ColumnElement[bool]
    triggered: ColumnElement[bool]
    version: ColumnElement[int | None]  # of the sign-off


def _state(case_id: Numbers, known: _Known) -> ColumnElement[int]:
    """Compute the number of the first pile of the state; what others or the model say counts only for who finished.

    A reader finishes with a final read; an adjudicator who has seen the readers' opinions cannot save one.
    """
    return choose(
        (_is_incomplete(case_id), _first_pile(CaseState.INCOMPLETE)),
        (known.version > 1, _first_pile(CaseState.AMENDED)),
        (known.version == 1, _first_pile(CaseState.SIGNED_OFF)),
        (and_(known.finished, is_resolved(case_id)), _first_pile(CaseState.RESOLVED)),
        (and_(known.finished, known.triggered, _is_adjudicated(case_id)), _first_pile(CaseState.ADJUDICATION)),
        (and_(known.finished, known.triggered), _first_pile(CaseState.DISCORDANT)),
        (known.finished, _first_pile(CaseState.FINAL)),
        (and_(known.first, known.waits, ~known.answered), _first_pile(CaseState.FIRST_READ)),
        (known.first, _first_pile(CaseState.REVEALED)),
        (known.waits, _first_pile(CaseState.WAITING)),
        (known.answered, _first_pile(CaseState.READY)),
        else_=_first_pile(CaseState.UNREADABLE),
    )


def _first_pile(state: CaseState) -> ColumnElement[int]:
    # A literal: PostgreSQL cannot infer the type of a CASE that has only parameters.
    return literal_column(str(STATE_NUMBERS[state] * _SEVERAL), Integer())


def _urgency(case_id: Numbers) -> ColumnElement[int]:
    return choose((_is_urgent(case_id), literal_column(str(SHARES))), else_=literal_column("0"))


def _share(case_id: Numbers, account_id: Numbers) -> ColumnElement[int]:
    assigned = current_assignments()
    to = tables.Assignment
    anybody = assigned.where(to.case_id == case_id).correlate(tables.Case).exists()
    mine = assigned.where(to.case_id == case_id, to.account_id == account_id)
    return choose(
        (mine.correlate(tables.Case, tables.Account).exists(), literal_column(str(Share.MINE.value))),
        (anybody, literal_column(str(Share.OTHERS.value))),
        else_=literal_column(str(Share.NOBODY.value)),
    )


def _is_incomplete(case_id: Numbers) -> ColumnElement[bool]:
    return exists().where(tables.Intake.case_id == case_id, is_open_intake())


def _is_adjudicated(case_id: Numbers) -> ColumnElement[bool]:
    """Select the cases that an adjudicator has read blind: with a first read, but no final one."""
    first, final, adjudicator = aliased(tables.Read), aliased(tables.Read), aliased(tables.Account)
    read_as_reader = (
        select(final.id)
        .where(final.case_id == first.case_id, final.account_id == first.account_id, is_current_final(final))
        .correlate(first)
        .exists()
    )
    return exists().where(
        first.case_id == case_id,
        is_routine(first, Stage.FIRST),
        adjudicator.id == first.account_id,
        adjudicator.role == Role.ADJUDICATOR,
        ~read_as_reader,
    )


def is_resolved(case_id: Numbers) -> ColumnElement[bool]:
    """Select the cases with a current consensus that no later opinion contradicts.

    A consensus resolves a case until a later current final read says benign where the consensus says malignant, or
    the other way round. A low confidence or "cannot assess" does not reopen a case. Later is a read that has a higher
    number than the adjudicator's own and was not shown to them; a clock may be set back, a number never is.
    """
    consensus, later, seen = aliased(tables.Consensus), aliased(tables.Read), aliased(tables.ConsensusRead)
    was_shown = (
        select(seen.read_id)
        .where(seen.consensus_id == consensus.id, seen.read_id == later.id)
        .correlate(consensus, later)
        .exists()
    )
    contradicted = (
        select(later.id)
        .where(
            later.case_id == consensus.case_id,
            later.id > consensus.blind_read_id,
            ~was_shown,
            later.label != consensus.label,
            is_current_final(later),
        )
        .correlate(consensus)
        .exists()
    )
    return exists().where(consensus.case_id == case_id, is_current_consensus(consensus), ~contradicted)


def _is_urgent(case_id: Numbers) -> ColumnElement[bool]:
    return urgent_cases().where(tables.Priority.case_id == case_id).correlate(tables.Case).exists()


def is_signed(session: Session, case_id: int) -> bool:
    """Return whether a case is signed off."""
    return session.scalar(select(tables.SignOff.id).where(tables.SignOff.case_id == case_id).limit(1)) is not None


@cache_statement
def signed_cases() -> Select[int]:
    """Select the ids of the cases that are signed off, amended or not."""
    return select(tables.SignOff.case_id)


@cache_statement
def _signed() -> Subquery:
    row = tables.SignOff
    query = select(row.case_id, func.max(row.version).label("version")).where(row.case_id.in_(_CASES))
    return query.group_by(row.case_id).subquery()


def _case_triggers(*, chosen: bool = False, among: Select[int] | None = None) -> Subquery:
    """Return a row per case with a current routine final read: `case_id`, and 1 or 0 for each trigger and for `any`.

    The columns are the members of Trigger in lower case: `readers_split` (some final reads are benign and some
    malignant; "cannot assess" contradicts neither), `model_conflict` (one differs from the model as its reader saw
    it; where the model gave no opinion, nothing differs from it) and `low_confidence` (one has a confidence of 1 or 2).
    With `chosen` only the cases of the parameter `cases` have a row, with `among` only these.
    """
    final = aliased(tables.Read)
    model_says_malignant = final.shown_probability >= final.shown_threshold
    differs = and_(final.label.is_not(None), final.model_visible, (final.label == "malignant") != model_says_malignant)
    flags = {
        Trigger.READERS_SPLIT: _any(final.label == "benign") * _any(final.label == "malignant"),
        Trigger.MODEL_CONFLICT: _any(differs),
        Trigger.LOW_CONFIDENCE: _any(final.confidence <= _NOT_SURE),
    }
    holds = or_(*(flag == 1 for flag in flags.values()))
    query = select(
        final.case_id,
        *(flag.label(_column(trigger)) for trigger, flag in flags.items()),
        choose((holds, literal_column("1")), else_=literal_column("0")).label("any"),
    ).where(is_current_final(final))
    if among is not None:
        query = query.where(final.case_id.in_(among))
    return (query.where(final.case_id.in_(_CASES)) if chosen else query).group_by(final.case_id).subquery()


@cache_statement
def cases_to_adjudicate() -> Select[int]:
    """Select the ids of the cases with a trigger that are neither resolved nor signed off.

    Only cases that can have a trigger are looked at: those that are on such a pile of a reader who finished them, and
    the few that somebody may have finished without having them on a worklist.
    """
    row, read, reader = tables.WorklistCase, aliased(tables.Read), tables.Account
    piles = [
        pile
        for state in (CaseState.DISCORDANT, CaseState.ADJUDICATION)
        for pile in range(STATE_NUMBERS[state] * _SEVERAL, (STATE_NUMBERS[state] + 1) * _SEVERAL)
    ]
    # All accounts are listed, so that the index of piles is used.
    on_piles = select(row.case_id).where(row.account_id.in_(select(reader.id)), row.pile.in_(piles))
    without_list = select(reader.id).where(reader.role.not_in(READING_ROLES))
    by_others = select(read.case_id).where(read.account_id.in_(without_list), is_routine(read, Stage.FINAL))
    in_study = select(tables.StudyPlace.case_id).join(tables.Study).where(tables.Study.closed_at.is_(None))
    among = union(on_piles, by_others, in_study).subquery()
    return _to_adjudicate(_case_triggers(among=select(among.c.case_id)))


def waits_for_adjudication(session: Session, case_id: int) -> bool:
    """Return whether a case has a trigger and is neither resolved nor signed off."""
    return session.scalar(_one_to_adjudicate(), {"cases": [case_id]}) is not None


def triggers_of(session: Session, case_id: int) -> tuple[Trigger, ...]:
    """Return the triggers of a case, in the order of Trigger."""
    flags = session.execute(_triggers_of_one(), {"cases": [case_id]}).first()
    return tuple(trigger for trigger, holds in zip(Trigger, flags, strict=True) if holds) if flags else ()


@cache_statement
def _one_to_adjudicate() -> Select[int]:
    return _to_adjudicate(_case_triggers(chosen=True))


@cache_statement
def _triggers_of_one() -> Select[*tuple[int, ...]]:
    triggers = _case_triggers(chosen=True)
    return select(*(triggers.c[_column(trigger)] for trigger in Trigger))


def _to_adjudicate(triggers: Subquery) -> Select[int]:
    case_id: ColumnElement[int] = triggers.c.case_id
    signed = exists().where(tables.SignOff.case_id == case_id)
    return select(case_id).where(triggers.c.any == 1, ~is_resolved(case_id), ~signed)


def _any(holds: ColumnElement[bool]) -> ColumnElement[int]:
    return func.max(choose((holds, literal_column("1")), else_=literal_column("0")))


def _column(trigger: Trigger) -> str:
    return trigger.name.lower()


def _opinions() -> CTE:
    """Return the model's probability and threshold by case, of the version that `db.queries.model_opinion` reveals."""
    row = tables.Prediction
    of_versions = (
        select(
            tables.Image.case_id,
            func.avg(row.malignant_probability).label("probability"),
            func.min(row.threshold).label("threshold"),
            func.row_number()
            .over(partition_by=tables.Image.case_id, order_by=(func.count().desc(), func.max(row.id).desc()))
            .label("place"),
        )
        .join(tables.Image, tables.Image.id == row.image_id)
        .where(is_of_current_scale(row), tables.Image.case_id.in_(_CASES))
        .group_by(tables.Image.case_id, row.model_version)
        .subquery()
    )
    # PostgreSQL underestimates the number of cases, and would otherwise compute this once for each of them.
    return select(of_versions).where(of_versions.c.place == 1).cte().prefix_with("MATERIALIZED", dialect="postgresql")


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


def images_of_cases(*, chosen: bool = False) -> Subquery:
    """Count the images of each case, those whose job has ended, and those with an answer; name the first image.

    With `chosen` only the cases of the parameter `cases` have a row.
    """
    pending = tables.Job.state.in_(PENDING)
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
    return (query.where(tables.Image.case_id.in_(_CASES)) if chosen else query).subquery()


def has_answer() -> ColumnElement[bool]:
    """Select the images of which the model gave an opinion, or said that they are out of scope.

    A case whose images are all out of scope is read like any other: its state must not tell.
    """
    image, prediction, scope = tables.Image, tables.Prediction, tables.ImageScope
    opinions = select(prediction.id).where(prediction.image_id == image.id, is_of_current_scale(prediction))
    withheld = select(scope.id).where(scope.image_id == image.id, scope.level == "out", is_of_current_scale(scope))
    return or_(opinions.correlate(image).exists(), withheld.correlate(image).exists())
