"""Which models an account knows: a page shows a model's opinion only after its reader has confirmed what it is."""

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import tables
from db.values.reading import CaseView


def has_confirmed(session: Session, account_id: int, version: str) -> bool:
    """Return whether an account has confirmed the explanation of a model version."""
    row = tables.ModelConfirmation
    query = select(row.id).where(row.account_id == account_id, row.model_version == version)
    return session.scalar(query) is not None


def without_unmet_model(session: Session, case: CaseView, account_id: int) -> CaseView:
    """Return a case without the opinion of a model whose explanation this account has not confirmed yet."""
    model = case.model
    if model is None or has_confirmed(session, account_id, model.version):
        return case
    return replace(case, reveal=None, scopes=(), unmet=model)
