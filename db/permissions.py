"""Who may do what: asked by every function of the store that works for an account."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import models
from db.access_models import Credential
from db.access_values import ALLOWED, Permission
from db.errors import NotAllowedError


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
    if account_id is None or not has_accounts(session):
        return
    account = session.get(models.Account, account_id, populate_existing=True)
    credential = session.get(Credential, account_id, populate_existing=True)
    if account is None or credential is None or credential.disabled:
        raise NotAllowedError("this account can no longer be used: sign in with another")
    if permission not in ALLOWED[account.role]:
        raise NotAllowedError(f"as {account.role} you may not {permission}: ask an administrator")
