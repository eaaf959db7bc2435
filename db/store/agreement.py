"""The readings of the cases that one reader has finished: their own, and by then those of the others too."""

from dataclasses import replace
from typing import Literal

from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.orm import Session, aliased

from core.results import Reading, SavedRead
from db import tables
from db.queries.exported_rows import lasting_key
from db.queries.permissions import need
from db.queries.reads import shown_label
from db.queries.study_places import open_study_cases
from db.values.accounts import Permission
from db.values.exports import pseudonym
from db.values.reading import Role, Stage, Vote

_VOTES: dict[Vote, Literal["yes", "no", "unsure"]] = {Vote.YES: "yes", Vote.NO: "no", Vote.UNSURE: "unsure"}

_Found = Row[tables.Read, tables.Case, str, str | None]


def finished_readings(session: Session, account_id: int) -> list[Reading]:
    """Return every reader's readings of the cases for which this reader has saved a final read, by case and reader.

    Of a case that this reader has not finished nothing is given: neither what the model says of it nor what others
    do. An amendment replaces what stands of a reading and makes no new one; each place in a study makes one, but for
    those that began with the model. A researcher, who reads nothing, gets the cases that anybody has finished, with
    numbers for the names of readers and cases. Cases of open studies stay out for their readers.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    need(session, account_id, Permission.SEE_AGREEMENT)
    researcher = session.get_one(tables.Account, account_id).role is Role.RESEARCHER
    key = lasting_key(session) if researcher else ""
    readings: list[Reading] = []
    reader: tuple[int, int] | None = None
    for found in session.execute(_finished(None if researcher else account_id)):
        read = found[0]
        if read.stage is Stage.FIRST:
            same = reader == (read.case_id, read.account_id)
            begun = _begun(found, readings[-1].iteration + 1 if same else 1)
            readings.append(_without_names(begun, key) if researcher else begun)
        elif read.stage is Stage.WITHDRAWN:
            readings[-1] = replace(readings[-1], final=None, standing=None, vote=None, model_version=None)
        else:
            readings[-1] = _continued(readings[-1], found)
        reader = (read.case_id, read.account_id)
    # In the order of their numbers: that of the rows would say when a case came.
    return sorted(readings, key=lambda one: (one.accession, one.reader, one.iteration)) if researcher else readings


def finished_cases(account_id: int | None) -> Select[int]:
    """Select the ids of the cases that this reader has finished, or anybody, but for those of open studies."""
    own, newer = aliased(tables.Read), aliased(tables.Read)
    replaced = select(newer.id).where(newer.supersedes_id == own.id).exists()
    finished = select(own.case_id).where(own.stage == Stage.FINAL, ~replaced)
    if account_id is None:
        return finished
    return finished.where(own.account_id == account_id, own.case_id.not_in(open_study_cases(account_id)))


def _finished(account_id: int | None) -> Select[tables.Read, tables.Case, str, str | None]:
    read = tables.Read
    seen, prediction = tables.ReadPrediction, tables.Prediction
    version = (
        select(prediction.model_version)
        .join(seen, seen.prediction_id == prediction.id)
        .where(seen.read_id == read.id)
        .limit(1)  # all that a reveal shows is of one version
        .scalar_subquery()
    )
    first = aliased(tables.Read)
    # What began with the model is no blind opinion; the export for studies has it.
    began_blind = select(first.id).where(
        first.case_id == read.case_id,
        first.account_id == read.account_id,
        first.stage == Stage.FIRST,
        func.coalesce(first.place_id, 0) == func.coalesce(read.place_id, 0),
    )
    # An adjudicator reads the hard cases only: to count them as a further reader would make all readers look worse.
    settled = select(tables.Consensus.id).where(
        tables.Consensus.case_id == read.case_id, tables.Consensus.account_id == read.account_id
    )
    as_reader = or_(read.place_id.is_not(None), ~settled.exists())
    return (
        select(read, tables.Case, tables.Account.name, version)
        .join(tables.Account, tables.Account.id == read.account_id)
        .join(tables.Case, tables.Case.id == read.case_id)
        # Every account is named, so that the index of reader and case finds the others' reads too.
        .where(
            read.account_id.in_(select(tables.Account.id)),
            read.case_id.in_(finished_cases(account_id)),
            began_blind.exists(),
            as_reader,
        )
        .order_by(read.case_id, tables.Account.name, func.coalesce(read.place_id, 0), read.id)
    )


def _begun(found: _Found, iteration: int) -> Reading:
    read, case, reader, _ = found
    return Reading(
        case_id=case.id,
        accession=case.accession,
        magnification=case.magnification,
        demonstration=case.demonstration,
        reader=reader,
        first=_saved(read),
        iteration=iteration,
    )


def _without_names(reading: Reading, key: str) -> Reading:
    case, reader = (pseudonym(what, key) for what in (f"case {reading.accession}", f"reader {reading.reader}"))
    return replace(reading, accession=f"case {case}", reader=f"reader {reader}")


def _continued(reading: Reading, found: _Found) -> Reading:
    read, _, _, version = found
    said = _saved(read)
    return replace(
        reading,
        final=reading.final or said,
        standing=said,
        vote=_VOTES[read.vote] if read.vote else None,
        model_version=version,
    )


def _saved(read: tables.Read) -> SavedRead:
    return SavedRead(read.label, read.confidence, (read.saved_at - read.opened_at).total_seconds(), shown_label(read))
