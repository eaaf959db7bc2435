"""Who may do what: asked by every function of the store that works for an account."""

from sqlalchemy import Integer, Select, bindparam, select
from sqlalchemy.orm import Session

from db import tables
from db.errors import NotAllowedError
from db.queries.cached import made_once
from db.values.accounts import ALLOWED, Permission
from db.values.reading import Role


def need(session: Session, account_id: int | None, permission: Permission) -> None:
    """Refuse what an account may not do; the program itself (None) and the single reader may do everything.

    Raises:
        NotAllowedError: If the account's role does not allow it, or it is disabled.
    """
    if account_id is None:
        return
    with_accounts, role, disabled = session.execute(_asked_of(), {"account": account_id}).one()
    if not with_accounts:
        return
    if role is None or disabled is not False:
        raise NotAllowedError("this account can no longer be used: sign in with another")
    if permission not in ALLOWED[role]:
        raise NotAllowedError(f"as {role} you may not {permission}: ask an administrator")


@made_once
def _asked_of() -> Select[bool, Role | None, bool | None]:
    """Ask all that matters of an account at once: every action of the store begins with it."""
    account = bindparam("account", type_=Integer())
    return select(
        select(tables.Credential.account_id).exists(),
        select(tables.Account.role).where(tables.Account.id == account).scalar_subquery(),
        select(tables.Credential.disabled).where(tables.Credential.account_id == account).scalar_subquery(),
    )
