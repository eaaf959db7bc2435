"""A report of one case: all that was said of it in routine reading, for those who have had their own last word."""

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import models
from db.access_values import Permission
from db.audit import record_event
from db.cases import case_row
from db.consensus import consensus_value
from db.errors import NotRevealedError
from db.export import read_exports, without_words
from db.export_rows import images_of, references_of
from db.export_values import CaseExport, ExportedCase, ExportedMap
from db.permissions import need
from db.pseudonyms import pseudonym, shuffled_numbers
from db.read_rows import current_read, read_values
from db.reading_models import Consensus as ConsensusRow
from db.reading_values import Consensus
from db.reveal import reveal_of
from db.sign_offs import has_had_the_last_word, sign_offs_of
from db.study_order import refuse_in_study
from db.values import Action, Reveal, Stage

# The number of a case is made of its first image: it tells nothing to those who do not have that image.
_PSEUDONYM_KEY = "case"


def may_export_case(session: Session, case_id: int, account_id: int) -> bool:
    """Say whether this account has had the last word on a case, and so may have its report.

    Raises:
        NotAllowedError: If this account may not read cases.
    """
    need(session, account_id, Permission.READ_CASES)
    return has_had_the_last_word(session, case_id, account_id)


def exported_case(session: Session, case_id: int, account_id: int, *, named: bool = False) -> CaseExport:
    """Give all that was said of a case, to who has read it to the end or settled it.

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


def _everything(session: Session, row: models.Case, account_id: int) -> CaseExport:
    wanted = (models.Read.case_id == row.id, models.Read.place_id.is_(None))
    ids = select(models.Case.id).where(models.Case.id == row.id)
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
        reads=tuple(read_exports(session, read_values(session, *wanted), select(models.Read.id).where(*wanted), {})),
        reveal=reveal,
        maps=_maps(session, reveal),
        consensus=_consensus(session, row.id),
        sign_offs=sign_offs_of(session, row.id, account_id).versions,
        made_by=session.get_one(models.Account, account_id).name,
        made_at=datetime.now(UTC),
    )


def _maps(session: Session, reveal: Reveal | None) -> tuple[ExportedMap, ...]:
    ids = [image.prediction_id for image in reveal.images] if reveal else []
    rows = session.scalars(select(models.Prediction).where(models.Prediction.id.in_(ids)))
    return tuple(
        ExportedMap(row.image_id, row.heatmap_sha256, row.heatmap_low, row.heatmap_high)
        for row in rows
        if row.heatmap_sha256 is not None and row.heatmap_low is not None and row.heatmap_high is not None
    )


def _consensus(session: Session, case_id: int) -> tuple[Consensus, ...]:
    query = select(ConsensusRow, models.Account.name).join(models.Account, models.Account.id == ConsensusRow.account_id)
    found = session.execute(query.where(ConsensusRow.case_id == case_id).order_by(ConsensusRow.id))
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
