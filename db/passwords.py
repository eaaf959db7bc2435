"""Passwords: which are good enough, how they are kept, and whether one is right."""

import secrets
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# NIST SP 800-63B asks for length and nothing else: rules on kinds of characters make passwords worse.
SHORTEST, LONGEST = 12, 256  # characters

# Argon2id with the first choice of RFC 9106 for little memory (64 MiB), which is the library's own.
_HASHER = PasswordHasher()


def check_password_rules(password: str, name: str) -> None:
    """Refuse a password that is too short, too long or hardly a secret.

    Raises:
        ValueError: If it may not be used; the message never repeats it.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"a password has {SHORTEST} to {LONGEST} characters; a sentence is easy to keep in mind")
    if len(set(password)) < 5:
        raise ValueError("this password repeats too few characters; a sentence is easy to keep in mind")
    if password.strip().casefold() == name.strip().casefold():
        raise ValueError("a password must not be the name of the account")


def hash_password(password: str) -> str:
    """Give what is kept of a password: Argon2id with a salt of its own."""
    return _HASHER.hash(_same_everywhere(password))


def is_right(password: str, kept: str | None) -> bool:
    """Say whether a password is the one that was kept; as slow when nothing was kept.

    Else the time of an answer would tell which names exist.
    """
    try:
        return _HASHER.verify(kept or _nobodys_hash(), _same_everywhere(password)) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys_hash() -> str:
    return _HASHER.hash(secrets.token_urlsafe(32))


def _same_everywhere(password: str) -> str:
    # Another keyboard may compose the same letter differently.
    return unicodedata.normalize("NFKC", password)
