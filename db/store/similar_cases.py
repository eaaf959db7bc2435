"""Similar cases: what a reader may be shown of signed-off cases beside a case, once the model's opinion is shown.

A label of another case is what others said of it: only cases count of which this reader may know that, and only
pictures that are in no other case. Nothing is shown in studies.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import tables
from db.audit.trail import record_first_time
from db.errors import NotRevealedError
from db.queries.cases import case_row
from db.queries.model_opinion import reveal_of
from db.queries.permissions import require_permission
from db.queries.reader_knowledge import known_among, may_see_model
from db.queries.scales import is_of_current_scale
from db.queries.sign_offs import is_current_sign_off
from db.queries.study_places import refuse_in_study
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.similar_cases import CaseEmbeddings, ComparableImage, StoredEmbedding


def case_embeddings(session: Session, case_id: int, account_id: int) -> CaseEmbeddings | None:
    """Return where the images of a case lie for the model that is shown; None while there is no opinion.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader must read it in a study.
        NotRevealedError: If this reader has not saved a first read of the case.
    """
    case = _revealed_case(session, case_id, account_id)
    reveal = reveal_of(session, case.id)
    if reveal is None:
        return None
    row, prediction = tables.ImageEmbedding, tables.Prediction
    shown = [image.prediction_id for image in reveal.images]
    rows = session.scalars(select(row).where(row.prediction_id.in_(shown)).order_by(row.id)).all()
    if rows:
        return CaseEmbeddings(rows[0].network, tuple(StoredEmbedding(one.id, one.embedding) for one in rows))
    of_model = select(row.network).join(prediction, prediction.id == row.prediction_id)
    network = session.scalar(of_model.where(prediction.model_version == reveal.model_version).limit(1))
    return CaseEmbeddings(network or reveal.model_version, ())


def count_embeddings(session: Session, network: str) -> int:
    """Return how many embeddings of a network are stored."""
    row = tables.ImageEmbedding
    return session.scalar(select(func.count()).where(row.network == network)) or 0


def embeddings_after(session: Session, network: str, after: int, most: int) -> list[StoredEmbedding]:
    """Return the next embeddings of a network, in the order in which they were stored; rows are never changed."""
    row = tables.ImageEmbedding
    query = select(row.id, row.embedding).where(row.network == network, row.id > after).order_by(row.id).limit(most)
    return [StoredEmbedding(number, embedding) for number, embedding in session.execute(query)]


def comparable_images(
    session: Session, case_id: int, account_id: int, embeddings: Collection[int]
) -> list[ComparableImage]:
    """Return those of some embeddings whose images this reader may be shown beside a case, with their labels.

    These are images of other signed-off cases with a label, of which this reader may know what others said. A picture
    that is also in another case must fulfil this there too. Generated tissue is compared with generated tissue only.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader must read it in a study.
        NotRevealedError: If this reader has not saved a first read of the case.
    """
    own = _revealed_case(session, case_id, account_id)
    row, prediction, image, case = tables.ImageEmbedding, tables.Prediction, tables.Image, tables.Case
    signed = tables.SignOff
    query = (
        select(row, image.id, image.file_sha256, case.id, case.magnification, signed.label, signed.subtype)
        .join(prediction, prediction.id == row.prediction_id)
        .join(image, image.id == prediction.image_id)
        .join(case, case.id == image.case_id)
        .join(signed, signed.case_id == case.id)
        .where(
            row.id.in_(embeddings),
            case.id != own.id,
            case.demonstration == own.demonstration,
            signed.label.is_not(None),
            is_current_sign_off(signed),
            is_of_current_scale(prediction),
        )
    )
    found = session.execute(query).all()
    hidden = _hidden_pictures(session, own.id, account_id, {file for _, _, file, *_ in found})
    return [
        ComparableImage(StoredEmbedding(one.id, one.embedding), image_id, of, label, subtype, magnification)
        for one, image_id, file, of, magnification, label, subtype in found
        if label is not None and file not in hidden
    ]


def record_shown(session: Session, case_id: int, account_id: int) -> None:
    """Record the first time that this reader was shown cases similar to a case.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such case.
        InStudyError: If this reader must read it in a study.
        NotRevealedError: If this reader has not saved a first read of the case.
    """
    case = _revealed_case(session, case_id, account_id)
    record_first_time(session, account_id, Action.SIMILAR_SHOWN, case.accession)


def _revealed_case(session: Session, case_id: int, account_id: int) -> tables.Case:
    require_permission(session, account_id, Permission.READ_CASES)
    case = case_row(session, case_id)
    refuse_in_study(session, case, account_id)
    if not may_see_model(session, case_id, account_id):
        raise NotRevealedError("save your first opinion to see similar cases")
    return case


def _hidden_pictures(session: Session, own: int, account_id: int, files: Collection[str]) -> set[str]:
    """Return the pictures that are also in the case itself, or in one of which this reader may not know the label."""
    image = tables.Image
    places: Sequence[tuple[str, int]] = [
        (file, case_id)
        for file, case_id in session.execute(
            select(image.file_sha256, image.case_id).where(image.file_sha256.in_(files))
        )
    ]
    known = known_among(session, {case_id for _, case_id in places}, account_id)
    return {file for file, case_id in places if case_id == own or case_id not in known}
