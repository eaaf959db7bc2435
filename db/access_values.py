"""The plain values of accounts, permissions, sign-ins and tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from db.values import Account, Role


class Permission(StrEnum):
    """What a role may do; the words complete "you may not ..."."""

    READ_CASES = "see or read cases"
    SEE_MODELS = "see models and evaluations"
    SEE_AGREEMENT = "see how readers agree"
    ADJUDICATE = "adjudicate cases"
    PLAN_READING = "assign cases or plan studies"
    ADMINISTER = "manage accounts or models"


# Researchers see what was measured and never a case; administrators keep the house and do not read in it.
ALLOWED: dict[Role, frozenset[Permission]] = {
    Role.READER: frozenset({Permission.READ_CASES, Permission.SEE_MODELS, Permission.SEE_AGREEMENT}),
    Role.ADJUDICATOR: frozenset(
        {Permission.READ_CASES, Permission.ADJUDICATE, Permission.SEE_MODELS, Permission.SEE_AGREEMENT}
    ),
    Role.RESEARCHER: frozenset({Permission.SEE_MODELS, Permission.SEE_AGREEMENT}),
    Role.ADMINISTRATOR: frozenset({Permission.SEE_MODELS, Permission.PLAN_READING, Permission.ADMINISTER}),
}


class AccessAction(StrEnum):
    """What the audit trail records of accounts and access."""

    SIGNED_IN = "signed in"
    SIGN_IN_REFUSED = "sign-in refused"
    SIGNED_OUT = "signed out"
    ACCOUNT_ADDED = "account added"
    ACCOUNT_DISABLED = "account disabled"
    ACCOUNT_ENABLED = "account enabled"
    ROLE_CHANGED = "role changed"
    PASSWORD_SET = "password set"  # noqa: S105 (words, not a password)
    TOKEN_ADDED = "token added"  # noqa: S105
    TOKEN_REVOKED = "token revoked"  # noqa: S105
    IDENTITY_LINKED = "identity linked"
    IDENTITY_UNLINKED = "identity unlinked"


@dataclass(frozen=True, slots=True)
class AccountRow:
    """One account as an administrator sees it."""

    id: int
    name: str
    role: Role
    created_at: datetime
    can_sign_in: bool
    disabled: bool


@dataclass(frozen=True, slots=True)
class Recognised:
    """An account that somebody proved to be theirs, as it stood at `changed_at`, and the way they proved it."""

    account: Account
    changed_at: datetime
    way: str = "password"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One API token as an administrator sees it; the token itself is shown once and never kept."""

    id: int
    account: str
    label: str
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a sign-in lasts without a request, and at most."""

    idle: timedelta = timedelta(minutes=30)
    absolute: timedelta = timedelta(hours=12)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.idle <= self.absolute:
            raise ValueError(f"a sign-in ends after {self.absolute} at most, and idle before that, not {self.idle}")
