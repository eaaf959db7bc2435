"""Authenticate requests by cookie or API token, sign people in and out, and limit failed attempts."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from starlette.datastructures import Headers

from core.settings import Settings
from db import store
from db.database import Sessions
from db.values.accounts import Identity, Lifetime
from db.values.reading import Account
from service.access.providers import Providers

# More keys than honest readers ever make; beyond it the longest unused one is forgotten.
_KEYS_KEPT = 10_000

COOKIE = "second_read"

_WINDOW_SECONDS = 15 * 60.0
_PER_NAME, _PER_ADDRESS = 10, 30
_BEHIND_PROXY = 10  # times as many: all readers have the proxy's address

# The first account shuts out everybody else within this time.
_NO_ACCOUNTS_KNOWN_SECONDS = 1.0


class Throttle:
    """Allows so many attempts for each key within a time that moves along."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, deque[float]] = OrderedDict()

    def attempt(self, key: str) -> float:
        """Count an attempt and give 0, or give the seconds to wait; those who wait are not counted again.

        Counted before the password is looked at: a hundred attempts at once are a hundred attempts.
        """
        now = self._clock()
        with self._lock:
            attempts = self._attempts.setdefault(key, deque())
            self._attempts.move_to_end(key)
            while len(self._attempts) > _KEYS_KEPT:
                self._attempts.popitem(last=False)
            while attempts and now - attempts[0] >= self._seconds:
                attempts.popleft()
            if len(attempts) >= self._most:
                return attempts[0] + self._seconds - now
            attempts.append(now)
            return 0.0

    def forgive(self, key: str) -> None:
        """Take back the last attempt of a key: it was right."""
        with self._lock:
            attempts = self._attempts.get(key)
            if attempts:
                attempts.pop()


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, and by what we know it."""

    account: Account
    secret: str
    by: Literal["cookie", "token"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an attempt to sign in: the secret for the cookie, or seconds to wait, or neither."""

    secret: str | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a verified identity: the secret for the cookie, or whether at least an account is linked."""

    secret: str | None = None
    known: bool = False


def lifetime_of(settings: Settings) -> Lifetime:
    """Give how long a sign-in lasts in this installation; never idle for longer than at all."""
    absolute = timedelta(hours=settings.signed_in_hours)
    return Lifetime(min(timedelta(minutes=settings.idle_minutes), absolute), absolute)


class Access:
    """Asks the database on behalf of the gate; every method blocks, so it runs in a thread."""

    def __init__(
        self,
        sessions: Sessions,
        lifetime: Lifetime,
        *,
        behind_proxy: bool = False,
        providers: Providers | None = None,
    ) -> None:
        self.lifetime = lifetime
        self.behind_proxy = behind_proxy
        self.providers = providers
        self._sessions = sessions
        self._names = Throttle(_PER_NAME, _WINDOW_SECONDS)
        self._addresses = Throttle(_PER_ADDRESS * (_BEHIND_PROXY if behind_proxy else 1), _WINDOW_SECONDS)
        self._with_accounts = False
        self._looked = -_NO_ACCOUNTS_KNOWN_SECONDS

    def has_accounts(self) -> bool:
        """Say whether anybody can sign in; once they can, for ever, because accounts are never deleted."""
        if not self._with_accounts and time.monotonic() - self._looked >= _NO_ACCOUNTS_KNOWN_SECONDS:
            with self._sessions.read() as session:
                self._with_accounts = store.accounts.has_accounts(session)
            self._looked = time.monotonic()
        return self._with_accounts

    def visitor(self, headers: Headers, *, active: bool) -> Visitor | None:
        """Say who sent these headers; None if they name nobody who is signed in. `active` keeps a sign-in awake."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            with self._sessions.read() as session:
                account = store.sign_ins.token_account(session, token.strip())
            return Visitor(account, token.strip(), "token") if account else None
        secret = cookie_secret(headers.getlist("cookie"))
        if not secret:
            return None
        with self._sessions.read() as session:
            account = store.sign_ins.signed_in(session, secret)
            tired = active and account is not None and store.sign_ins.needs_touch(session, secret, self.lifetime)
        if tired:
            self._touch(secret)
        return Visitor(account, secret, "cookie") if account else None

    def is_still(self, visitor: Visitor, *, active: bool) -> bool:
        """Say whether a visitor is still signed in, with the account as it was."""
        with self._sessions.read() as session:
            account = store.sign_ins.signed_in(session, visitor.secret)
            tired = (
                active and account is not None and store.sign_ins.needs_touch(session, visitor.secret, self.lifetime)
            )
        if tired:
            self._touch(visitor.secret)
        return account == visitor.account

    def sign_in(self, name: str, password: str, address: str) -> Answer:
        """Try to sign in; the answer and its time do not tell whether the name exists."""
        name = name.strip()
        wait = self._addresses.attempt(address) or self._names.attempt(name)
        if wait:
            return Answer(wait_seconds=wait)
        with self._sessions.read() as session:
            recognised = store.accounts.account_with_password(session, name, password)
            known = store.accounts.account_named(session, name)
        with self._sessions.begin() as session:
            secret = store.sign_ins.start_sign_in(session, recognised, self.lifetime) if recognised else None
            if secret is None:
                # Not what was typed: that may be a password in the wrong field.
                subject = known.name if known else "an unknown name"
                store.sign_ins.record_refused_sign_in(session, subject)
        if secret:
            self._names.forgive(name)
            self._addresses.forgive(address)
        return Answer(secret)

    def wait_before_leaving(self, address: str) -> float:
        """Give the seconds to wait before this address may be sent to a provider again; 0 for none."""
        return self._addresses.attempt(address)

    def sign_in_as(self, identity: Identity, way: str, address: str) -> Arrival:
        """Sign in the account that a verified identity is linked to."""
        with self._sessions.begin() as session:
            recognised = store.identities.account_with_identity(session, identity, way)
            secret = store.sign_ins.start_sign_in(session, recognised, self.lifetime) if recognised else None
            if secret is None:
                who = recognised.account.name if recognised else "an identity that no account is linked to"
                store.sign_ins.record_refused_sign_in(session, f"{who[:100]} (by {way[:80]})")
        if secret:
            self._addresses.forgive(address)
        return Arrival(secret, recognised is not None)

    def sign_out(self, secret: str) -> None:
        """End the sign-in of one browser, in all its tabs."""
        with self._sessions.begin() as session:
            store.sign_ins.end_sign_in(session, secret)

    def _touch(self, secret: str) -> None:
        with self._sessions.begin() as session:
            store.sign_ins.touch_sign_in(session, secret, self.lifetime)


def cookie_secret(lines: Sequence[str]) -> str:
    """Give what our cookie holds, of all Cookie headers; empty without it, or with two: one of them was planted."""
    found = []
    for line in lines:
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == COOKIE:
                found.append(value)
    return found[0] if len(found) == 1 else ""
