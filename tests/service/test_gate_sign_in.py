"""Signing in at the gate, on the wire: the form, its cookie, one answer to whatever is wrong, and throttling."""

import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from db import database, store
from db.values.accounts import AccessAction
from service.access.sessions import COOKIE
from tests.helpers.concurrency import wait_until
from tests.helpers.gate import GateClient, running_gate
from tests.helpers.world import PASSWORD


def test_a_browser_is_led_to_the_sign_in_page_and_back(gate: GateClient) -> None:
    reply = gate.ask("/read_case?case=7", Accept="text/html")
    assert reply.status == 303
    assert reply.headers["location"] == "/sign-in?next=/read_case%3Fcase%3D7"
    page = gate.ask(reply.headers["location"]).text
    assert 'name="next" value="/read_case?case=7"' in page
    assert gate.sign_in("dr. a", following="/read_case?case=7").headers["location"] == "/read_case?case=7"


@pytest.mark.parametrize(
    "following",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "evil",
        "/a\\b",
        "/a\r\nX: y",
        "/ a",
        "/sign-out",
        "",
    ],
)
def test_signing_in_never_leads_to_another_site(gate: GateClient, following: str) -> None:
    assert gate.sign_in("dr. a", following=following).headers["location"] == "/"


def test_signing_in_gives_a_cookie_that_scripts_cannot_read(gate: GateClient) -> None:
    reply = gate.sign_in("dr. a")
    assert reply.status == 303
    attributes = {part.strip().lower() for part in reply.headers["set-cookie"].split(";")[1:]}
    # Without a path: it belongs to the folder of the sign-in page, under whatever prefix that is.
    assert attributes == {"httponly", "samesite=lax"}
    assert len(reply.cookie) >= 43
    assert reply.headers["cache-control"] == "no-store"
    passed = gate.ask("/read_case", Cookie=f"{COOKIE}={reply.cookie}")
    assert passed.status == 200
    assert "dr. a" in passed.text
    for wrong in (reply.cookie[:-1], "", "x" * 43, f"{reply.cookie}; {COOKIE}=planted"):
        assert gate.ask("/read_case", Cookie=f"{COOKIE}={wrong}").status == 401


def test_the_sign_in_page_repeats_a_name_only_as_text(gate: GateClient) -> None:
    for name in ('"><script>alert(1)</script>', "' OR 1=1 --", "{next}", "<b>"):
        reply = gate.sign_in(name, "wrong password here")
        assert reply.status == 401
        assert "<script" not in reply.text
        assert "<b>" not in reply.text
        assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "wrong password here" not in reply.text


def test_wrong_name_wrong_password_and_disabled_account_get_the_same_answer(gate: GateClient) -> None:
    gate.add("gone")
    with gate.sessions.begin() as session:
        store.accounts.set_disabled(session, None, "gone", disabled=True)
    replies = [
        gate.sign_in("dr. a", "not this one, sorry"),
        gate.sign_in("dr. b", "not this one, sorry"),
        gate.sign_in("gone"),
    ]
    assert {reply.status for reply in replies} == {401}
    bodies = {reply.text.replace(name, "") for reply, name in zip(replies, ("dr. a", "dr. b", "gone"), strict=True)}
    assert len(bodies) == 1
    with gate.sessions.read() as session:
        refused = [e.subject for e in store.audit.audit_trail(session) if e.action == AccessAction.SIGN_IN_REFUSED]
    assert refused == ["gone", "an unknown name", "dr. a"]


@pytest.mark.slow
def test_an_unknown_name_takes_as_long_as_a_known_one(tmp_path: Path) -> None:
    with running_gate(tmp_path) as gate:
        gate.add("dr. a")

        def seconds(name: str) -> float:
            # The gate runs in this process, and what takes long is the hash: other processes do not count.
            begun = time.process_time()
            assert gate.sign_in(name, "not this one, sorry").status == 401
            return time.process_time() - begun

        seconds("warm")
        known, unknown = [], []
        for number in range(7):
            known.append(seconds("dr. a"))
            unknown.append(seconds(f"nobody {number}"))
    # Without the dummy hash an unknown name is answered ten times faster.
    assert 0.5 < statistics.median(unknown) / statistics.median(known) < 2


