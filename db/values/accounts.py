"""The values of accounts, permissions, sign-ins, tokens and linked identities."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

_LONGEST = 255  # characters, as OpenID Connect Core allows for a subject
# ASCII only: some letters of other alphabets become Latin letters in lower case.
_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+")


class Role(StrEnum):
    """What an account may do."""

    READER = "reader"
    ADJUDICATOR = "adjudicator"
    RESEARCHER = "researcher"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class Account:
    """One person who may sign in."""

    id: int
    name: str
    role: Role


class Permission(StrEnum):
    """What a role may do; the words complete "you may not ..."."""

    READ_CASES = "see or read cases"
    SEE_MODELS = "see models and evaluations"
    SEE_AGREEMENT = "see how readers agree"
    ADJUDICATE = "adjudicate cases"
    WATCH_UPLOADS = "watch what is uploaded"
    PLAN_READING = "assign cases or plan studies"
    ADMINISTER = "manage accounts or models"


# Researchers see measurements but never a case; administrators manage the installation and do not read cases.
ALLOWED: dict[Role, frozenset[Permission]] = {
    Role.READER: frozenset({Permission.READ_CASES, Permission.SEE_MODELS, Permission.SEE_AGREEMENT}),
    Role.ADJUDICATOR: frozenset(
        {Permission.READ_CASES, Permission.ADJUDICATE, Permission.SEE_MODELS, Permission.SEE_AGREEMENT}
    ),
    Role.RESEARCHER: frozenset({Permission.SEE_MODELS, Permission.SEE_AGREEMENT, Permission.WATCH_UPLOADS}),
    Role.ADMINISTRATOR: frozenset(
        {Permission.SEE_MODELS, Permission.WATCH_UPLOADS, Permission.PLAN_READING, Permission.ADMINISTER}
    ),
}
READING_ROLES = tuple(role for role, allowed in ALLOWED.items() if Permission.READ_CASES in allowed)


class TokenScope(StrEnum):
    """What a program may ask for with a token; the words are stored."""

    PREDICT = "predict"  # opinions of the model on images that are in no case
    CASES = "cases"  # adding cases, and asking how far they are
    READS = "reads"  # exports of reads without names


def may_hold(role: Role, scope: TokenScope) -> bool:
    """Return whether the tokens of an account may have a scope.

    Whoever reads cases must not get the opinion of the model, or what others said, past the first read.
    """
    reads_cases = Permission.READ_CASES in ALLOWED[role]
    return reads_cases if scope is TokenScope.CASES else not reads_cases


class AccessAction(StrEnum):
    """Actions in the audit trail that concern accounts and access; the words are stored."""

    SIGNED_IN = "signed in"
    SIGN_IN_REFUSED = "sign-in refused"
    SIGNED_OUT = "signed out"
    SIGN_INS_ENDED = "sign-ins ended"
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
class ProvenAccount:
    """An account whose owner has proved their identity, as it was at `changed_at`, and how they proved it."""

    account: Account
    changed_at: datetime
    way: str = "password"


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One API token as an administrator sees it; the token itself is shown once and not stored."""

    id: int
    account: str
    label: str
    created_at: datetime
    revoked_at: datetime | None
    scope: TokenScope | None = None  # None: it shows images as its account may see them


@dataclass(frozen=True, slots=True)
class HeldToken:
    """A valid token: its number, the account for which it acts, and its scope."""

    id: int
    account: Account
    scope: TokenScope | None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a sign-in lasts without a request, and in total."""

    idle: timedelta = timedelta(minutes=30)
    absolute: timedelta = timedelta(hours=12)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.idle <= self.absolute:
            raise ValueError(f"the idle time must be positive and at most {self.absolute}, got {self.idle}")


@dataclass(frozen=True, slots=True)
class Identity:
    """A person as identified by a provider: issuer and subject, and the e-mail address only if it was verified."""

    issuer: str
    subject: str
    email: str = ""

    def __post_init__(self) -> None:
        check_identity_part("issuer", self.issuer)
        check_identity_part("subject", self.subject)
        if self.email != normalise_email(self.email):
            raise ValueError(f"{self.email!r} is not an e-mail address in lower case")


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """One linked identity as an administrator sees it; it has no subject until its first sign-in."""

    id: int
    account: str
    issuer: str
    subject: str
    email: str
    linked_at: datetime
    unlinked_at: datetime | None


def check_identity_part(what: str, part: str) -> None:
    """Refuse an issuer or subject that a provider must not send.

    Raises:
        ValueError: If it is empty, too long or contains invisible characters.
    """
    if not 0 < len(part) <= _LONGEST or not part.isprintable():
        raise ValueError(f"the {what} of an identity must have 1 to {_LONGEST} visible characters")


def normalise_email(typed: str) -> str:
    """Return an e-mail address in lower case for comparison; empty if it is not a plain address."""
    return typed.lower() if len(typed) <= _LONGEST and _EMAIL.fullmatch(typed) else ""
