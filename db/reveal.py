"""What the model says of a case, and who may know it: nobody before their own first read."""

from collections import defaultdict
from collections.abc import Collection
from statistics import fmean

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.labels import LabelSet
from core.results import Prediction
from db import models
from db.access_values import Permission
from db.cases import image_row
from db.errors import NotRevealedError, UnknownCaseError
from db.permissions import need
from db.study_order import sees_model_in_study
from db.values import Reveal, RevealedImage, Stage


def may_see_model(session: Session, case_id: int, account_id: int) -> bool:
    """Say whether this reader has saved a first read, and so may see the model's opinion.

    While the case belongs to an open study, the arm of the study decides; its reads open nothing afterwards.
    """
    in_study = sees_model_in_study(session, case_id, account_id)
    if in_study is not None:
        return in_study
    read = models.Read
    query = select(read.id).where(read.case_id == case_id, read.account_id == account_id, read.stage == Stage.FIRST)
    return session.scalar(query.where(read.place_id.is_(None))) is not None


def reveal_of(session: Session, case_id: int, *, among: Collection[int] | None = None) -> Reveal | None:
    """Give the model's opinion of a case; None while no image of it has a prediction.

    Of several model versions it is the one that covers the most images, and of those the latest.
    `among` limits it to these predictions: what was on a reader's screen. The caller has checked
    that the reader may know it.
    """
    row = models.Prediction
    query = select(row).join(models.Image, models.Image.id == row.image_id).where(models.Image.case_id == case_id)
    if among is not None:
        query = query.where(row.id.in_(among))
    versions: dict[str, list[models.Prediction]] = defaultdict(list)
    for prediction in session.scalars(query.order_by(models.Image.position)):
        versions[prediction.model_version].append(prediction)
    if not versions:
        return None
    return _reveal(max(versions.values(), key=lambda rows: (len(rows), max(row.id for row in rows))))


def heatmap_file(session: Session, image_id: int, account_id: int) -> str:
    """Give the sha256 of an image's heat map, of the model version that the reveal shows.

    Raises:
        NotAllowedError: If this account may not see cases.
        NotRevealedError: If this reader has not saved a first read of the case.
        UnknownCaseError: If there is no such image, or it has no heat map.
    """
    need(session, account_id, Permission.READ_CASES)
    image = image_row(session, image_id)
    if not may_see_model(session, image.case_id, account_id):
        raise NotRevealedError("the heat map is shown after your first opinion is saved")
    reveal = reveal_of(session, image.case_id)
    shown = {seen.image_id: seen.prediction_id for seen in reveal.images} if reveal else {}
    prediction = session.get(models.Prediction, shown[image_id]) if image_id in shown else None
    if prediction is None or prediction.heatmap_sha256 is None:
        raise UnknownCaseError(f"image {image_id} has no heat map")
    return prediction.heatmap_sha256


def image_file(session: Session, image_id: int, account_id: int) -> str:
    """Give the sha256 of an image's pixels; who may read cases may see every image.

    Raises:
        NotAllowedError: If this account may not see cases.
        UnknownCaseError: If there is no such image or no such account.
    """
    if session.get(models.Account, account_id) is None:
        raise UnknownCaseError(f"there is no account number {account_id}")
    need(session, account_id, Permission.READ_CASES)
    return image_row(session, image_id).file_sha256


def _reveal(rows: list[models.Prediction]) -> Reveal:
    probability = fmean(row.malignant_probability for row in rows)
    threshold = rows[0].threshold
    return Reveal(
        model_version=rows[0].model_version,
        model_name=rows[0].model_name,
        demonstration=rows[0].demonstration,
        malignant_probability=probability,
        threshold=threshold,
        malignancy="malignant" if probability >= threshold else "benign",
        images=tuple(_revealed_image(row) for row in rows),
    )


def _revealed_image(row: models.Prediction) -> RevealedImage:
    prediction = Prediction(
        label_set=LabelSet(row.label_set, tuple(row.classes), tuple(row.malignant_classes)),
        probabilities=tuple(row.probabilities),
        threshold=row.threshold,
        benign_patches=row.benign_patches,
        malignant_patches=row.malignant_patches,
    )
    return RevealedImage(row.image_id, row.id, prediction, row.heatmap_low, row.heatmap_high)
