"""Evaluations with their images, and domain shifts: added once, never changed.

An evaluation tells the label and the model's opinion of its images. A reader does not get those that are also pictures
of a case they have not finished; `account_id` None means the program itself.
"""

from collections.abc import Sequence, Set
from dataclasses import asdict, fields
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, case, func, insert, not_, or_, select, true
from sqlalchemy.orm import Session

from core.labels import BINARY
from db import tables
from db.audit.seals import seal
from db.audit.trail import record_event
from db.queries.permissions import require_permission
from db.queries.reader_knowledge import is_hidden_picture, is_unfinished_picture
from db.values.accounts import Permission
from db.values.audit import TrailAction
from db.values.evaluations import (
    EvaluatedImage,
    EvaluationRow,
    HiddenImages,
    ImageFilter,
    NewEvaluation,
    Overlap,
    ShiftRow,
)


def add_evaluation(session: Session, row: NewEvaluation, images: Sequence[EvaluatedImage]) -> int:
    """Store an evaluation with its images, and return its id."""
    stored = tables.Evaluation(
        at=datetime.now(UTC),
        model_name=row.model_name,
        model_version=row.model_version,
        dataset=row.dataset,
        split=row.split,
        folder=row.folder,
        images=len(images),
        document=row.document,
    )
    session.add(stored)
    session.flush()
    if images:
        # One statement for all images: 8,000 objects would take ten times as long.
        session.execute(insert(tables.EvaluatedImage), [_columns(stored.id, image) for image in images])
    subject = f"evaluation {stored.id}: {row.model_version} on {row.dataset}"
    record_event(session, None, TrailAction.EVALUATED, subject, content=seal(session, stored))
    return stored.id


def evaluations(session: Session, account_id: int | None) -> list[EvaluationRow]:
    """Return all evaluations, newest first.

    Raises:
        NotAllowedError: If this account may not see evaluations.
    """
    require_permission(session, account_id, Permission.SEE_MODELS)
    return [
        _evaluation(row) for row in session.scalars(select(tables.Evaluation).order_by(tables.Evaluation.id.desc()))
    ]


def evaluation(session: Session, account_id: int | None, evaluation_id: int) -> EvaluationRow | None:
    """Find an evaluation by its number.

    Raises:
        NotAllowedError: If this account may not see evaluations.
    """
    require_permission(session, account_id, Permission.SEE_MODELS)
    row = session.get(tables.Evaluation, evaluation_id)
    return _evaluation(row) if row else None


def evaluated_images(
    session: Session,
    account_id: int | None,
    evaluation_id: int,
    chosen: ImageFilter | None = None,
    *,
    limit: int = 100,
    offset: int = 0,
) -> list[EvaluatedImage]:
    """Return the images of an evaluation that this account may see, the most confidently wrong ones first.

    Images with wrong malignancy come first, then those with another wrong class.

    Raises:
        NotAllowedError: If this account may not see evaluations.
    """
    require_permission(session, account_id, Permission.SEE_MODELS)
    conditions = _conditions(evaluation_id, chosen or ImageFilter())
    query = select(tables.EvaluatedImage).where(*conditions, *_visible(session, account_id))
    ordered = query.order_by(_wrongness().desc(), tables.EvaluatedImage.position)
    return [_image(row) for row in session.scalars(ordered.limit(limit).offset(offset))]


def count_evaluated_images(
    session: Session, account_id: int | None, evaluation_id: int, chosen: ImageFilter | None = None
) -> int:
    """Count the images that `evaluated_images` would return without a limit."""
    require_permission(session, account_id, Permission.SEE_MODELS)
    query = select(func.count()).select_from(tables.EvaluatedImage)
    conditions = _conditions(evaluation_id, chosen or ImageFilter())
    return session.scalar(query.where(*conditions, *_visible(session, account_id))) or 0


def hidden_images(session: Session, account_id: int | None, evaluation_id: int) -> HiddenImages | None:
    """Return which images of an evaluation this account may not see yet; None if it may see everything.

    An account with cases to finish gets a value even if no image is hidden.

    Raises:
        NotAllowedError: If this account may not see evaluations.
    """
    require_permission(session, account_id, Permission.SEE_MODELS)
    hidden = is_hidden_picture(session, account_id)
    if hidden is None:
        return None
    row = tables.EvaluatedImage
    query = select(row.position, row.file_sha256).where(row.evaluation_id == evaluation_id, hidden)
    found = session.execute(query.order_by(row.position)).all()
    return HiddenImages(tuple(position for position, _ in found), any(sha256 is None for _, sha256 in found))


def overlap(session: Session, by: int | None, evaluation_id: int) -> Overlap:
    """Count the images of an evaluation that are also pictures of cases, by the hashes of file and pixels.

    Raises:
        NotAllowedError: If this account may not administer models.
    """
    require_permission(session, by, Permission.ADMINISTER)
    row, image = tables.EvaluatedImage, tables.Image
    same = or_(row.source_sha256 == image.source_sha256, row.file_sha256 == image.file_sha256)
    query = select(func.count(row.position.distinct()), func.count(image.case_id.distinct())).join(image, same)
    images, cases = session.execute(query.where(row.evaluation_id == evaluation_id)).one()
    return Overlap(images, cases)


