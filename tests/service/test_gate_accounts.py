"""The gate with accounts, on the wire: what it lets through and to whom, dead websockets, proxies and TLS."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from db import store, tables
from db.values.accounts import Lifetime, Role
from service.access.sessions import COOKIE
from tests.helpers.concurrency import wait_until
from tests.helpers.gate import SECRET, GateClient, ask_gate_itself, running_gate
from tests.helpers.world import PASSWORD


def _socket(gate: GateClient, cookie: str = "", **headers: str) -> ClientConnection:
    sent = ({"Cookie": cookie} if cookie else {}) | headers
    return connect(f"ws://localhost:{gate.port}/_stcore/stream", additional_headers=sent)


def _resume(gate: GateClient, cookie: str, tab: str) -> ClientConnection:
    """Connect as a browser does that lost its connection."""
    protocols = [Subprotocol("streamlit"), Subprotocol("xsrf"), Subprotocol(tab)]
    where = f"ws://localhost:{gate.port}/_stcore/stream"
    return connect(where, additional_headers={"Cookie": cookie}, subprotocols=protocols)


def test_the_first_account_ends_single_reader_mode(tmp_path: Path, quick_passwords: None) -> None:
    with running_gate(tmp_path) as gate:
        assert gate.ask("/").status == 200
        gate.add("dr. a")
        wait_until(lambda: gate.ask("/").status == 401, seconds=3)


def test_without_a_sign_in_nothing_passes_but_health_and_the_sign_in_page(gate: GateClient) -> None:
    for path in ("/", "/read_case", "/images/1", "/media/x.png", "/_stcore/metrics", "/_stcore/upload_file/a/b"):
        for method in ("GET", "PUT", "POST", "DELETE"):
            reply = gate.ask(path, method)
            assert (reply.status, SECRET in reply.text) == (401, False), (path, method)
    with pytest.raises(InvalidStatus) as refused:
        _socket(gate)
    assert refused.value.response.status_code == 403
    assert gate.ask("/health").status == 200
    assert 'type="password"' in gate.ask("/sign-in").text
    for near in ("/sign-in/", "/sign-in/../read_case", "//sign-in", "/Sign-in", "/health/"):
        assert gate.ask(near).status == 401, near


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://localhost.evil.example"]
)
def test_another_site_can_neither_sign_in_nor_use_a_sign_in(gate: GateClient, origin: str) -> None:
    assert gate.sign_in("dr. a", Origin=origin).status == 403
    cookie = gate.cookie("dr. a")
    for path, method in (("/", "GET"), ("/_stcore/upload_file/a/b", "PUT"), ("/sign-out", "POST")):
        assert gate.ask(path, method, Cookie=cookie, Origin=origin).status == 403
    with pytest.raises(InvalidStatus):
        _socket(gate, cookie, Origin=origin)
    assert gate.ask("/", Cookie=cookie).status == 200


def test_signing_out_ends_it_in_every_tab_and_nowhere_else(gate: GateClient) -> None:
    here, there = gate.cookie("dr. a"), gate.cookie("dr. a")
    with _socket(gate, here) as first, _socket(gate, here) as second, _socket(gate, there) as other:
        for tab in (first, second, other):
            assert tab.recv() == SECRET
        reply = gate.ask("/sign-out", "POST", Cookie=here, Origin=f"http://localhost:{gate.port}")
        assert reply.status == 303
        for tab in (first, second):
            assert _closes(tab)
        other.send("still here")
        assert other.recv() == "heard"
    assert gate.ask("/", Cookie=here).status == 401
    assert gate.ask("/", Cookie=there).status == 200


def test_signing_in_again_ends_what_was_before_in_this_browser(gate: GateClient) -> None:
    gate.add("dr. b")
    before = gate.cookie("dr. a")
    assert gate.sign_in("dr. b", Cookie=before).status == 303
    assert gate.ask("/", Cookie=before).status == 401


@pytest.mark.parametrize(
    "change",
    [
        lambda gate: _commit(gate, lambda s: store.accounts.set_disabled(s, None, "dr. a", disabled=True)),
        lambda gate: _commit(gate, lambda s: store.accounts.set_role(s, None, "dr. a", Role.RESEARCHER)),
        lambda gate: _commit(gate, lambda s: store.accounts.set_password(s, None, "dr. a", "quite another sentence")),
        lambda gate: _commit(gate, lambda s: s.execute(text("UPDATE sign_ins SET idle_until = created_at"))),
        lambda gate: _commit(gate, lambda s: s.execute(text("UPDATE sign_ins SET expires_at = created_at"))),
    ],
    ids=["disabled", "role", "password", "idle", "absolute"],
)
def test_an_open_page_dies_with_its_sign_in(gate: GateClient, change: Callable[[GateClient], None]) -> None:
    cookie = gate.cookie("dr. a")
    with _socket(gate, cookie) as silent, _socket(gate, cookie) as busy:
        assert (silent.recv(), busy.recv()) == (SECRET, SECRET)
        change(gate)
        busy.send("a click after the end")
        assert _closes(busy)
        assert _closes(silent)
    assert gate.ask("/", Cookie=cookie).status == 401
    assert "a click after the end" not in gate.heard
    wait_until(lambda: gate.heard.count("closed") == 2, seconds=20)


@pytest.mark.slow
def test_using_a_page_keeps_a_sign_in_awake_and_leaving_it_open_does_not(tmp_path: Path, quick_passwords: None) -> None:
    with running_gate(tmp_path, lifetime=Lifetime(timedelta(minutes=30), timedelta(hours=9))) as gate:
        gate.add("dr. a")
        used, left = gate.cookie("dr. a"), gate.cookie("dr. a")
        with _socket(gate, used) as busy, _socket(gate, left) as silent:
            assert (busy.recv(), silent.recv()) == (SECRET, SECRET)
            for _ in range(8):
                _let_pass(gate, timedelta(minutes=5))
                busy.send("a click")
                assert busy.recv() == "heard"
                gate.ask("/_stcore/health", Cookie=left)
            assert _closes(silent)
        assert gate.ask("/", Cookie=used).status == 200
        assert gate.ask("/", Cookie=left).status == 401


def test_a_request_keeps_a_sign_in_awake_but_not_one_that_a_browser_sends_on_its_own(gate: GateClient) -> None:
    used, left = gate.cookie("dr. a"), gate.cookie("dr. a")
    for _ in range(2):
        _let_pass(gate, Lifetime().idle * 0.6)
        assert gate.ask("/images/1", Cookie=used).status == 200
        gate.ask("/_stcore/health", Cookie=left)
    assert gate.ask("/", Cookie=left).status == 401


def test_an_open_page_dies_when_the_database_no_longer_answers(gate: GateClient) -> None:
    cookie = gate.cookie("dr. a")
    with _socket(gate, cookie) as silent, _socket(gate, cookie) as busy:
        assert (silent.recv(), busy.recv()) == (SECRET, SECRET)
        _commit(gate, lambda session: session.execute(text("ALTER TABLE sign_ins RENAME TO gone")))
        busy.send("a click that nobody could check")
        assert _closes(busy)
        assert _closes(silent)
    assert "a click that nobody could check" not in gate.heard


@pytest.mark.parametrize("hosts", [("own", "evil.example"), ("evil.example", "own"), ("own", "own"), ()])
def test_a_request_that_names_not_one_host_is_refused(gate: GateClient, hosts: tuple[str, ...]) -> None:
    """Asked of the gate itself: some servers refuse such a request before it, and not all do."""
    headers = [(b"host", host.replace("own", f"localhost:{gate.port}").encode()) for host in hosts]
    assert _status(gate, [(b"host", f"localhost:{gate.port}".encode())]) == 200
    assert _status(gate, headers) == 403


def _status(gate: GateClient, headers: list[tuple[bytes, bytes]]) -> int:
    asked = [*headers, (b"cookie", gate.cookie("dr. a").encode())]
    return ask_gate_itself(("127.0.0.1", gate.port), asked, passed=200, installation=lambda: gate.installation)


def test_what_one_page_was_given_only_its_own_account_may_fetch(gate: GateClient) -> None:
    other = gate.add("dr. b")
    cookies = [gate.cookie(name) for name in ("dr. a", "dr. b")]
    with gate.sessions.read() as session:
        account = store.accounts.account_named(session, "dr. a")
    assert account is not None
    gate.tabs.opened("tab-of-a", account.id)
    gate.tabs.opened("tab-of-b", other.id)
    gate.media.gave("/media/0a1b.pdf", "tab-of-a")
    gate.media.gave("/media/both.svg", "tab-of-a")
    gate.media.gave("/media/both.svg", "tab-of-b")
    gate.media.gave("/media/lost.png", "a tab of nobody")
    allowed = {
        path: [gate.ask(path, Cookie=cookie).status for cookie in cookies]
        for path in ("/media/0a1b.pdf", "/media/0a1b", "/media/both.svg", "/media/lost.png", "/media/x", "/media/")
    }
    assert allowed.pop("/media/both.svg") == [200, 200]
    assert allowed.pop("/media/0a1b.pdf") == [200, 403]
    assert allowed.pop("/media/0a1b") == [200, 403]
    assert set(map(tuple, allowed.values())) == {(403, 403)}


@pytest.mark.parametrize("path", ["/images/1", "/images/1/thumbnail", "/media/0a1b.pdf", "/read_case?case=1"])
def test_a_browser_whose_sign_in_has_ended_never_sees_json(gate: GateClient, path: str) -> None:
    opened = gate.ask(path, Accept="text/html,*/*;q=0.8", Sec_Fetch_Mode="navigate")
    assert opened.status == 303
    assert opened.headers["location"].startswith("/sign-in?next=")
    # Some browsers ask for a download like this.
    assert gate.ask(path, Accept="*/*", Sec_Fetch_Mode="navigate").status == 303
    asked_by_a_script = gate.ask(path, Accept="*/*", Sec_Fetch_Mode="cors")
    # Streamlit shows it to the reader: words, without the braces of an object.
    assert (asked_by_a_script.status, asked_by_a_script.text[:20]) == (401, '"You are signed out.')
    asked_by_a_program = gate.ask(path)
    assert (asked_by_a_program.status, asked_by_a_program.headers["content-type"]) == (401, "application/problem+json")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/images", {Role.READER, Role.ADJUDICATOR}),
        ("/images/1/heatmap", {Role.READER, Role.ADJUDICATOR}),
        ("/images/1/scope-map", {Role.READER, Role.ADJUDICATOR}),
        ("/images-of-the-manual", set(Role)),
        ("/_stcore/metrics", {Role.ADMINISTRATOR}),
        ("/", set(Role)),
    ],
)
def test_a_role_opens_only_the_paths_that_it_may(gate: GateClient, path: str, allowed: set[Role]) -> None:
    for role in Role:
        gate.add(f"the {role}", role)
        reply = gate.ask(path, Cookie=gate.cookie(f"the {role}"))
        assert (reply.status, SECRET in reply.text) == ((200, True) if role in allowed else (403, False)), role
        assert (f"The role {role} is not allowed to" in reply.text) == (role not in allowed)


def test_a_token_opens_the_routes_and_no_page(gate: GateClient) -> None:
    bearer = f"Bearer {gate.token(gate.add('robot'))}"
    assert "robot" in gate.ask("/images/1", Authorization=bearer).text
    assert gate.ask("/_stcore/health", Authorization=bearer).status == 403
    with pytest.raises(InvalidStatus):
        _socket(gate, Authorization=bearer)
    for wrong in (bearer[:-1], "Bearer ", "Bearer sr_x", bearer.replace("Bearer", "Basic")):
        assert gate.ask("/images/1", Authorization=wrong).status == 401
    _commit(gate, lambda session: store.sign_ins.revoke_token(session, None, 1))
    reply = gate.ask("/images/1", Authorization=bearer)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")


def test_nobody_goes_on_in_the_tab_of_somebody_else(gate: GateClient) -> None:
    other = gate.add("dr. b")
    own = gate.cookie("dr. a")
    with gate.sessions.read() as session:
        account = store.accounts.account_named(session, "dr. a")
    assert account is not None
    gate.tabs.opened("tab-of-a", account.id)
    gate.tabs.opened("tab-of-b", other.id)
    gate.tabs.opened("tab-of-b", account.id)
    for tab in ("tab-of-a", "tab-of-nobody"):
        with _resume(gate, own, tab) as websocket:
            assert websocket.recv() == SECRET
    with pytest.raises(InvalidStatus) as refused:
        _resume(gate, own, "tab-of-b")
    assert refused.value.response.status_code == 403
    assert gate.ask("/_stcore/upload_file/tab-of-a/1", "PUT", Cookie=own).status == 200
    for tab in ("tab-of-b", "tab-of-nobody"):
        assert gate.ask(f"/_stcore/upload_file/{tab}/1", "PUT", Cookie=own).status == 403


def test_beyond_loopback_it_needs_accounts_and_encryption(tmp_path: Path, quick_passwords: None) -> None:
    with running_gate(tmp_path, "0.0.0.0") as gate:
        assert "no accounts" in gate.ask("/").text
        gate.add("dr. a")
        wait_until(lambda: "unencrypted" in gate.ask("/").text, seconds=3)
        reply = gate.sign_in("dr. a")
        assert (reply.status, reply.cookie) == (403, "")
        assert gate.ask("/sign-in").status == 403
        assert gate.ask("/", X_Forwarded_Proto="https").status == 403
        assert gate.ask("/health").status == 200


def test_a_proxy_that_nobody_spoke_of_is_refused(gate: GateClient) -> None:
    cookie = gate.cookie("dr. a")
    for header in ("X_Forwarded_For", "X_Forwarded_Proto", "X_Forwarded_Host", "Forwarded", "Via", "X_Real_IP"):
        reply = gate.ask("/", Cookie=cookie, **{header: "https"})
        assert reply.status == 403
        assert "SECOND_READ_BEHIND_PROXY" in reply.text


def test_behind_a_proxy_its_scheme_and_host_are_believed(tmp_path: Path, quick_passwords: None) -> None:
    with running_gate(tmp_path, "0.0.0.0", behind_proxy=True) as gate:
        proxied = {
            "X_Forwarded_Proto": "http, https",
            "X_Forwarded_Host": "reads.example",
            "X_Forwarded_For": "192.0.2.1",
        }
        assert "through a proxy" in gate.ask("/", **proxied).text or "no accounts" in gate.ask("/", **proxied).text
        gate.add("dr. a")
        wait_until(lambda: gate.ask("/", **proxied).status == 401, seconds=3)
        reply = gate.sign_in("dr. a", Origin="https://reads.example", **proxied)
        assert reply.status == 303
        assert "secure" in reply.headers["set-cookie"].lower()
        cookie = f"{COOKIE}={reply.cookie}"
        assert "by https at reads.example" in gate.ask("/", Cookie=cookie, **proxied).text
        with _socket(gate, cookie, **_dashed(proxied), Origin="https://reads.example") as websocket:
            assert websocket.recv() == SECRET
        assert gate.ask("/", Cookie=cookie, Origin="https://evil.example", **proxied).status == 403


def test_behind_a_proxy_attempts_are_counted_by_the_address_that_the_proxy_wrote(
    tmp_path: Path, quick_passwords: None
) -> None:
    with running_gate(tmp_path, behind_proxy=True) as gate:
        gate.add("dr. a")
        wait_until(lambda: gate.ask("/", X_Forwarded_Proto="https").status == 401, seconds=3)

        def attempt(forwarded: str, password: str) -> int:
            origin = f"https://localhost:{gate.port}"
            return gate.sign_in(
                "dr. a", password, Origin=origin, X_Forwarded_Proto="https", X_Forwarded_For=forwarded
            ).status

        # Only the last value is the proxy's; the others may come from the browser itself.
        assert [attempt(f"198.51.100.{n}, 192.0.2.1", "not this one, sorry") for n in range(11)] == [401] * 10 + [429]
        assert attempt("192.0.2.1, 127.0.0.1", "not this one, sorry") == 401
        assert attempt("203.0.113.9", PASSWORD) == 303


def test_a_database_that_does_not_answer_lets_nobody_in(gate: GateClient) -> None:
    cookie = gate.cookie("dr. a")
    _commit(gate, lambda session: session.execute(text("DROP TABLE sign_ins")))
    reply = gate.ask("/", Cookie=cookie)
    assert reply.status == 503
    assert SECRET not in reply.text


def _closes(websocket: ClientConnection) -> bool:
    """Say whether the server closes a websocket soon, as refused."""
    try:
        while True:
            websocket.recv(timeout=5)
    except ConnectionClosed as closed:
        return closed.rcvd is not None and closed.rcvd.code == 1008
    except TimeoutError:
        return False


def _let_pass(gate: GateClient, time: timedelta) -> None:
    """Bring the end of every idle time nearer, as if so much time had passed."""
    with gate.sessions.begin() as session:
        for row in session.scalars(select(tables.SignIn)):
            row.idle_until -= time


def _commit(gate: GateClient, change: Callable[..., object]) -> None:
    with gate.sessions.begin() as session:
        change(session)


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
