"""Authentication by cookie or API token, sign-in and sign-out, and limits on failed attempts."""

import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from starlette.datastructures import Headers

from core import clock
from core.settings import Settings
from db import store
from db.database import Sessions
from db.values.accounts import Account, HeldToken, Identity, Lifetime
from service.access.providers import Providers

COOKIE = "second_read"

# More names and addresses than real readers ever use; beyond it, the least recently used one is forgotten.
_MOST_KEYS = 10_000

_WINDOW_SECONDS = 15 * 60.0
_ATTEMPTS_PER_NAME, _ATTEMPTS_PER_ADDRESS = 10, 30  # within the window
_PROXY_FACTOR = 10  # more attempts per address, because readers share that of a proxy that does not tell theirs
_IPV6_NETWORK_BITS = 64  # what one household or office is given; its computers choose the other half themselves

# After the first account is created, requests without a sign-in are refused within this time.
_NO_ACCOUNTS_CACHED_SECONDS = 1.0


class Throttle:
    """Limits the attempts for each key within a sliding time window."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._attempts: OrderedDict[str, deque[float]] = OrderedDict()

    def attempt(self, key: str) -> float:
        """Count an attempt and return 0, or return the seconds to wait without counting it.

        Attempts are counted before the password is checked, so that simultaneous attempts count in full.
        """
        now = self._clock()
        with self._lock:
            attempts = self._attempts.setdefault(key, deque())
            self._attempts.move_to_end(key)
            while len(self._attempts) > _MOST_KEYS:
                self._attempts.popitem(last=False)
            while attempts and now - attempts[0] >= self._seconds:
                attempts.popleft()
            if len(attempts) >= self._most:
                return attempts[0] + self._seconds - now
            attempts.append(now)
            return 0.0

    def forgive(self, key: str) -> None:
        """Remove the last attempt of a key from the count, because it succeeded."""
        with self._lock:
            attempts = self._attempts.get(key)
            if attempts:
                attempts.pop()


@dataclass(frozen=True, slots=True)
class Visitor:
    """The account behind a request, and the credential that identifies it: a cookie, or the secret of a `token`."""

    account: Account
    secret: str
    token: HeldToken | None = None


@dataclass(frozen=True, slots=True)
class PasswordSignIn:
    """Result of a sign-in with a password: the secret for the cookie, the seconds to wait, or neither."""

    secret: str | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class IdentitySignIn:
    """Result of a sign-in with a verified identity: the secret for the cookie, and whether an account is linked."""

    secret: str | None = None
    known: bool = False


def lifetime_of(settings: Settings) -> Lifetime:
    """Return how long a sign-in lasts in this installation; the idle time never exceeds the total time."""
    absolute = timedelta(hours=settings.signed_in_hours)
    return Lifetime(min(timedelta(minutes=settings.idle_minutes), absolute), absolute)


class Access:
    """Queries the database for the gate; every method blocks and must run in a thread."""

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
        self._names = Throttle(_ATTEMPTS_PER_NAME, _WINDOW_SECONDS)
        self._addresses = Throttle(_ATTEMPTS_PER_ADDRESS * (_PROXY_FACTOR if behind_proxy else 1), _WINDOW_SECONDS)
        self._has_accounts = False
        self._checked_at = -_NO_ACCOUNTS_CACHED_SECONDS

    def has_accounts(self) -> bool:
        """Return whether there are accounts; a True is cached for good, because accounts are never deleted."""
        if not self._has_accounts and time.monotonic() - self._checked_at >= _NO_ACCOUNTS_CACHED_SECONDS:
            with self._sessions.read() as session:
                self._has_accounts = store.accounts.has_accounts(session)
            self._checked_at = time.monotonic()
        return self._has_accounts

    def visitor(self, headers: Headers, *, active: bool) -> Visitor | None:
        """Return who sent these headers; None without a valid sign-in or token.

        An `active` request extends the sign-in; one that the browser sends on its own does not.
        """
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            with self._sessions.read() as session:
                token = store.sign_ins.find_token(session, secret.strip())
            return Visitor(token.account, secret.strip(), token) if token else None
        secret = cookie_secret(headers.getlist("cookie"))
        if not secret:
            return None
        self._check_clock()
        with self._sessions.read() as session:
            account = store.sign_ins.signed_in(session, secret)
            is_due = active and account is not None and store.sign_ins.needs_touch(session, secret, self.lifetime)
        if is_due:
            self._touch(secret)
        return Visitor(account, secret) if account else None

    def is_still(self, visitor: Visitor, *, active: bool) -> bool:
        """Return whether a visitor is still signed in and the account is unchanged."""
        self._check_clock()
        with self._sessions.read() as session:
            account = store.sign_ins.signed_in(session, visitor.secret)
            is_due = (
                active and account is not None and store.sign_ins.needs_touch(session, visitor.secret, self.lifetime)
            )
        if is_due:
            self._touch(visitor.secret)
        return account == visitor.account

    def sign_in(self, name: str, password: str, address: str) -> PasswordSignIn:
        """Try to sign in; neither the result nor its timing reveals whether the name exists."""
        name = name.strip()
        network = _network_of(address)
        # By name and address together: with wrong passwords, nobody can lock the owner of a name out elsewhere.
        name_there = f"{network} {name}"
        wait = self._addresses.attempt(network) or self._names.attempt(name_there)
        if wait:
            return PasswordSignIn(wait_seconds=wait)
        self._check_clock()
        with self._sessions.read() as session:
            recognised = store.accounts.account_with_password(session, name, password)
            known = store.accounts.account_named(session, name)
        with self._sessions.begin() as session:
            secret = store.sign_ins.start_sign_in(session, recognised, self.lifetime) if recognised else None
            if secret is None:
                # Never record the typed text: it may be a password entered in the wrong field.
                subject = known.name if known else "an unknown name"
                store.sign_ins.record_refused_sign_in(session, subject)
        if secret:
            self._names.forgive(name_there)
            self._addresses.forgive(network)
        return PasswordSignIn(secret)

    def wait_before_leaving(self, address: str) -> float:
        """Return the seconds this address must wait before it is sent to a provider again; 0 for none."""
        return self._addresses.attempt(_network_of(address))

    def sign_in_as(self, identity: Identity, way: str, address: str) -> IdentitySignIn:
        """Sign in the account that is linked to a verified identity; `way` is the label of the provider."""
        self._check_clock()
        with self._sessions.begin() as session:
            recognised = store.identities.account_with_identity(session, identity, way)
            secret = store.sign_ins.start_sign_in(session, recognised, self.lifetime) if recognised else None
            if secret is None:
                who = recognised.account.name if recognised else "an identity that no account is linked to"
                store.sign_ins.record_refused_sign_in(session, f"{who[:100]} (by {way[:80]})")
        if secret:
            self._addresses.forgive(_network_of(address))
        return IdentitySignIn(secret, recognised is not None)

    def sign_out(self, secret: str) -> None:
        """End the sign-in of one browser, in all its tabs."""
        with self._sessions.begin() as session:
            store.sign_ins.end_sign_in(session, secret)

    def _check_clock(self) -> None:
        """Save that the clock was set back, which ends every sign-in: what has timed out would count again."""
        if clock.was_set_back():
            with self._sessions.begin():
                pass

    def _touch(self, secret: str) -> None:
        with self._sessions.begin() as session:
            store.sign_ins.touch_sign_in(session, secret, self.lifetime)


def _network_of(address: str) -> str:
    """Return what attempts from an address are counted by: itself, or for IPv6 the network that it is in."""
    for written in (address, address.rpartition(":")[0].strip("[]")):  # some proxies add the port
        try:
            ip = ipaddress.ip_address(written)
        except ValueError:
            continue
        if isinstance(ip, ipaddress.IPv6Address):
            return str(ip.ipv4_mapped or ipaddress.ip_network((ip, _IPV6_NETWORK_BITS), strict=False))
        return str(ip)
    return address


def cookie_secret(lines: Sequence[str]) -> str:
    """Return the value of our cookie in all Cookie headers; empty without it, or with two: one of them was planted."""
    values = []
    for line in lines:
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == COOKIE:
                values.append(value)
    return values[0] if len(values) == 1 else ""
