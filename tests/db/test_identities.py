"""Identities of providers, linked to accounts by an administrator; on both databases."""

import pytest
from sqlalchemy.exc import IntegrityError

from db import store, tables
from db.database import Sessions
from db.errors import NotAllowedError
from db.values.accounts import AccessAction, Account, Identity, Lifetime, Role, normalise_email
from tests.helpers.world import PASSWORD

pytestmark = pytest.mark.usefixtures("quick_passwords")

CLINIC, OTHER = "https://id.clinic.example", "https://id.other.example"


def _add(sessions: Sessions, name: str, role: Role = Role.READER) -> Account:
    with sessions.begin() as session:
        return store.accounts.add_signing_account(session, None, name, role, PASSWORD)


def _link(sessions: Sessions, name: str, *, subject: str = "", email: str = "", issuer: str = CLINIC) -> None:
    with sessions.begin() as session:
        store.identities.link_identity(session, None, name, issuer, subject=subject, email=email)


def _who(sessions: Sessions, identity: Identity) -> str | None:
    with sessions.begin() as session:
        found = store.identities.account_with_identity(session, identity, "clinic")
    return found.account.name if found else None


def test_only_the_linked_identity_is_recognised(sessions: Sessions) -> None:
    _add(sessions, "dr. a")
    _link(sessions, " dr. a ", subject=" 4711 ")
    assert _who(sessions, Identity(CLINIC, "4711")) == "dr. a"
    for issuer, subject, email in (
        (CLINIC, "4712", ""),
        (OTHER, "4711", ""),
        (f"{CLINIC}/", "4711", ""),
        (CLINIC, "dr. a", "dr.a@clinic.example"),
    ):
        assert _who(sessions, Identity(issuer, subject, email)) is None


def test_an_address_counts_once_and_only_at_its_provider(sessions: Sessions) -> None:
    _add(sessions, "dr. a")
    _link(sessions, "dr. a", email="A.Doctor@Clinic.example")
    assert _who(sessions, Identity(CLINIC, "1")) is None
    assert _who(sessions, Identity(OTHER, "1", "a.doctor@clinic.example")) is None
    assert _who(sessions, Identity(CLINIC, "1", "a.doctor@clinic.example")) == "dr. a"
    assert _who(sessions, Identity(CLINIC, "2", "a.doctor@clinic.example")) is None
    assert _who(sessions, Identity(CLINIC, "1", "married@clinic.example")) == "dr. a"
    with sessions.read() as session:
        (row,) = store.identities.identity_rows(session, None)
        events = [(event.account, event.action, event.subject) for event in store.audit.audit_trail(session, limit=2)]
    assert (row.account, row.issuer, row.subject, row.email) == ("dr. a", CLINIC, "1", "a.doctor@clinic.example")
    assert events == [
        ("dr. a", AccessAction.IDENTITY_LINKED, f"dr. a: 1 at {CLINIC}"),
        (None, AccessAction.IDENTITY_LINKED, f"dr. a: a.doctor@clinic.example at {CLINIC}"),
    ]


def test_a_disabled_account_is_named_and_neither_signed_in_nor_bound(sessions: Sessions) -> None:
    _add(sessions, "dr. a")
    _link(sessions, "dr. a", email="a@clinic.example")
    with sessions.begin() as session:
        store.accounts.set_disabled(session, None, "dr. a", disabled=True)
    with sessions.begin() as session:
        found = store.identities.account_with_identity(session, Identity(CLINIC, "1", "a@clinic.example"), "clinic")
        assert found is not None
        assert store.sign_ins.start_sign_in(session, found, Lifetime()) is None
        assert store.identities.identity_rows(session, None)[0].subject == ""


def test_an_identity_belongs_to_one_account_until_it_is_unlinked(sessions: Sessions) -> None:
    _add(sessions, "dr. a")
    _add(sessions, "dr. b")
    _link(sessions, "dr. a", subject="4711")
    _link(sessions, "dr. a", email="a@clinic.example")
    _link(sessions, "dr. b", subject="4711", issuer=OTHER)
    for again in ({"subject": "4711"}, {"email": "A@clinic.example"}):
        with pytest.raises(ValueError, match="already linked"):
            _link(sessions, "dr. b", **again)
    with sessions.begin() as session:
        for row in store.identities.identity_rows(session, None):
            store.identities.unlink_identity(session, None, row.id)
            store.identities.unlink_identity(session, None, row.id)
    assert _who(sessions, Identity(CLINIC, "4711", "a@clinic.example")) is None
    _link(sessions, "dr. b", subject="4711")
    assert _who(sessions, Identity(CLINIC, "4711")) == "dr. b"
    with sessions.read() as session:
        rows = store.identities.identity_rows(session, None)
        unlinked = [e for e in store.audit.audit_trail(session) if e.action == AccessAction.IDENTITY_UNLINKED]
    assert [(row.account, row.unlinked_at is None) for row in rows] == [
        ("dr. b", True),
        ("dr. b", False),
        ("dr. a", False),
        ("dr. a", False),
    ]
    assert len(unlinked) == 3


