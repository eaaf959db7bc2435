"""Exports of reads and of single cases: who may take them, and with which names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session, aliased

from db import tables
from db.audit.trail import record_event
from db.errors import InStudyError, NotAllowedError, NotRevealedError
from db.queries.cases import case_row
from db.queries.consensus import consensus_value
from db.queries.exported_rows import (
    images_of,
    places_of,
    references_of,
    reveals_of,
    shown_of,
)
from db.queries.model_opinion import reveal_of
from db.queries.permissions import need
from db.queries.reads import current_read, read_values, standing
from db.queries.study_places import open_study_cases, outside_open_studies, refuse_in_study
from db.store.sign_offs import has_had_the_last_word, sign_offs_of
from db.values.accounts import Permission
from db.values.exports import (
    CaseExport,
    ExportedCase,
    ExportedImage,
    ExportedMap,
    ExportedRead,
    NamedStudy,
    ReadPlace,
    ReadsExport,
    Reference,
    new_key,
    pseudonym,
    shuffled_numbers,
)
from db.values.reading import Action, Consensus, Read, Reveal, Stage

_ROUTINE = "routine reading"

# The number of a case is made of its first image: it tells nothing to those who do not have that image.
_PSEUDONYM_KEY = "case"


class Scope(StrEnum):
    """Whose reads an account may export."""

    EVERYBODY = "everybody's, with names when asked"
    NAMELESS = "everybody's, without names"
    OWN = "own, without names"


@dataclass(frozen=True, slots=True)
class Told:
    """What an export may tell; by default neither who, nor which case, nor when."""

    named: bool = False
    clock_times: bool = False


NOTHING = Told()


@dataclass(frozen=True, slots=True)
class _Numbering:
    """The numbers of one export; names stay in only if `named`."""

    readers: Mapping[str, int]
    cases: Mapping[str, int]
    named: bool


def export_scope(session: Session, account_id: int) -> Scope:
    """Say whose reads this account may export.

    Raises:
        NotAllowedError: If it may export none.
    """
    if _may(session, account_id, Permission.PLAN_READING):
        return Scope.EVERYBODY
    need(session, account_id, Permission.SEE_AGREEMENT)
    return Scope.OWN if _may(session, account_id, Permission.READ_CASES) else Scope.NAMELESS


def exportable_studies(session: Session, account_id: int) -> list[NamedStudy]:
    """Return the studies whose reads this account may export, by name; a reader's own ones once they are closed.

    Raises:
        NotAllowedError: If it may export no reads.
    """
    scope = export_scope(session, account_id)
    reads_in = select(tables.StudyPlace.study_id).where(tables.StudyPlace.account_id == account_id)
    own = tables.Study.id.in_(reads_in)
    closed = tables.Study.closed_at.is_not(None)
    may_have = and_(own, closed) if scope is Scope.OWN else or_(closed, ~own)
    found = session.execute(select(tables.Study.id, tables.Study.name).where(may_have).order_by(tables.Study.name))
    return [NamedStudy(number, name) for number, name in found]


def exported_reads(
    session: Session, account_id: int, *, study_id: int | None, told: Told = NOTHING, key: str | None = None
) -> ReadsExport:
    """Return the reads of a study, or of routine reading, withdrawn and replaced ones included.

    Readers and cases have numbers, shuffled by `key`: a new one for each export if it is left out. Without names,
    notes and hashes of images are left out too, because they can say who somebody is. Whoever writes a file of it
    calls `record_export` first.

    Raises:
        NotAllowedError: If this account may not export them, or not with names or times of the clock.
        InStudyError: If it has to read in this study and the study is open.
        LookupError: If there is no such study.
    """
    scope = export_scope(session, account_id)
    if (told.named or told.clock_times) and scope is not Scope.EVERYBODY:
        raise NotAllowedError("names and times are exported by those who plan reading: take the export without names")
    study = _study(session, account_id, study_id) if study_id is not None else None
    wanted = _wanted(account_id, scope, study_id)
    found = read_values(session, *wanted)
    chosen = select(tables.Read.id).where(*wanted)
    cases = _cases(session, chosen, None if scope is not Scope.OWN else account_id)
    readers = {read.reader for read in found}
    key = key or new_key()
    numbers = _Numbering(
        shuffled_numbers(readers, key), shuffled_numbers((case.accession for case in cases.values()), key), told.named
    )
    reads = read_exports(session, found, chosen, places_of(session, study_id) if study_id is not None else {})
    numbered = [_numbered(one, cases[one.read.case_id], numbers) for one in reads]
    return ReadsExport(
        title=study.name if study else _ROUTINE,
        study_open=study is not None and study.closed_at is None,
        named=told.named,
        clock_times=told.clock_times,
        cases=tuple(sorted((_case(case, numbers) for case in cases.values()), key=lambda case: case.number)),
        reads=tuple(sorted(numbered, key=_in_order)),
    )


def record_export(session: Session, account_id: int, what: ReadsExport) -> None:
    """Record that reads leave the house: which, how many, and whether with names."""
    export_scope(session, account_id)
    readers = len({one.reader_number for one in what.reads})
    names = "with names" if what.named else "with times of the clock" if what.clock_times else "de-identified"
    counts = f"{len(what.reads)} reads of {readers} readers and {len(what.cases)} cases"
    record_event(session, account_id, Action.EXPORTED, f"{counts}, {names}: {what.title}")


def without_words(read: Read) -> Read:
    """Leave out of a read every word that somebody typed."""
    said = read.opinion
    regions = tuple(replace(region, note="") for region in said.regions)
    return replace(read, opinion=replace(said, note="", regions=regions))


def _may(session: Session, account_id: int, permission: Permission) -> bool:
    try:
        need(session, account_id, permission)
    except NotAllowedError:
        return False
    return True


def _study(session: Session, account_id: int, study_id: int) -> tables.Study:
    study = session.get(tables.Study, study_id)
    if study is None:
        raise LookupError(f"there is no study number {study_id}")
    place = select(tables.StudyPlace.id).where(
        tables.StudyPlace.study_id == study_id, tables.StudyPlace.account_id == account_id
    )
    if study.closed_at is None and session.scalar(place.limit(1)) is not None:
        raise InStudyError(f"you read in the study {study.name}: it can be exported when it is closed")
    return study


def _wanted(account_id: int, scope: Scope, study_id: int | None) -> list[ColumnElement[bool]]:
    read = tables.Read
    wanted: list[ColumnElement[bool]]
    if study_id is None:
        wanted = [read.place_id.is_(None), read.case_id.not_in(open_study_cases(account_id))]
    else:
        places = select(tables.StudyPlace.id).where(tables.StudyPlace.study_id == study_id)
        wanted = [read.place_id.in_(places)]
    return wanted if scope is not Scope.OWN else [*wanted, read.account_id == account_id, outside_open_studies()]


@dataclass(frozen=True, slots=True)
class _Case:
    accession: str
    magnification: str | None
    demonstration: bool
    images: tuple[ExportedImage, ...]
    reference: Reference | None


def _cases(session: Session, reads: Select[int], blind: int | None) -> Mapping[int, _Case]:
    """Return the cases of reads by their ids; for `blind`, a reader, references only of what they have finished."""
    ids = select(tables.Read.case_id).where(tables.Read.id.in_(reads))
    images = images_of(session, ids)
    references = references_of(session, ids if blind is None else ids.where(_settled_for(blind)))
    return {
        row.id: _Case(
            row.accession, row.magnification, row.demonstration, images.get(row.id, ()), references.get(row.id)
        )
        for row in session.scalars(select(tables.Case).where(tables.Case.id.in_(ids)))
    }


def _settled_for(account_id: int) -> ColumnElement[bool]:
    """Select what this reader will not read blind any more: it has their own final opinion, or is signed out."""
    own = aliased(tables.Read)
    final = select(own.case_id).where(
        own.account_id == account_id, own.stage == Stage.FINAL, own.place_id.is_(None), standing(own)
    )
    return tables.Read.case_id.in_(final) | tables.Read.case_id.in_(select(tables.SignOff.case_id))


def read_exports(
    session: Session, reads: Sequence[Read], chosen: Select[int], places: Mapping[int, ReadPlace]
) -> list[ExportedRead]:
    """Say of reads, which `chosen` selects, what was on the screen and what became of them; not numbered yet."""
    shown, reveals, replaced = shown_of(session, chosen), reveals_of(session, chosen), _replaced(reads)
    return [
        ExportedRead(
            read=read,
            reader_number=0,
            case_number=0,
            place=places[read.place_id] if read.place_id is not None else None,
            shown=shown.get(read.id),
            revealed_at=reveals.get(read.id),
            superseded=replaced[read.id][0],
            withdrawn=replaced[read.id][1],
        )
        for read in reads
    ]


def _replaced(reads: Sequence[Read]) -> Mapping[int, tuple[bool, bool]]:
    """Say of each read, by its id, whether another stands on top of it, and whether that takes it back."""
    above = {read.supersedes: read for read in reads if read.supersedes is not None}
    return {read.id: (read.id in above, read.id in above and above[read.id].stage is Stage.WITHDRAWN) for read in reads}


def _numbered(one: ExportedRead, case: _Case, numbers: _Numbering) -> ExportedRead:
    reader, number = numbers.readers[one.read.reader], numbers.cases[case.accession]
    read = one.read if numbers.named else replace(without_words(one.read), reader=f"reader {reader}", case_id=number)
    return replace(one, read=read, reader_number=reader, case_number=number)


def _case(case: _Case, numbers: _Numbering) -> ExportedCase:
    number = numbers.cases[case.accession]
    images = case.images if numbers.named else tuple(replace(image, file_sha256="") for image in case.images)
    accession = case.accession if numbers.named else f"case {number}"
    return ExportedCase(number, accession, case.magnification, case.demonstration, images, case.reference)


def _in_order(one: ExportedRead) -> tuple[int, int, int, str]:
    place = (one.place.round, one.place.position) if one.place else (0, 0)
    return (one.reader_number, *place, one.read.saved_at.isoformat())


def may_export_case(session: Session, case_id: int, account_id: int) -> bool:
    """Return whether this account has had the last word on a case, and so may have its report.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    need(session, account_id, Permission.READ_CASES)
    return has_had_the_last_word(session, case_id, account_id)


