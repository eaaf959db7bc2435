"""Orders of the worklist that tell what the model says: over cases that this reader has read, and no others."""

from sqlalchemy import ColumnElement, Select, Subquery, func, select
from sqlalchemy import case as choose

from db import models
from db.reader_cases import ReaderCases

_Found = Select[int, str]


def by_uncertainty(cases: ReaderCases, query: _Found) -> _Found:
    """Keep the cases with this reader's first read, those first whose probability is closest to the threshold.

    Cases without a result of the model come last.
    """
    opinion = _opinions()
    distance: ColumnElement[float] = func.abs(opinion.c.probability - opinion.c.threshold)
    known = query.outerjoin(opinion, opinion.c.case_id == models.Case.id).where(cases.first.id.is_not(None))
    return known.order_by(_last_without(distance), distance, models.Case.id)


def by_discordance(cases: ReaderCases, query: _Found) -> _Found:
    """Keep the cases with this reader's final read, those first where the model as shown says the most against it.

    Cases that could not be assessed, or were read without the model, come last.
    """
    final = cases.final
    beyond = final.shown_probability - final.shown_threshold
    against = choose((final.label == "benign", beyond), (final.label == "malignant", -beyond))
    return query.where(final.id.is_not(None)).order_by(_last_without(against), against.desc(), models.Case.id)


def _opinions() -> Subquery:
    """Give the model's probability and threshold by case, of the version that the reveal shows: see `db.reveal`."""
    row = models.Prediction
    of_versions = (
        select(
            models.Image.case_id,
            func.avg(row.malignant_probability).label("probability"),
            func.min(row.threshold).label("threshold"),
            func.row_number()
            .over(partition_by=models.Image.case_id, order_by=(func.count().desc(), func.max(row.id).desc()))
            .label("place"),
        )
        .join(models.Image, models.Image.id == row.image_id)
        .group_by(models.Image.case_id, row.model_version)
        .subquery()
    )
    return select(of_versions).where(of_versions.c.place == 1).subquery()


def _last_without(value: ColumnElement[float]) -> ColumnElement[int]:
    # The databases do not agree on where nothing belongs in an order.
    return choose((value.is_(None), 1), else_=0)
