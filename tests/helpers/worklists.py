"""The whole worklist of a reader, page after page."""

from sqlalchemy.orm import Session

from db import store
from db.values.worklist import CaseFilter, CaseOrder, CaseRow

_SMALL = 3  # cases on a page, so that most lists have several


def whole_worklist(
    session: Session,
    account_id: int,
    filters: CaseFilter | None = None,
    *,
    order: CaseOrder = CaseOrder.WORK,
    language: str | None = None,
    size: int = _SMALL,
) -> list[CaseRow]:
    """Return the rows of all pages; together they are as many as every page says."""
    rows: list[CaseRow] = []
    after = None
    while True:
        page = store.worklist.worklist(
            session, account_id, filters or CaseFilter(), order=order, language=language, after=after, size=size
        )
        rows += page.rows
        if page.last is None:
            assert page.total in (None, len(rows))
            return rows
        assert len(page.rows) == size
        after = page.last
