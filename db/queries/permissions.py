"""Check permissions; every function of the store that acts for an account calls this first."""

from sqlalchemy import Integer, Select, bindparam, select
from sqlalchemy.orm import Session

from db import tables
from db.errors import NotAllowedError
from db.queries.cached import cache_statement
from db.values.accounts import ALLOWED, Permission, Role


def require_permission(session: Session, account_id: int | None, permission: Permission) -> None:
    """Check that an account has a permission; the program itself (None) and the single reader have all.

    Raises:
        NotAllowedError: If the account's role does not allow it, or the account is disabled.
    """
    if account_id is None:
        return
    has_accounts, role, disabled = session.execute(_asked_of(), {"account": account_id}).one()
    if not has_accounts:
        return
    if role is None or disabled is not False:
        raise NotAllowedError("this account is disabled: sign in with another account, or ask an administrator")
    if permission not in ALLOWED[role]:
        raise NotAllowedError(f"the role {role} is not allowed to {permission}: ask an administrator for access")


def has_permission(session: Session, account_id: int, permission: Permission) -> bool:
    """Return whether an account has a permission."""
    try:
        require_permission(session, account_id, permission)
    except NotAllowedError:
        return False
    return True


@cache_statement
def _asked_of() -> Select[bool, Role | None, bool | None]:
    """Select everything that permissions depend on in one statement, because every action begins with it."""
    account = bindparam("account", type_=Integer())
    return select(
        select(tables.Credential.account_id).exists(),
        select(tables.Account.role).where(tables.Account.id == account).scalar_subquery(),
        select(tables.Credential.disabled).where(tables.Credential.account_id == account).scalar_subquery(),
    )
