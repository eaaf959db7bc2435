"""The rows of reads for export, and pseudonyms in place of names."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from db import tables
from db.queries.consensus import is_standing
from db.queries.study_places import place_subject
from db.values.exports import ExportedImage, ReadPlace, Reference, Shown, new_key
from db.values.reading import Action


def places_of(session: Session, study_id: int) -> Mapping[int, ReadPlace]:
    """Give the places of a study by their ids."""
    rows = session.scalars(select(tables.StudyPlace).where(tables.StudyPlace.study_id == study_id))
    return {row.id: ReadPlace(row.round, row.arm, row.iteration, row.position) for row in rows}


def shown_of(session: Session, reads: Select[int]) -> Mapping[int, Shown]:
    """Give what the model said beside reads, by their ids."""
    read, prediction, seen = tables.Read, tables.Prediction, tables.ReadPrediction
    query = (
        select(read.id, read.shown_probability, read.shown_threshold, prediction)
        .join(seen, seen.read_id == read.id)
        .join(prediction, prediction.id == seen.prediction_id)
        .where(read.id.in_(reads))
    )
    # All that a reveal shows is of one version: each image of a case tells the same here.
    return {
        number: Shown(probability, threshold, row.model_version, row.model_name, row.demonstration)
        for number, probability, threshold, row in session.execute(query)
        if probability is not None and threshold is not None
    }


def reveals_of(session: Session, reads: Select[int]) -> Mapping[int, datetime]:
    """Say when the model was first shown beside reads, as the audit trail has it, by their ids."""
    read, event = tables.Read, tables.AuditEvent
    readers = select(read.account_id).where(read.id.in_(reads))
    told = select(event.account_id, event.subject, event.at).where(
        event.action == Action.REVEALED, event.account_id.in_(readers)
    )
    times: dict[tuple[int | None, str], list[datetime]] = defaultdict(list)
    for account_id, subject, at in session.execute(told.order_by(event.id)):
        times[account_id, subject].append(at)
    query = (
        select(read, tables.Case.accession, tables.StudyPlace)
        .join(tables.Case, tables.Case.id == read.case_id)
        .outerjoin(tables.StudyPlace, tables.StudyPlace.id == read.place_id)
        .where(read.id.in_(reads), read.model_visible)
    )
    found: dict[int, datetime] = {}
    for row, accession, place in session.execute(query):
        subject = place_subject(accession, place) if place else accession
        # The first time counts, and it cannot be later than what was said of it.
        found[row.id] = min((at for at in times[row.account_id, subject] if at <= row.saved_at), default=row.opened_at)
    return found


def images_of(session: Session, cases: Select[int]) -> Mapping[int, tuple[ExportedImage, ...]]:
    """Give the images of cases, in their order."""
    image = tables.Image
    found: dict[int, list[ExportedImage]] = defaultdict(list)
    for row in session.scalars(select(image).where(image.case_id.in_(cases)).order_by(image.position)):
        found[row.case_id].append(ExportedImage(row.id, row.position, row.height, row.width, row.file_sha256))
    return {case_id: tuple(images) for case_id, images in found.items()}


def references_of(session: Session, cases: Select[int]) -> Mapping[int, Reference]:
    """Give what is taken as right of cases: an amended sign-off, else the standing consensus, else the sign-off."""
    signed = select(tables.SignOff).where(tables.SignOff.case_id.in_(cases)).order_by(tables.SignOff.version)
    settled = select(tables.Consensus).where(tables.Consensus.case_id.in_(cases), is_standing(tables.Consensus))
    found = {row.case_id: Reference(row.label, "consensus") for row in session.scalars(settled)}
    for row in session.scalars(signed):
        # The first version repeats the consensus; an amendment was made by somebody who knew it.
        if row.version > 1 or row.case_id not in found:
            found[row.case_id] = Reference(row.label, "sign-off")
    return found


def lasting_key(session: Session) -> str:
    """Give a key that stays the same in this database and differs in every other: the hash of its first event."""
    return session.scalar(select(tables.AuditEvent.hash).order_by(tables.AuditEvent.id).limit(1)) or new_key()
