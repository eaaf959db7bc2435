"""Rows for exports, and the key of lasting pseudonyms."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from db import tables
from db.queries.cases import quality_of
from db.queries.consensus import is_current_consensus
from db.queries.intakes import image_places
from db.queries.scales import scales_of
from db.queries.study_places import place_subject
from db.values.audit import Action
from db.values.exports import ExportedImage, ReadPlace, Reference, ShownOpinion, make_key
from db.values.reading import ModelIdentity, Read, Stage


def places_of(session: Session, reads: Sequence[Read]) -> Mapping[int, ReadPlace]:
    """Return the places in studies of reads by id of the place."""
    ids = [read.place_id for read in reads if read.place_id is not None]
    rows = session.scalars(select(tables.StudyPlace).where(tables.StudyPlace.id.in_(ids))) if ids else ()
    return {row.id: ReadPlace(row.round, row.arm, row.iteration, row.position) for row in rows}


def shown_of(session: Session, reads: Sequence[int]) -> Mapping[int, ShownOpinion]:
    """Return the model's opinion shown with each read, by read id."""
    read, prediction, shown_prediction = tables.Read, tables.Prediction, tables.ReadPrediction
    query = (
        select(read.id, read.shown_probability, read.shown_threshold, prediction)
        .join(shown_prediction, shown_prediction.read_id == read.id)
        .join(prediction, prediction.id == shown_prediction.prediction_id)
        .where(read.id.in_(reads))
    )
    # A reveal shows one model version, so every image of a case gives the same values here.
    return {
        number: ShownOpinion(probability, threshold, row.model_version, row.model_name, row.demonstration)
        for number, probability, threshold, row in session.execute(query)
        if probability is not None and threshold is not None
    }


def withheld_of(session: Session, reads: Sequence[int]) -> Mapping[int, ModelIdentity]:
    """Return the models that were shown to give no opinion, out of their scope, by read id."""
    read, scope, shown = tables.Read, tables.ImageScope, tables.ReadScope
    query = (
        select(read.id, scope)
        .join(shown, shown.read_id == read.id)
        .join(scope, scope.id == shown.scope_id)
        .where(read.id.in_(reads), read.shown_scope == "out", scope.level == "out")
        .order_by(scope.id)
    )
    return {
        number: ModelIdentity(row.model_version, row.model_name, row.demonstration)
        for number, row in session.execute(query)
    }


def reveals_of(session: Session, reads: Sequence[int]) -> Mapping[int, datetime]:
    """Return when the model was first shown for each read, according to the audit trail, by read id."""
    read = tables.Read
    query = (
        select(read, tables.Case.accession, tables.StudyPlace)
        .join(tables.Case, tables.Case.id == read.case_id)
        .outerjoin(tables.StudyPlace, tables.StudyPlace.id == read.place_id)
        .where(read.id.in_(reads), or_(read.model_visible, read.shown_scope.is_not(None)))
    )
    shown = [
        (row, place_subject(accession, place) if place else accession)
        for row, accession, place in session.execute(query)
    ]
    times = _first_reveals(session, {row.account_id for row, _ in shown}, {subject for _, subject in shown})
    first_shown: dict[int, datetime] = {}
    for row, subject in shown:
        first = times.get((row.account_id, subject))
        # It cannot be later than the read.
        first_shown[row.id] = first if first is not None and first <= row.saved_at else row.opened_at
    return first_shown


def _first_reveals(
    session: Session, readers: Collection[int], subjects: Collection[str]
) -> Mapping[tuple[int | None, str], datetime]:
    event = tables.AuditEvent
    query = (
        select(event.account_id, event.subject, func.min(event.at))
        .where(event.action == Action.REVEALED, event.account_id.in_(readers), event.subject.in_(subjects))
        .group_by(event.account_id, event.subject)
    )
    return {(account_id, subject): at for account_id, subject, at in session.execute(query)}


def replacements_of(session: Session, reads: Sequence[int]) -> Mapping[int, Stage]:
    """Return the stage of the read that replaces each read, by the id of the one replaced."""
    read = tables.Read
    query = select(read.supersedes_id, read.stage).where(read.supersedes_id.in_(reads))
    return {number: stage for number, stage in session.execute(query) if number is not None}


def images_of(session: Session, cases: Select[int] | Sequence[int]) -> Mapping[int, tuple[ExportedImage, ...]]:
    """Return the images of cases by case id, in order."""
    image, places = tables.Image, image_places(session, cases)
    scales = scales_of(session, select(image.id).where(image.case_id.in_(cases)))
    by_case: dict[int, list[tables.Image]] = defaultdict(list)
    for row in session.scalars(select(image).where(image.case_id.in_(cases))):
        by_case[row.case_id].append(row)
    return {
        case_id: tuple(
            ExportedImage(
                row.id, position, row.height, row.width, row.file_sha256, quality_of(row).notes, scales.get(row.id)
            )
            for position, row in enumerate(sorted(rows, key=lambda one: places.get(one.id, one.position)), start=1)
        )
        for case_id, rows in by_case.items()
    }


def references_of(session: Session, cases: Select[int] | Collection[int]) -> Mapping[int, Reference]:
    """Return reference labels by case id: an amended sign-off, else the current consensus, else the sign-off."""
    signed = select(tables.SignOff).where(tables.SignOff.case_id.in_(cases)).order_by(tables.SignOff.version)
    settled = select(tables.Consensus).where(
        tables.Consensus.case_id.in_(cases), is_current_consensus(tables.Consensus)
    )
    references = {row.case_id: Reference(row.label, "consensus") for row in session.scalars(settled)}
    for row in session.scalars(signed):
        # The first version repeats the consensus; an amendment was made with knowledge of it.
        if row.version > 1 or row.case_id not in references:
            references[row.case_id] = Reference(row.label, "sign-off")
    return references


def lasting_key(session: Session) -> str:
    """Return a key that is constant in this database and different in others: the hash of the first event."""
    return session.scalar(select(tables.AuditEvent.hash).order_by(tables.AuditEvent.id).limit(1)) or make_key()