def test_nobody_can_lock_a_reader_out_from_elsewhere(tmp_path: Path, quick_passwords: None) -> None:
    with running_gate(tmp_path, "0.0.0.0", behind_proxy=True) as gate:
        gate.add("dr. a")
        wait_until(lambda: gate.ask("/", X_Forwarded_Proto="https").status == 401, seconds=3)

        def attempt(address: str, password: str) -> int:
            sent = {"X_Forwarded_Proto": "https", "X_Forwarded_For": address}
            return gate.sign_in("dr. a", password, Origin=f"https://localhost:{gate.port}", **sent).status

        for _ in range(40):
            attempt("192.0.2.66", "not this one, sorry")
        assert attempt("192.0.2.66", PASSWORD) == 429
        assert attempt("192.0.2.7", PASSWORD) == 303
        # Whoever has one address of IPv6 has a network of them.
        statuses = [attempt(f"2001:db8:1:2::{n:x}", "not this one, sorry") for n in range(1, 12)]
        assert statuses == [401] * 10 + [429]
        assert attempt("2001:db8:1:3::1", PASSWORD) == 303
        # Some proxies write the port too, which is new for each connection.
        assert [attempt(f"192.0.2.8:{port}", "not this one, sorry") for port in range(11)] == [401] * 10 + [429]


def test_a_name_is_throttled_even_with_the_right_password_and_others_are_not(gate: GateClient) -> None:
    gate.add("dr. b")
    for _ in range(10):
        assert gate.sign_in("dr. a", "not this one, sorry").status == 401
    for password in (PASSWORD, "not this one, sorry"):
        reply = gate.sign_in("dr. a", password)
        assert reply.status == 429
        assert 0 < int(reply.headers["retry-after"]) <= 900
    assert gate.sign_in("dr. b").status == 303


def test_an_unknown_name_is_throttled_like_a_known_one(gate: GateClient) -> None:
    statuses = [gate.sign_in("nobody", "not this one, sorry").status for _ in range(11)]
    assert statuses == [401] * 10 + [429]


def test_an_address_is_throttled_whatever_names_it_tries(gate: GateClient) -> None:
    statuses = [gate.sign_in(f"nobody {number}", "not this one, sorry").status for number in range(31)]
    assert statuses == [401] * 30 + [429]
    assert gate.sign_in("dr. a").status == 429


def test_a_form_without_an_origin_is_refused(gate: GateClient) -> None:
    form = urlencode({"name": "dr. a", "password": PASSWORD})
    reply = gate.ask("/sign-in", "POST", form)
    assert (reply.status, reply.cookie) == (403, "")
    cookie = gate.cookie("dr. a")
    gate.ask("/sign-out", "POST", Cookie=cookie)
    gate.ask("/sign-out", Cookie=cookie)
    assert gate.ask("/", Cookie=cookie).status == 200


@pytest.mark.parametrize(
    "body",
    ["name=dr.+a", "password=x", "name=a&name=b&password=x", "name=%ff&password=x", "name=a%00&password=x", "x" * 9000],
)
def test_what_is_not_our_form_is_refused_without_an_error(gate: GateClient, body: str) -> None:
    assert gate.ask("/sign-in", "POST", body, Origin=f"http://localhost:{gate.port}").status == 400


def test_a_locked_database_is_told_on_the_sign_in_page_which_keeps_the_name(
    tmp_path: Path, quick_passwords: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    with running_gate(tmp_path) as client:
        client.add("dr. a")
        cookie = client.cookie("dr. a")
        with closing(sqlite3.connect(tmp_path / "gate.sqlite", isolation_level=None)) as other:
            # Others may still read, so that the gate lets the form through.
            other.execute("BEGIN IMMEDIATE")
            refused = client.sign_in("dr. a", following="/read_case?case=7")
            staying = client.ask("/sign-out", "POST", Cookie=cookie, Origin=f"http://localhost:{client.port}")
            other.execute("ROLLBACK")
        assert (refused.status, staying.status) == (503, 503)
        for reply in (refused, staying):
            assert "The database is busy. Please try again in a moment." in reply.text
        assert 'value="dr. a"' in refused.text
        assert 'name="next" value="/read_case?case=7"' in refused.text
        assert client.sign_in("dr. a").status == 303