def exported_case(session: Session, case_id: int, account_id: int, *, named: bool = False) -> CaseExport:
    """Return all that was said of a case, to who has read it to the end or settled it.

    Without `named` there is no accession, no name and nothing that anybody typed in it. Who has only settled the case
    gets no names either: adjudicators see the reads without them.

    Raises:
        NotAllowedError: If this account may not read cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader has to read it in a study.
        NotRevealedError: If this account has neither read the case to the end nor settled it.
    """
    need(session, account_id, Permission.READ_CASES)
    row = case_row(session, case_id)
    refuse_in_study(session, row, account_id)
    has_read = current_read(session, case_id, account_id, Stage.FINAL) is not None
    if not has_had_the_last_word(session, case_id, account_id):
        raise NotRevealedError("a report holds what others said: read the case to the end first")
    everything = _everything(session, row, account_id)
    if named:
        return everything if has_read else _nameless(everything)
    return replace(_nameless(_wordless(everything)), named=False)


def record_case_export(session: Session, account_id: int, case_id: int, what: CaseExport, kind: str) -> None:
    """Record that a report of one case leaves the house, and whether with names."""
    need(session, account_id, Permission.READ_CASES)
    names = "with names" if what.named else "de-identified"
    subject = f"{case_row(session, case_id).accession}, {kind}: {len(what.reads)} reads, {names}"
    record_event(session, account_id, Action.EXPORTED, subject)


