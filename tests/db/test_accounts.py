"""Accounts that sign in: passwords, roles, disabling, sign-ins and tokens, on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from core import clock
from db import store
from db.database import Sessions
from db.errors import NotAllowedError
from db.values.accounts import AccessAction, Account, Lifetime, Role

pytestmark = pytest.mark.usefixtures("quick_passwords")

PASSWORD = "a long sentence about trees"
OTHER = "another sentence about rivers"


def add(sessions: Sessions, name: str, role: Role = Role.READER) -> Account:
    with sessions.begin() as session:
        return store.accounts.add_signing_account(session, None, name, role, PASSWORD)


def sign_in(sessions: Sessions, name: str, lifetime: Lifetime | None = None) -> str:
    with sessions.read() as session:
        recognised = store.accounts.account_with_password(session, name, PASSWORD)
    assert recognised is not None
    with sessions.begin() as session:
        secret = store.sign_ins.start_sign_in(session, recognised, lifetime or Lifetime())
    assert secret is not None
    return secret


def who(sessions: Sessions, secret: str) -> str | None:
    with sessions.read() as session:
        account = store.sign_ins.signed_in(session, secret)
    return account.name if account else None


def test_nobody_can_sign_in_at_first(sessions: Sessions) -> None:
    with sessions.begin() as session:
        store.accounts.single_reader(session)
    with sessions.read() as session:
        assert not store.accounts.has_accounts(session)
        assert store.accounts.account_with_password(session, store.accounts.single_reader(session).name, "") is None


def test_only_the_right_password_of_an_enabled_account_is_recognised(sessions: Sessions) -> None:
    add(sessions, "dr. a")
    with sessions.read() as session:
        found = store.accounts.account_with_password(session, " dr. a ", PASSWORD)
        assert found is not None
        assert found.account.name == "dr. a"
        for name, password in (("dr. a", OTHER), ("dr. a", ""), ("dr. b", PASSWORD), ("", PASSWORD)):
            assert store.accounts.account_with_password(session, name, password) is None
    with sessions.begin() as session:
        store.accounts.set_disabled(session, None, "dr. a", disabled=True)
    with sessions.read() as session:
        assert store.accounts.account_with_password(session, "dr. a", PASSWORD) is None
        assert store.accounts.has_accounts(session), "disabling the last account must not open single-reader mode"


def test_a_password_is_kept_only_as_an_argon2_hash_of_its_own(sessions: Sessions) -> None:
    add(sessions, "dr. a")
    add(sessions, "dr. b")
    with sessions.read() as session:
        kept = list(session.scalars(text("SELECT password_hash FROM credentials")))
    assert len(set(kept)) == 2
    for found in kept:
        assert found.startswith("$argon2id$")
        assert PASSWORD not in found


@pytest.mark.parametrize("password", ["", "short", "a" * 11, "abababababababab", "x" * 257, "Dr. Anna Schmidt"])
def test_a_bad_password_is_refused_without_being_repeated(sessions: Sessions, password: str) -> None:
    with pytest.raises(ValueError, match="password") as refused, sessions.begin() as session:
        store.accounts.add_signing_account(session, None, "dr. anna schmidt", Role.READER, password)
    assert not password or password not in str(refused.value)
    with sessions.read() as session:
        assert not store.accounts.has_accounts(session)


def test_a_password_typed_on_another_keyboard_is_the_same(sessions: Sessions) -> None:
    with sessions.begin() as session:
        store.accounts.add_signing_account(session, None, "dr. a", Role.READER, "schöne lange Sätze")
    with sessions.read() as session:
        decomposed = "scho\N{COMBINING DIAERESIS}ne lange Sa\N{COMBINING DIAERESIS}tze"
        assert store.accounts.account_with_password(session, "dr. a", decomposed) is not None


def test_a_sign_in_is_recognised_until_it_is_signed_out(sessions: Sessions) -> None:
    add(sessions, "dr. a")
    here, there = sign_in(sessions, "dr. a"), sign_in(sessions, "dr. a")
    assert (who(sessions, here), who(sessions, there)) == ("dr. a", "dr. a")
    with sessions.begin() as session:
        store.sign_ins.end_sign_in(session, here)
    assert (who(sessions, here), who(sessions, there)) == (None, "dr. a")
    for wrong in ("", "x", there[:-1], there.swapcase()):
        assert who(sessions, wrong) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda session: store.accounts.set_disabled(session, None, "dr. a", disabled=True),
        lambda session: store.accounts.set_role(session, None, "dr. a", Role.RESEARCHER),
        lambda session: store.accounts.set_password(session, None, "dr. a", OTHER),
    ],
    ids=["disabled", "role", "password"],
)
def test_every_sign_in_ends_when_the_account_changes(sessions: Sessions, change: Callable[[Session], None]) -> None:
    add(sessions, "dr. a")
    add(sessions, "dr. b")
    ended, kept = [sign_in(sessions, "dr. a") for _ in range(3)], sign_in(sessions, "dr. b")
    with sessions.begin() as session:
        change(session)
    assert [who(sessions, secret) for secret in ended] == [None] * 3
    assert who(sessions, kept) == "dr. b"


def test_enabling_an_account_does_not_revive_its_sign_ins(sessions: Sessions) -> None:
    add(sessions, "dr. a")
    secret = sign_in(sessions, "dr. a")
    for disabled in (True, False):
        with sessions.begin() as session:
            store.accounts.set_disabled(session, None, "dr. a", disabled=disabled)
    assert who(sessions, secret) is None
    assert who(sessions, sign_in(sessions, "dr. a")) == "dr. a"


def test_a_password_that_was_changed_meanwhile_signs_nobody_in(sessions: Sessions) -> None:
    add(sessions, "dr. a")
    with sessions.read() as session:
        recognised = store.accounts.account_with_password(session, "dr. a", PASSWORD)
    assert recognised is not None
    with sessions.begin() as session:
        store.accounts.set_password(session, None, "dr. a", OTHER)
    with sessions.begin() as session:
        assert store.sign_ins.start_sign_in(session, recognised, Lifetime()) is None


def test_a_sign_in_times_out_when_idle_and_at_last_even_in_use(sessions: Sessions) -> None:
    add(sessions, "dr. a")
    secret = sign_in(sessions, "dr. a", Lifetime(timedelta(minutes=30), timedelta(hours=12)))
    assert who(sessions, secret) == "dr. a"
    _move(sessions, "idle_until")
    assert who(sessions, secret) is None
    with sessions.begin() as session:
        store.sign_ins.touch_sign_in(session, secret, Lifetime())
    assert who(sessions, secret) is None, "a sign-in that timed out must not be woken"
    lasting = sign_in(sessions, "dr. a")
    _move(sessions, "expires_at")
    with sessions.begin() as session:
        store.sign_ins.touch_sign_in(session, lasting, Lifetime())
    assert who(sessions, lasting) is None


def _at(monkeypatch: pytest.MonkeyPatch, moved: timedelta) -> None:
    """Move the clocks of the process and the computer; each call moves it from the real time."""
    for name in ("now", "time_of_day"):
        monkeypatch.setattr(clock, name, lambda: datetime.now(UTC) + moved)


def test_an_expired_sign_in_never_lives_again_though_the_clock_is_set_back(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(sessions, "dr. a")
    add(sessions, "dr. b")
    secret = sign_in(sessions, "dr. a", Lifetime(timedelta(minutes=30), timedelta(hours=12)))
    _at(monkeypatch, timedelta(hours=2))
    assert who(sessions, secret) is None
    # Whoever signs in or works meanwhile has what has expired ended for good; then the server starts on a slow clock.
    other = sign_in(sessions, "dr. b")
    _at(monkeypatch, timedelta(minutes=1))
    assert who(sessions, secret) is None
    assert who(sessions, other) is None, "it begins in the future: nobody knows how old it is"


def test_whoever_works_ends_the_expired_sign_ins_of_others(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dr. a", "dr. b"):
        add(sessions, name)
    idle = sign_in(sessions, "dr. a", Lifetime(timedelta(minutes=30), timedelta(hours=12)))
    busy = sign_in(sessions, "dr. b", Lifetime(timedelta(hours=5), timedelta(hours=12)))
    _at(monkeypatch, timedelta(hours=1))
    with sessions.begin() as session:
        store.sign_ins.touch_sign_in(session, busy, Lifetime(timedelta(hours=5), timedelta(hours=12)))
    assert (who(sessions, idle), who(sessions, busy)) == (None, "dr. b")
    with sessions.read() as session:
        ended = store.audit.audit_trail(session, limit=1)[0]
    assert (ended.account, ended.action, ended.subject) == (None, "sign-ins ended", "dr. a")
    _at(monkeypatch, timedelta(0))
    assert (who(sessions, idle), who(sessions, busy)) == (None, None), (
        "the clock was set back: everybody signs in again"
    )


def test_being_used_lets_the_idle_time_begin_anew(sessions: Sessions) -> None:
    add(sessions, "dr. a")
    secret = sign_in(sessions, "dr. a", Lifetime(timedelta(minutes=3), timedelta(hours=1)))
    longer = Lifetime(timedelta(minutes=30), timedelta(hours=1))
    with sessions.begin() as session:
        assert store.sign_ins.needs_touch(session, secret, longer)
        store.sign_ins.touch_sign_in(session, secret, longer)
        assert not store.sign_ins.needs_touch(session, secret, longer), "once a minute is enough"


def test_a_token_works_until_it_is_revoked_or_its_account_shut(sessions: Sessions) -> None:
    account = add(sessions, "robot")
    with sessions.begin() as session:
        first, second = (store.sign_ins.add_token(session, None, account, label) for label in ("nightly", "weekly"))
        number = next(row.id for row in store.sign_ins.token_rows(session, None) if row.label == "nightly")
        store.sign_ins.revoke_token(session, None, number)
    with sessions.read() as session:
        assert store.sign_ins.find_token(session, first) is None
        found = store.sign_ins.find_token(session, second)
        assert found is not None
        assert (found.account, found.scope) == (account, None)
        assert store.sign_ins.signed_in(session, second) is None, "a token is no cookie"
    with sessions.begin() as session:
        store.accounts.set_disabled(session, None, "robot", disabled=True)
        store.accounts.set_disabled(session, None, "robot", disabled=False)
    with sessions.read() as session:
        assert store.sign_ins.find_token(session, second) is None


def test_no_secret_stands_in_the_database_or_the_audit_trail(sessions: Sessions) -> None:
    account = add(sessions, "dr. a")
    cookie = sign_in(sessions, "dr. a")
    with sessions.begin() as session:
        token = store.sign_ins.add_token(session, None, account, "nightly")
    with sessions.read() as session:
        rows = [
            str(tuple(row))
            for table in ("credentials", "sign_ins", "api_tokens", "audit_events")
            for row in session.execute(text(f"SELECT * FROM {table}"))  # noqa: S608
        ]
    for secret in (PASSWORD, cookie, token):
        assert not any(secret in row for row in rows)


def test_every_change_is_recorded_with_who_did_it(sessions: Sessions) -> None:
    admin = add(sessions, "admin", Role.ADMINISTRATOR)
    with sessions.begin() as session:
        store.accounts.add_signing_account(session, admin.id, "dr. a", Role.READER, PASSWORD)
        store.accounts.set_role(session, admin.id, "dr. a", Role.ADJUDICATOR)
        store.accounts.set_disabled(session, admin.id, "dr. a", disabled=True)
        store.accounts.set_disabled(session, admin.id, "dr. a", disabled=False)
        store.accounts.set_password(session, admin.id, "dr. a", OTHER)
    with sessions.read() as session:
        events = [(event.account, event.action, event.subject) for event in store.audit.audit_trail(session, limit=5)]
    assert list(reversed(events)) == [
        ("admin", AccessAction.ACCOUNT_ADDED, "dr. a (reader)"),
        ("admin", AccessAction.ROLE_CHANGED, "dr. a (reader to adjudicator)"),
        ("admin", AccessAction.ACCOUNT_DISABLED, "dr. a"),
        ("admin", AccessAction.ACCOUNT_ENABLED, "dr. a"),
        ("admin", AccessAction.PASSWORD_SET, "dr. a"),
    ]


@pytest.mark.parametrize("role", [Role.READER, Role.ADJUDICATOR, Role.RESEARCHER])
def test_only_an_administrator_manages_accounts(sessions: Sessions, role: Role) -> None:
    by = add(sessions, "somebody", role).id
    account = add(sessions, "dr. a")
    forbidden: list[Callable[[Session], object]] = [
        lambda session: store.accounts.add_signing_account(session, by, "x", Role.ADMINISTRATOR, PASSWORD),
        lambda session: store.accounts.set_role(session, by, "somebody", Role.ADMINISTRATOR),
        lambda session: store.accounts.set_disabled(session, by, "dr. a", disabled=True),
        lambda session: store.accounts.set_password(session, by, "dr. a", OTHER),
        lambda session: store.accounts.account_rows(session, by),
        lambda session: store.sign_ins.token_rows(session, by),
        lambda session: store.sign_ins.add_token(session, by, account, "x"),
        lambda session: store.sign_ins.revoke_token(session, by, 1),
        lambda session: store.models.put_in_service(session, by, "a", "0" * 64, "a"),
    ]
    for act in forbidden:
        with pytest.raises(NotAllowedError), sessions.begin() as session:
            act(session)
    with sessions.begin() as session:
        store.accounts.set_password(session, by, "somebody", OTHER)


def test_an_administrator_cannot_shut_out_or_demote_themselves(sessions: Sessions) -> None:
    by = add(sessions, "admin", Role.ADMINISTRATOR).id
    with pytest.raises(ValueError, match="another administrator"), sessions.begin() as session:
        store.accounts.set_disabled(session, by, "admin", disabled=True)
    with pytest.raises(ValueError, match="another administrator"), sessions.begin() as session:
        store.accounts.set_role(session, by, "admin", Role.READER)


def _move(sessions: Sessions, column: str) -> None:
    """Let this time of every sign-in have passed."""
    with sessions.begin() as session:
        session.execute(text(f"UPDATE sign_ins SET {column} = created_at"))  # noqa: S608
