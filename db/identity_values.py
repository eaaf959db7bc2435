"""The plain values of identities: who somebody is at an identity provider, and the account that is linked to it."""

import re
from dataclasses import dataclass
from datetime import datetime

_LONGEST = 255  # characters, as OpenID Connect Core allows for a subject
# Only ASCII: some letters of other alphabets become Latin ones when they are made small.
_EMAIL = re.compile(r"[!-?A-~]+@[!-?A-~]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, as a provider vouches for: issuer and subject, and the address only if it was verified."""

    issuer: str
    subject: str
    email: str = ""

    def __post_init__(self) -> None:
        check_identity_part("issuer", self.issuer)
        check_identity_part("subject", self.subject)
        if self.email != plain_email(self.email):
            raise ValueError(f"{self.email!r} is no e-mail address in small letters")


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """One linked identity as an administrator sees it; without a subject it has not signed in yet."""

    id: int
    account: str
    issuer: str
    subject: str
    email: str
    linked_at: datetime
    unlinked_at: datetime | None


def check_identity_part(what: str, part: str) -> None:
    """Refuse an issuer or subject that no provider may send.

    Raises:
        ValueError: If it is empty, too long or cannot be seen.
    """
    if not 0 < len(part) <= _LONGEST or not part.isprintable():
        raise ValueError(f"the {what} of an identity has 1 to {_LONGEST} visible characters")


def plain_email(typed: str) -> str:
    """Give an address as it is compared: in small letters; empty for what is no plain address."""
    return typed.lower() if len(typed) <= _LONGEST and _EMAIL.fullmatch(typed) else ""