def _everything(session: Session, row: tables.Case, account_id: int) -> CaseExport:
    wanted = (tables.Read.case_id == row.id, tables.Read.place_id.is_(None))
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
        reads=tuple(read_exports(session, read_values(session, *wanted), select(tables.Read.id).where(*wanted), {})),
        reveal=reveal,
        maps=_maps(session, reveal),
        consensus=_consensus(session, row.id),
        sign_offs=sign_offs_of(session, row.id, account_id).versions,
        made_by=session.get_one(tables.Account, account_id).name,
        made_at=datetime.now(UTC),
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
    found = session.execute(query.where(tables.Consensus.case_id == case_id).order_by(tables.Consensus.id))
    return tuple(consensus_value(row, name) for row, name in found)


def _nameless(found: CaseExport) -> CaseExport:
    """Put numbers in place of everybody's name, the same in every report of the case."""
    said = (one.read.reader for one in found.reads)
    settled = (one.adjudicator for one in found.consensus)
    names = {found.made_by, *said, *settled, *(one.signer for one in found.sign_offs)}
    key = found.case.images[0].file_sha256 if found.case.images else ""
    numbers = {name: f"reader {number}" for name, number in shuffled_numbers(names, key).items()}
    return replace(
        found,
        reads=tuple(replace(one, read=replace(one.read, reader=numbers[one.read.reader])) for one in found.reads),
        consensus=tuple(replace(one, adjudicator=numbers[one.adjudicator]) for one in found.consensus),
        sign_offs=tuple(replace(one, signer=numbers[one.signer]) for one in found.sign_offs),
        made_by=numbers[found.made_by],
    )


def _wordless(found: CaseExport) -> CaseExport:
    """Leave out the accession and every word that somebody typed."""
    first = found.case.images[0].file_sha256 if found.case.images else ""
    return replace(
        found,
        case=replace(found.case, accession=f"case {pseudonym(first, _PSEUDONYM_KEY)}"),
        reads=tuple(replace(one, read=without_words(one.read)) for one in found.reads),
        consensus=tuple(replace(one, note="") for one in found.consensus),
        sign_offs=tuple(replace(one, note="", why="") for one in found.sign_offs),
    )


def record_download(session: Session, account_id: int, what: str) -> None:
    """Record who downloaded a file from a page, and what it holds; every role may download what its pages show."""
    record_event(session, account_id, Action.EXPORTED, what)
