"""Exports of reads and of single cases: who may export them, and with which names."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from core.wording import count_words
from db import tables
from db.audit.trail import record_event
from db.errors import InStudyError, NotAllowedError, NotRevealedError, UnknownCaseError
from db.queries.cases import case_row
from db.queries.consensus import consensus_value
from db.queries.exported_reads import Disclosure, collect_reads, read_exports, without_words
from db.queries.exported_rows import (
    images_of,
    lasting_key,
    references_of,
)
from db.queries.model_opinion import reveal_of, scopes_of
from db.queries.permissions import has_permission, require_permission
from db.queries.reader_knowledge import may_know_names, may_know_opinions
from db.queries.reads import read_values
from db.queries.study_places import is_outside_open_studies, open_study_cases, refuse_in_study
from db.store.sign_offs import sign_offs_of
from db.values.accounts import Permission
from db.values.adjudication import Consensus
from db.values.audit import Action
from db.values.exports import (
    NO_TIME,
    CaseExport,
    ExportedCase,
    ExportedMap,
    NamedStudy,
    ReadsExport,
    make_key,
    pseudonym,
    shuffled_numbers,
    without_times,
)
from db.values.reading import Reveal

_ROUTINE = "routine reading"


class ExportExtent(StrEnum):
    """Whose reads an account may export."""

    EVERYBODY = "everybody's, with names when asked"
    NAMELESS = "everybody's, without names"
    OWN = "own, without names"


@dataclass(frozen=True, slots=True)
class ExportDetail:
    """What an export reveals; by default no names, no cases and no times."""

    named: bool = False
    clock_times: bool = False


DEIDENTIFIED = ExportDetail()


def export_extent(session: Session, account_id: int) -> ExportExtent:
    """Return whose reads this account may export.

    Raises:
        NotAllowedError: If it may not export any.
    """
    if has_permission(session, account_id, Permission.PLAN_READING):
        return ExportExtent.EVERYBODY
    require_permission(session, account_id, Permission.SEE_AGREEMENT)
    return ExportExtent.OWN if has_permission(session, account_id, Permission.READ_CASES) else ExportExtent.NAMELESS


def exportable_studies(session: Session, account_id: int) -> list[NamedStudy]:
    """Return the studies whose reads this account may export, by name; a reader's own only after they are closed.

    Raises:
        NotAllowedError: If it may not export any reads.
    """
    extent = export_extent(session, account_id)
    reads_in = select(tables.StudyPlace.study_id).where(tables.StudyPlace.account_id == account_id)
    own = tables.Study.id.in_(reads_in)
    closed = tables.Study.closed_at.is_not(None)
    may_have = and_(own, closed) if extent is ExportExtent.OWN else or_(closed, ~own)
    rows = session.execute(select(tables.Study.id, tables.Study.name).where(may_have).order_by(tables.Study.name))
    return [NamedStudy(number, name) for number, name in rows]


def exported_reads(
    session: Session,
    account_id: int,
    *,
    study_id: int | None,
    told: ExportDetail = DEIDENTIFIED,
    key: str | None = None,
) -> ReadsExport:
    """Return the reads of a study, or of routine reading, including withdrawn and replaced ones.

    Readers and cases are numbered in an order given by `key`; by default, a new key for each export. Without names,
    notes and image hashes are left out too, because they can identify people. Without names and clock times, times are
    rounded and shuffled, and the place of a read in the order of its reader is left out: a line of one export cannot be
    found in another by them. Call `record_export` before writing the reads to a file.

    Raises:
        NotAllowedError: If this account may not export them, or not with names or clock times.
        InStudyError: If it reads in this study and the study is open.
        UnknownCaseError: If there is no such study.
    """
    extent = export_extent(session, account_id)
    if (told.named or told.clock_times) and extent is not ExportExtent.EVERYBODY:
        raise NotAllowedError("your role may not export names or clock times: export without them")
    study = _exportable_study(session, account_id, study_id) if study_id is not None else None
    blind = account_id if extent is ExportExtent.OWN else None
    disclosure = Disclosure(told.named, told.named or told.clock_times, blind)
    collected = collect_reads(session, _read_conditions(account_id, extent, study_id), disclosure, key or make_key())
    return ReadsExport(
        title=study.name if study else _ROUTINE,
        study_open=study is not None and study.closed_at is None,
        named=told.named,
        clock_times=told.clock_times,
        cases=collected.cases,
        reads=collected.reads,
    )


def record_export(session: Session, account_id: int, what: ReadsExport) -> None:
    """Record an export of reads: which, how many, and whether with names."""
    export_extent(session, account_id)
    names = "with names" if what.named else "with clock times" if what.clock_times else "de-identified"
    reads = count_words(len(what.reads), "read")
    counts = f"{reads} of {count_words(what.readers, 'reader')} and {count_words(len(what.cases), 'case')}"
    record_event(session, account_id, Action.EXPORTED, f"{counts}, {names}: {what.title}")


def _exportable_study(session: Session, account_id: int, study_id: int) -> tables.Study:
    study = session.get(tables.Study, study_id)
    if study is None:
        raise UnknownCaseError(f"there is no study number {study_id}")
    place = select(tables.StudyPlace.id).where(
        tables.StudyPlace.study_id == study_id, tables.StudyPlace.account_id == account_id
    )
    if study.closed_at is None and session.scalar(place.limit(1)) is not None:
        raise InStudyError(f"you are a reader of the study {study.name}: you can export it after it is closed")
    return study


def _read_conditions(account_id: int, extent: ExportExtent, study_id: int | None) -> list[ColumnElement[bool]]:
    read = tables.Read
    conditions: list[ColumnElement[bool]]
    if study_id is None:
        conditions = [read.place_id.is_(None), read.case_id.not_in(open_study_cases(account_id))]
    else:
        places = select(tables.StudyPlace.id).where(tables.StudyPlace.study_id == study_id)
        conditions = [read.place_id.in_(places)]
    return (
        conditions
        if extent is not ExportExtent.OWN
        else [*conditions, read.account_id == account_id, is_outside_open_studies()]
    )


def may_export_case(session: Session, case_id: int, account_id: int) -> bool:
    """Return whether this account has finished or adjudicated a case, and so may export its report.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    return may_know_opinions(session, case_id, account_id)


