"""The labels of settled cases, as the reference against which readers are held."""

from sqlalchemy.orm import Session

from db import models
from db.access_values import Permission
from db.adjudication_values import AdjudicatedLabels
from db.agreement import finished_cases
from db.export_rows import references_of
from db.permissions import need
from db.values import Role


def adjudicated_labels(session: Session, account_id: int) -> AdjudicatedLabels:
    """Give the reference labels of the cases this reader has finished, by the rule of the exports.

    A case that could not be assessed has none. A researcher gets those of the cases that anybody has finished.

    Raises:
        NotAllowedError: If this account may not see how readers agree.
    """
    need(session, account_id, Permission.SEE_AGREEMENT)
    researcher = session.get_one(models.Account, account_id).role is Role.RESEARCHER
    finished = finished_cases(None if researcher else account_id)
    found = references_of(session, finished)
    labels = {case_id: one.label for case_id, one in found.items() if one.label is not None}
    by_consensus = frozenset(case_id for case_id in labels if found[case_id].source == "consensus")
    return AdjudicatedLabels(labels, by_consensus)
