"""Who may do what: asked by every function of the store that works for an account."""

from sqlalchemy import Integer, Select, bindparam, select
from sqlalchemy.orm import Session

from db import models
from db.access_models import Credential
from db.access_values import ALLOWED, Permission
from db.errors import NotAllowedError
from db.once import made_once
from db.values import Role


def has_accounts(session: Session) -> bool:
    """Say whether anybody can sign in; if not, this is single-reader mode.

    Disabled accounts count: disabling the last one must not open the door to everyone.
    """
    return session.scalar(select(Credential.account_id).limit(1)) is not None


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
        select(Credential.account_id).exists(),
        select(models.Account.role).where(models.Account.id == account).scalar_subquery(),
        select(Credential.disabled).where(Credential.account_id == account).scalar_subquery(),
    )
