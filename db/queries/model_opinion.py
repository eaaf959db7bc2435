"""The model's opinion of a case, and how unlike its training images the images are.

Who may see it is said by `db.queries.reader_knowledge`.
"""

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.labels import LabelSet
from core.results import PooledOpinion, Prediction, Scope
from db import tables
from db.queries.intakes import image_places
from db.queries.scales import is_of_current_scale
from db.values.reading import ModelIdentity, Reveal, RevealedImage, RevealedScope


def reveal_of(session: Session, case_id: int, *, among: Collection[int] | None = None) -> Reveal | None:
    """Return the model's opinion of a case; None while no image of it has a prediction.

    Of several model versions, it is the one that covers the most images, and among those the latest.
    Predictions made with a scale that was corrected later do not count.
    `among` limits it to these predictions: those on a reader's screen. The caller must have checked
    that the reader may see it.
    """
    row = tables.Prediction
    query = select(row, tables.Image.position).join(tables.Image, tables.Image.id == row.image_id)
    query = query.where(tables.Image.case_id == case_id, is_of_current_scale(row))
    if among is not None:
        query = query.where(row.id.in_(among))
    versions: dict[str, list[tables.Prediction]] = defaultdict(list)
    places = image_places(session, select(tables.Case.id).where(tables.Case.id == case_id))
    rows = session.execute(query).all()
    for prediction, _ in sorted(rows, key=lambda one: places.get(one[0].image_id, one[1])):
        versions[prediction.model_version].append(prediction)
    if not versions:
        return None
    return _reveal(max(versions.values(), key=lambda rows: (len(rows), max(row.id for row in rows))))


def scopes_of(
    session: Session, case_id: int, reveal: Reveal | None, *, among: Collection[int] | None = None
) -> tuple[RevealedScope, ...]:
    """Return how unlike the training images the images of a case are, in their order.

    Of each image it is what the revealed model version said, else the latest. `among` limits it to these rows: those
    on a reader's screen. The caller must have checked that the reader may see it.
    """
    row, version = tables.ImageScope, reveal.model_version if reveal else None
    query = select(row, tables.Image.position).join(tables.Image, tables.Image.id == row.image_id)
    query = query.where(tables.Image.case_id == case_id, is_of_current_scale(row))
    query = query.order_by(row.model_version == version, row.id)
    if among is not None:
        query = query.where(row.id.in_(among))
    # Of several rows of an image the last one stays.
    rows = {scope.image_id: (scope, position) for scope, position in session.execute(query)}
    if not rows:
        return ()
    places = image_places(session, select(tables.Case.id).where(tables.Case.id == case_id))
    ordered = sorted(rows.values(), key=lambda one: places.get(one[0].image_id, one[1]))
    return tuple(_revealed_scope(scope) for scope, _ in ordered)


def _revealed_scope(row: tables.ImageScope) -> RevealedScope:
    scope = Scope(row.level, row.score, row.limit_unusual, row.limit_out, tuple(row.reasons))
    model = ModelIdentity(row.model_version, row.model_name, row.demonstration)
    return RevealedScope(row.image_id, row.id, model, scope, has_map=row.map_sha256 is not None)


def _reveal(rows: list[tables.Prediction]) -> Reveal:
    opinion = PooledOpinion.of((row.malignant_probability, row.threshold) for row in rows)
    return Reveal(
        model_version=rows[0].model_version,
        model_name=rows[0].model_name,
        demonstration=rows[0].demonstration,
        malignant_probability=opinion.malignant_probability,
        threshold=opinion.threshold,
        malignancy=opinion.malignancy,
        images=tuple(_revealed_image(row) for row in rows),
    )


def _revealed_image(row: tables.Prediction) -> RevealedImage:
    prediction = Prediction(
        label_set=LabelSet(row.label_set, tuple(row.classes), tuple(row.malignant_classes)),
        probabilities=tuple(row.probabilities),
        threshold=row.threshold,
        benign_patches=row.benign_patches,
        malignant_patches=row.malignant_patches,
    )
    return RevealedImage(row.image_id, row.id, prediction, row.heatmap_low, row.heatmap_high)