def hidden_shipped_images(
    session: Session, account_id: int | None, images: Sequence[EvaluatedImage]
) -> HiddenImages | None:
    """Return which images of an evaluation that is not in the database this account may not see, by the same rule.

    Raises:
        NotAllowedError: If this account may not see evaluations.
    """
    require_permission(session, account_id, Permission.SEE_MODELS)
    unfinished = is_unfinished_picture(session, account_id)
    if unfinished is None:
        return None
    sources, pixels = _pictures_of_cases(session, images, unfinished)
    hidden = [image for image in images if _is_among(image, sources.keys(), pixels.keys(), unknown=True)]
    without_hashes = any(None in (image.source_sha256, image.file_sha256) for image in hidden)
    return HiddenImages(tuple(image.position for image in hidden), without_hashes)


def shipped_overlap(session: Session, by: int | None, images: Sequence[EvaluatedImage]) -> Overlap:
    """Count the images of an evaluation that is not in the database that are also pictures of cases.

    Raises:
        NotAllowedError: If this account may not administer models.
    """
    require_permission(session, by, Permission.ADMINISTER)
    sources, pixels = _pictures_of_cases(session, images, true())
    shared = [image for image in images if _is_among(image, sources.keys(), pixels.keys())]
    cases = [
        sources.get(image.source_sha256 or "", set()) | pixels.get(image.file_sha256 or "", set()) for image in shared
    ]
    return Overlap(len(shared), len(set().union(*cases)))


def add_shift(session: Session, source: str, target: str, model_version: str, document: str) -> int:
    """Store the distance between two image sets, and return its id."""
    row = tables.Shift(
        at=datetime.now(UTC), source=source, target=target, model_version=model_version, document=document
    )
    session.add(row)
    session.flush()
    subject = f"shift {row.id}: from {source} to {target}"
    record_event(session, None, TrailAction.SHIFT_STORED, subject, content=seal(session, row))
    return row.id


def shifts(session: Session) -> list[ShiftRow]:
    """Return all domain shifts, newest first."""
    rows = session.scalars(select(tables.Shift).order_by(tables.Shift.id.desc()))
    return [ShiftRow(row.id, row.at, row.source, row.target, row.model_version, row.document) for row in rows]


def _columns(evaluation_id: int, image: EvaluatedImage) -> dict[str, object]:
    return asdict(image) | {"evaluation_id": evaluation_id, "confidence": max(image.probabilities)}


def _visible(session: Session, account_id: int | None) -> list[ColumnElement[bool]]:
    hidden = is_hidden_picture(session, account_id)
    return [] if hidden is None else [not_(hidden)]


def _conditions(evaluation_id: int, chosen: ImageFilter) -> list[ColumnElement[bool]]:
    row = tables.EvaluatedImage
    terms = [(getattr(row, field.name), getattr(chosen, field.name)) for field in fields(chosen)]
    return [row.evaluation_id == evaluation_id, *(column == value for column, value in terms if value is not None)]


def _pictures_of_cases(
    session: Session, images: Sequence[EvaluatedImage], condition: ColumnElement[bool]
) -> tuple[dict[str, set[int]], dict[str, set[int]]]:
    """Find the cases with these pictures: their ids by the hash of the file, and by that of the pixels."""
    row = tables.Image
    same = or_(
        row.source_sha256.in_([image.source_sha256 for image in images if image.source_sha256]),
        row.file_sha256.in_([image.file_sha256 for image in images if image.file_sha256]),
    )
    sources: dict[str, set[int]] = {}
    pixels: dict[str, set[int]] = {}
    for source, file, case_id in session.execute(
        select(row.source_sha256, row.file_sha256, row.case_id).where(condition, same)
    ):
        sources.setdefault(source, set()).add(case_id)
        pixels.setdefault(file, set()).add(case_id)
    return sources, pixels


def _is_among(image: EvaluatedImage, sources: Set[str], pixels: Set[str], *, unknown: bool = False) -> bool:
    """Return whether an image has one of these hashes; `unknown` is the answer for one that has no hashes."""
    if image.source_sha256 is None or image.file_sha256 is None:
        return unknown
    return image.source_sha256 in sources or image.file_sha256 in pixels


def _wrongness() -> ColumnElement[float]:
    row = tables.EvaluatedImage
    said_of_truth = case((row.malignant, row.malignant_probability), else_=1 - row.malignant_probability)
    return case(
        (row.malignant != row.called_malignant, 2 - said_of_truth),
        # If only malignancy is compared, "benign" for a benign subtype is not a wrong class.
        ((row.label != row.predicted) & row.predicted.not_in(BINARY.classes), row.confidence),
        else_=-row.confidence,
    )


def _evaluation(row: tables.Evaluation) -> EvaluationRow:
    return EvaluationRow(
        id=row.id,
        at=row.at,
        model_name=row.model_name,
        model_version=row.model_version,
        dataset=row.dataset,
        split=row.split,
        folder=row.folder,
        images=row.images,
        document=row.document,
    )


def _image(row: tables.EvaluatedImage) -> EvaluatedImage:
    return EvaluatedImage(
        position=row.position,
        name=row.name,
        patient_id=row.patient_id,
        magnification=row.magnification,
        label=row.label,
        predicted=row.predicted,
        malignant=row.malignant,
        called_malignant=row.called_malignant,
        malignant_probability=row.malignant_probability,
        probabilities=tuple(row.probabilities),
        preview_sha256=row.preview_sha256,
        heatmap_sha256=row.heatmap_sha256,
        source_sha256=row.source_sha256,
        file_sha256=row.file_sha256,
    )