def test_the_database_itself_refuses_a_second_link_and_one_that_names_nobody(sessions: Sessions) -> None:
    _add(sessions, "dr. a")
    _link(sessions, "dr. a", subject="4711")
    with sessions.read() as session:
        linked = store.identities.identity_rows(session, None)[0]
    for subject in ("4711", None):
        row = tables.LinkedIdentity(account_id=1, issuer=CLINIC, subject=subject, linked_at=linked.linked_at)
        with pytest.raises(IntegrityError), sessions.begin() as session:
            session.add(row)


def test_unlinking_ends_every_sign_in(sessions: Sessions) -> None:
    _add(sessions, "dr. a")
    _link(sessions, "dr. a", subject="4711")
    with sessions.begin() as session:
        found = store.identities.account_with_identity(session, Identity(CLINIC, "4711"), "clinic")
        assert found is not None
        secret = store.sign_ins.start_sign_in(session, found, Lifetime())
    assert secret is not None
    with sessions.begin() as session:
        store.identities.unlink_identity(session, None, 1)
        assert store.sign_ins.signed_in(session, secret) is None


def test_an_account_without_a_password_signs_in_by_its_identity(sessions: Sessions) -> None:
    with sessions.begin() as session:
        account = store.accounts.add_signing_account(session, None, "dr. a", Role.READER, None)
        assert store.accounts.account_rows(session, None)[0].can_sign_in
    _link(sessions, "dr. a", subject="4711")
    with sessions.begin() as session:
        for password in ("", PASSWORD):
            assert store.accounts.account_with_password(session, "dr. a", password) is None
        found = store.identities.account_with_identity(session, Identity(CLINIC, "4711"), "clinic")
        assert found is not None
        secret = store.sign_ins.start_sign_in(session, found, Lifetime())
        assert secret is not None
        assert store.sign_ins.signed_in(session, secret) == account


@pytest.mark.parametrize("role", [Role.READER, Role.ADJUDICATOR, Role.RESEARCHER])
def test_only_administrators_link_and_look(sessions: Sessions, role: Role) -> None:
    by = _add(sessions, "dr. a", role).id
    _link(sessions, "dr. a", subject="4711")
    with sessions.begin() as session:
        with pytest.raises(NotAllowedError):
            store.identities.link_identity(session, by, "dr. a", CLINIC, subject="1")
        with pytest.raises(NotAllowedError):
            store.identities.unlink_identity(session, by, 1)
        with pytest.raises(NotAllowedError):
            store.identities.identity_rows(session, by)
    assert _who(sessions, Identity(CLINIC, "4711")) == "dr. a"


@pytest.mark.parametrize(
    ("name", "issuer", "subject", "email", "says"),
    [
        ("nobody", CLINIC, "1", "", "no account 'nobody'"),
        ("reader", CLINIC, "1", "", "no account 'reader' that can sign in"),
        ("dr. a", "", "1", "", "issuer"),
        ("dr. a", CLINIC, "", "", "either"),
        ("dr. a", CLINIC, "1", "a@clinic.example", "either"),
        ("dr. a", CLINIC, "1\n2", "", "subject"),
        ("dr. a", CLINIC, "x" * 256, "", "subject"),
        ("dr. a", "x" * 256, "1", "", "issuer"),
        ("dr. a", CLINIC, "", "no address", "not an e-mail address"),
        ("dr. a", CLINIC, "", "a@b@clinic.example", "not an e-mail address"),
        ("dr. a", CLINIC, "", "\u212aate@clinic.example", "not an e-mail address"),
    ],
)
def test_what_no_provider_would_send_is_not_linked(
    sessions: Sessions, name: str, issuer: str, subject: str, email: str, says: str
) -> None:
    _add(sessions, "dr. a")
    with sessions.begin() as session:
        store.accounts.single_reader(session)
    with pytest.raises(ValueError, match=says):
        _link(sessions, name, subject=subject, email=email, issuer=issuer)
    with sessions.read() as session:
        assert store.identities.identity_rows(session, None) == []


def test_an_address_is_compared_in_small_latin_letters() -> None:
    assert normalise_email("A.Doctor+x@Clinic.example") == "a.doctor+x@clinic.example"
    # The sign of Kelvin becomes a Latin k when it is made small: another person's address.
    for other in (
        "\u212aate@clinic.example",
        "",
        "@clinic.example",
        "a@",
        "a b@clinic.example",
        "x" * 250 + "@y.example",
    ):
        assert normalise_email(other) == ""
    with pytest.raises(ValueError, match="e-mail"):
        Identity(CLINIC, "1", "A@clinic.example")