def exported_case(session: Session, case_id: int, account_id: int, *, named: bool = False) -> CaseExport:
    """Return every opinion on a case, for an account that has finished or adjudicated it.

    Without `named` there is no accession, no name and no typed text. An account that has only adjudicated the case
    gets no reader names either, because adjudicators see reads without them.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader must read it in a study.
        NotRevealedError: If this account has neither finished the case nor adjudicated it.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    row = case_row(session, case_id)
    refuse_in_study(session, row, account_id)
    if not may_know_opinions(session, case_id, account_id):
        raise NotRevealedError("the report contains the opinions of others: save your final opinion first")
    everything, key = _full_export(session, row, account_id), lasting_key(session)
    if named:
        return everything if may_know_names(session, case_id, account_id) else _without_names(everything, key)
    nameless = _without_typed_words(_without_times(_without_names(everything, key)), key)
    # In the order of random numbers: the order of saving would tell one reader from another.
    ordered = sorted(nameless.reads, key=lambda one: (one.read.reader, one.read.id))
    return replace(nameless, reads=tuple(ordered), named=False)


def record_case_export(session: Session, account_id: int, case_id: int, what: CaseExport, kind: str) -> None:
    """Record an export of a case report, and whether it has names."""
    require_permission(session, account_id, Permission.READ_CASES)
    names = "with names" if what.named else "de-identified"
    subject = f"{case_row(session, case_id).accession}, {kind}: {count_words(len(what.reads), 'read')}, {names}"
    record_event(session, account_id, Action.EXPORTED, subject)


def _full_export(session: Session, row: tables.Case, account_id: int) -> CaseExport:
    conditions = (tables.Read.case_id == row.id, tables.Read.place_id.is_(None))
    ids = select(tables.Case.id).where(tables.Case.id == row.id)
    reveal = reveal_of(session, row.id)
    case = ExportedCase(
        number=1,
        accession=row.accession,
        magnification=row.magnification,
        demonstration=row.demonstration,
        images=images_of(session, ids).get(row.id, ()),
        reference=references_of(session, ids).get(row.id),
    )
    return CaseExport(
        case=case,
        named=True,
        reads=tuple(read_exports(session, read_values(session, *conditions))),
        reveal=reveal,
        maps=_maps(session, reveal),
        consensus=_consensus(session, row.id),
        sign_offs=sign_offs_of(session, row.id, account_id).versions,
        made_by=session.get_one(tables.Account, account_id).name,
        made_at=datetime.now(UTC),
        scopes=scopes_of(session, row.id, reveal),
    )


def _maps(session: Session, reveal: Reveal | None) -> tuple[ExportedMap, ...]:
    ids = [image.prediction_id for image in reveal.images] if reveal else []
    rows = session.scalars(select(tables.Prediction).where(tables.Prediction.id.in_(ids)))
    return tuple(
        ExportedMap(row.image_id, row.heatmap_sha256, row.heatmap_low, row.heatmap_high)
        for row in rows
        if row.heatmap_sha256 is not None and row.heatmap_low is not None and row.heatmap_high is not None
    )


def _consensus(session: Session, case_id: int) -> tuple[Consensus, ...]:
    query = select(tables.Consensus, tables.Account.name).join(
        tables.Account, tables.Account.id == tables.Consensus.account_id
    )
    rows = session.execute(query.where(tables.Consensus.case_id == case_id).order_by(tables.Consensus.id))
    return tuple(consensus_value(row, name) for row, name in rows)


def _without_names(export: CaseExport, key: str) -> CaseExport:
    """Replace all names by numbers, the same in every report of the case."""
    readers = (one.read.reader for one in export.reads)
    adjudicators = (one.adjudicator for one in export.consensus)
    names = {export.made_by, *readers, *adjudicators, *(one.signer for one in export.sign_offs)}
    numbered = shuffled_numbers(names, pseudonym(export.case.accession, key))
    numbers = {name: f"reader {number}" for name, number in numbered.items()}
    return replace(
        export,
        reads=tuple(replace(one, read=replace(one.read, reader=numbers[one.read.reader])) for one in export.reads),
        consensus=tuple(replace(one, adjudicator=numbers[one.adjudicator]) for one in export.consensus),
        sign_offs=tuple(replace(one, signer=numbers[one.signer]) for one in export.sign_offs),
        made_by=numbers[export.made_by],
    )


def _without_times(export: CaseExport) -> CaseExport:
    """Leave only how long each read took, in rounded seconds."""
    return replace(
        export,
        reads=tuple(without_times(one) for one in export.reads),
        consensus=tuple(replace(one, opened_at=NO_TIME, saved_at=NO_TIME) for one in export.consensus),
        sign_offs=tuple(replace(one, saved_at=NO_TIME) for one in export.sign_offs),
    )


def _without_typed_words(export: CaseExport, key: str) -> CaseExport:
    """Replace the accession by a pseudonym, the same in every report of this case, and remove all typed text."""
    images = tuple(image.without_microscope() for image in export.case.images)
    return replace(
        export,
        case=replace(export.case, accession=f"case {pseudonym(export.case.accession, key)}", images=images),
        reads=tuple(replace(one, read=without_words(one.read)) for one in export.reads),
        consensus=tuple(replace(one, note="") for one in export.consensus),
        sign_offs=tuple(replace(one, note="", why="") for one in export.sign_offs),
    )


def record_download(session: Session, account_id: int, what: str) -> None:
    """Record a download from a page and its content; every role may download what its pages show."""
    record_event(session, account_id, Action.EXPORTED, what)
