"""The labels of settled cases, as the reference against which readers are held."""

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from core.labels import Malignancy
from db import models
from db.access_values import Permission
from db.adjudication_values import AdjudicatedLabels
from db.agreement import finished_cases
from db.consensus import is_standing
from db.permissions import need
from db.reading_models import Consensus, SignOff
from db.values import Role


def adjudicated_labels(session: Session, account_id: int) -> AdjudicatedLabels:
    """Give the label of the consensus, else that of the last signed version, of the cases this reader has finished.

    A case that could not be assessed has none. A researcher gets those of the cases that anybody has finished.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    need(session, account_id, Permission.SEE_AGREEMENT)
    researcher = session.get_one(models.Account, account_id).role is Role.RESEARCHER
    finished = finished_cases(None if researcher else account_id)
    newer = aliased(SignOff)
    amended = select(newer.id).where(newer.case_id == SignOff.case_id, newer.version > SignOff.version).exists()
    signed = select(SignOff.case_id, SignOff.label).where(SignOff.case_id.in_(finished), ~amended)
    settled = select(Consensus.case_id, Consensus.label).where(Consensus.case_id.in_(finished), is_standing(Consensus))
    consensus: dict[int, Malignancy | None] = dict(session.execute(settled).all())
    found = dict(session.execute(signed).all()) | consensus
    labels = {case_id: label for case_id, label in found.items() if label is not None}
    return AdjudicatedLabels(labels, frozenset(consensus) & labels.keys())
