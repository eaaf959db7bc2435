"""Rows of accounts, locked while what belongs to them changes."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import tables


def lock_account(session: Session, account_id: int) -> tables.Account:
    """Return the row of an account, locked until the transaction ends.

    The account is sealed together with its credential, tokens, identities and sign-ins, so two transactions that
    change any of them must follow one another. SQLite has only one writing session at a time.
    """
    query = select(tables.Account).where(tables.Account.id == account_id).with_for_update(key_share=True)
    return session.scalars(query.execution_options(populate_existing=True)).one()
