"""The cases to which a site can fit a model, and the record that it did."""

from collections import defaultdict

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from core.labels import Malignancy
from db import tables
from db.audit.trail import record_event
from db.queries.case_state import is_resolved
from db.queries.consensus import is_current_consensus
from db.queries.permissions import require_permission
from db.queries.scales import is_of_current_scale
from db.queries.sign_offs import is_current_sign_off
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.evaluations import JudgedCase

_MOST_CASES = 1000  # signed and settled ones each; more would hardly move what is fitted


def judged_cases(session: Session, account_id: int, version: str) -> list[JudgedCase]:
    """Return the newest cases with a signed label, else a settled one, of which a model version has an opinion.

    Generated cases do not count. Nothing says which case is which.

    Raises:
        NotAllowedError: If this account may not administer models.
    """
    require_permission(session, account_id, Permission.ADMINISTER)
    labels = _settled_labels(session, version) | _signed_labels(session, version)
    prediction, image = tables.Prediction, tables.Image
    query = (
        select(image.case_id, prediction.malignant_probability)
        .join(prediction, prediction.image_id == image.id)
        .where(image.case_id.in_(labels), prediction.model_version == version, is_of_current_scale(prediction))
        .order_by(image.case_id, prediction.id)
    )
    probabilities: dict[int, list[float]] = defaultdict(list)
    for case_id, probability in session.execute(query):
        probabilities[case_id].append(probability)
    found = ((labels[case_id], values) for case_id, values in probabilities.items())
    return [JudgedCase(label, tuple(values)) for label, values in found if label is not None]


def record_calibration(session: Session, account_id: int, before: str, after: str, what: str) -> None:
    """Record that a checkpoint was fitted to this site, and which version came of it.

    Raises:
        NotAllowedError: If this account may not administer models.
    """
    require_permission(session, account_id, Permission.ADMINISTER)
    record_event(session, account_id, Action.SITE_CALIBRATED, f"{before} -> {after}: {what}")


def _signed_labels(session: Session, version: str) -> dict[int, Malignancy | None]:
    signed = tables.SignOff
    query = (
        select(signed.case_id, signed.label)
        .where(is_current_sign_off(signed), _is_answered(signed.case_id, version))
        .order_by(signed.id.desc())
        .limit(_MOST_CASES)
    )
    return {case_id: label for case_id, label in session.execute(query)}  # noqa: C416 (rows are no tuples for mypy)


def _settled_labels(session: Session, version: str) -> dict[int, Malignancy | None]:
    row = tables.Consensus
    query = (
        select(row.case_id, row.label)
        .where(is_current_consensus(row), is_resolved(row.case_id), _is_answered(row.case_id, version))
        .order_by(row.id.desc())
        .limit(_MOST_CASES)
    )
    return {case_id: label for case_id, label in session.execute(query)}  # noqa: C416 (rows are no tuples for mypy)


def _is_answered(case_id: InstrumentedAttribute[int], version: str) -> ColumnElement[bool]:
    """Select the cases, but generated ones, of which a model version has an opinion."""
    case, image, prediction = tables.Case, tables.Image, tables.Prediction
    return (
        select(case.id)
        .join(image, image.case_id == case.id)
        .join(prediction, prediction.image_id == image.id)
        .where(case.id == case_id, ~case.demonstration, prediction.model_version == version)
        .correlate_except(case, image, prediction)
        .exists()
    )
