"""Sign-off of a case and its amendments: every version is a row of its own, and the last one counts."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import models
from db.errors import CaseChangedError
from db.reading_models import SignOff as SignOffRow


def refuse_signed(session: Session, case: models.Case) -> None:
    """Refuse a further read of a case that was signed out.

    Raises:
        CaseChangedError: With who signed it, and when.
    """
    query = (
        select(SignOffRow, models.Account.name)
        .join(models.Account, models.Account.id == SignOffRow.account_id)
        .where(SignOffRow.case_id == case.id)
    )
    found = session.execute(query.order_by(SignOffRow.version).limit(1)).first()
    if found:
        row, name = found
        when = row.saved_at.strftime("%Y-%m-%d %H:%M UTC")
        raise CaseChangedError(f"case {case.accession} was signed out by {name} on {when}: it takes no further reads")
