"""The readings from which agreement is calculated, of the cases that one reader has finished."""

from dataclasses import replace
from typing import Literal

from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.orm import Session, aliased

from core.results import Reading, ReadOpinion
from db import tables
from db.queries.exported_rows import lasting_key
from db.queries.permissions import require_permission
from db.queries.reader_knowledge import finished_cases, undo_window
from db.queries.reads import is_current_read, shown_label
from db.values.accounts import Permission
from db.values.exports import pseudonym
from db.values.reading import Role, Stage, Vote

_VOTES: dict[Vote, Literal["yes", "no", "unsure"]] = {Vote.YES: "yes", Vote.NO: "no", Vote.UNSURE: "unsure"}

_Row = Row[tables.Read, tables.Case, str, str | None]


def finished_readings(session: Session, account_id: int) -> list[Reading]:
    """Return every reader's readings of the cases of which this reader may know them, by case and reader.

    These are the cases that this reader has finished in routine reading; see `db.queries.reader_knowledge`. An
    amendment updates a reading and adds none; each place in a study adds one, except where the model was shown first.
    Informed reads are left out. A researcher, who reads no cases, gets the cases that any reader has finished, with
    pseudonyms for readers and cases.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    require_permission(session, account_id, Permission.SEE_AGREEMENT)
    researcher = session.get_one(tables.Account, account_id).role is Role.RESEARCHER
    key = lasting_key(session) if researcher else ""
    readings: list[Reading] = []
    reader: tuple[int, int] | None = None
    cases = cases_of_researcher() if researcher else finished_cases(account_id, undo_window(session))
    for row in session.execute(_rows_of(cases)):
        read = row[0]
        if read.stage is Stage.FIRST:
            same = reader == (read.case_id, read.account_id)
            reading = _start_reading(row, readings[-1].iteration + 1 if same else 1)
            readings.append(_without_names(reading, key) if researcher else reading)
        elif read.stage is Stage.WITHDRAWN:
            readings[-1] = replace(readings[-1], final=None, standing=None, vote=None, model_version=None)
        else:
            readings[-1] = _add_final(readings[-1], row)
        reader = (read.case_id, read.account_id)
    # Sorted by pseudonym: the order of the rows would reveal when a case was added.
    return sorted(readings, key=lambda one: (one.accession, one.reader, one.iteration)) if researcher else readings


def cases_of_researcher() -> Select[int]:
    """Select the ids of the cases that any reader has finished, in routine reading or in a study."""
    read = aliased(tables.Read)
    return select(read.case_id).where(read.stage == Stage.FINAL, is_current_read(read))


def _rows_of(cases: Select[int]) -> Select[tables.Read, tables.Case, str, str | None]:
    read = tables.Read
    shown_prediction, prediction = tables.ReadPrediction, tables.Prediction
    version = (
        select(prediction.model_version)
        .join(shown_prediction, shown_prediction.prediction_id == prediction.id)
        .where(shown_prediction.read_id == read.id)
        .limit(1)  # a reveal shows only one version
        .scalar_subquery()
    )
    shown_scope, scope = tables.ReadScope, tables.ImageScope
    withheld_by = (
        select(scope.model_version)
        .join(shown_scope, shown_scope.scope_id == scope.id)
        .where(shown_scope.read_id == read.id, read.shown_scope == "out", scope.level == "out")
        .correlate(read)
        .order_by(scope.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    first = aliased(tables.Read)
    # A reading that began with the model has no blind opinion; the study export has it.
    began_blind = select(first.id).where(
        first.case_id == read.case_id,
        first.account_id == read.account_id,
        first.stage == Stage.FIRST,
        first.informed.is_not(True),
        func.coalesce(first.place_id, 0) == func.coalesce(read.place_id, 0),
    )
    # An adjudicator reads only difficult cases: counted as another reader, they would make all readers look worse.
    settled = select(tables.Consensus.id).where(
        tables.Consensus.case_id == read.case_id, tables.Consensus.account_id == read.account_id
    )
    as_reader = or_(read.place_id.is_not(None), ~settled.exists())
    return (
        select(read, tables.Case, tables.Account.name, func.coalesce(version, withheld_by))
        .join(tables.Account, tables.Account.id == read.account_id)
        .join(tables.Case, tables.Case.id == read.case_id)
        # All accounts are listed, so that the index on reader and case is used for the other readers too.
        .where(
            read.account_id.in_(select(tables.Account.id)),
            read.case_id.in_(cases),
            read.informed.is_not(True),
            began_blind.exists(),
            as_reader,
        )
        .order_by(read.case_id, tables.Account.name, func.coalesce(read.place_id, 0), read.id)
    )


def _start_reading(row: _Row, iteration: int) -> Reading:
    read, case, reader, _ = row
    return Reading(
        case_id=case.id,
        accession=case.accession,
        magnification=case.magnification,
        demonstration=case.demonstration,
        reader=reader,
        first=_saved_read(read),
        iteration=iteration,
    )


def _without_names(reading: Reading, key: str) -> Reading:
    case, reader = (pseudonym(what, key) for what in (f"case {reading.accession}", f"reader {reading.reader}"))
    return replace(reading, accession=f"case {case}", reader=f"reader {reader}")


def _add_final(reading: Reading, row: _Row) -> Reading:
    read, _, _, version = row
    opinion = _saved_read(read)
    return replace(
        reading,
        final=reading.final or opinion,
        standing=opinion,
        vote=_VOTES[read.vote] if read.vote else None,
        model_version=version,
    )


def _saved_read(read: tables.Read) -> ReadOpinion:
    seconds = (read.saved_at - read.opened_at).total_seconds()
    return ReadOpinion(read.label, read.confidence, seconds, shown_label(read), withheld=read.shown_scope == "out")
