"""Numbers in place of names: shuffled by a key, so that their order tells nothing of when a case or reader came."""

import hashlib
import secrets
from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import models

_DIGITS = 8  # of a lasting pseudonym; among 10,000 cases two are alike once in a hundred installations


def new_key() -> str:
    """Make a key that nobody knows and nobody keeps: what is numbered with it cannot be matched with another export."""
    return secrets.token_hex(16)


def lasting_key(session: Session) -> str:
    """Give a key that stays the same in this database and differs in every other: the hash of its first event."""
    return session.scalar(select(models.AuditEvent.hash).order_by(models.AuditEvent.id).limit(1)) or new_key()


def shuffled_numbers(names: Iterable[str], key: str) -> Mapping[str, int]:
    """Number names from 1, in an order that only the key decides."""
    ordered = sorted(set(names), key=lambda name: _digest(name, key))
    return {name: number for number, name in enumerate(ordered, start=1)}


def pseudonym(name: str, key: str) -> str:
    """Give the same eight digits for a name whatever else there is, so that later names change nothing."""
    return _digest(name, key)[:_DIGITS]


def _digest(name: str, key: str) -> str:
    return hashlib.blake2b(name.encode(), key=key.encode()[:64], digest_size=16).hexdigest()
