"""The gate with accounts, on the wire: what it lets through and to whom, dead websockets, proxies and TLS."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from db import store
from db.access_values import Lifetime
from db.values import Role
from service.access import COOKIE
from service.tabs import Tabs
from tests.helpers.concurrency import wait_until
from tests.helpers.gate import SECRET, Gatehouse, gatehouse, house

__all__ = ["house"]


def _socket(house: Gatehouse, cookie: str = "", **headers: str) -> ClientConnection:
    sent = ({"Cookie": cookie} if cookie else {}) | headers
    return connect(f"ws://localhost:{house.port}/_stcore/stream", additional_headers=sent)


def _resume(house: Gatehouse, cookie: str, tab: str) -> ClientConnection:
    """Connect as a browser does that lost its connection."""
    protocols = [Subprotocol("streamlit"), Subprotocol("xsrf"), Subprotocol(tab)]
    where = f"ws://localhost:{house.port}/_stcore/stream"
    return connect(where, additional_headers={"Cookie": cookie}, subprotocols=protocols)


def test_the_first_account_ends_single_reader_mode(tmp_path: Path, quick_passwords: None) -> None:
    with gatehouse(tmp_path) as house:
        assert house.ask("/").status == 200
        house.add("dr. a")
        wait_until(lambda: house.ask("/").status == 401, seconds=3)


def test_without_a_sign_in_nothing_passes_but_health_and_the_sign_in_page(house: Gatehouse) -> None:
    for path in ("/", "/read_case", "/images/1", "/media/x.png", "/_stcore/metrics", "/_stcore/upload_file/a/b"):
        for method in ("GET", "PUT", "POST", "DELETE"):
            reply = house.ask(path, method)
            assert (reply.status, SECRET in reply.text) == (401, False), (path, method)
    with pytest.raises(InvalidStatus) as refused:
        _socket(house)
    assert refused.value.response.status_code == 403
    assert house.ask("/health").status == 200
    assert 'type="password"' in house.ask("/sign-in").text
    for near in ("/sign-in/", "/sign-in/../read_case", "//sign-in", "/Sign-in", "/health/"):
        assert house.ask(near).status == 401, near


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://localhost.evil.example"]
)
def test_another_site_can_neither_sign_in_nor_use_a_sign_in(house: Gatehouse, origin: str) -> None:
    assert house.sign_in("dr. a", Origin=origin).status == 403
    cookie = house.cookie("dr. a")
    for path, method in (("/", "GET"), ("/_stcore/upload_file/a/b", "PUT"), ("/sign-out", "POST")):
        assert house.ask(path, method, Cookie=cookie, Origin=origin).status == 403
    with pytest.raises(InvalidStatus):
        _socket(house, cookie, Origin=origin)
    assert house.ask("/", Cookie=cookie).status == 200


def test_signing_out_ends_it_in_every_tab_and_nowhere_else(house: Gatehouse) -> None:
    here, there = house.cookie("dr. a"), house.cookie("dr. a")
    with _socket(house, here) as first, _socket(house, here) as second, _socket(house, there) as other:
        for tab in (first, second, other):
            assert tab.recv() == SECRET
        reply = house.ask("/sign-out", "POST", Cookie=here, Origin=f"http://localhost:{house.port}")
        assert reply.status == 303
        for tab in (first, second):
            assert _closes(tab)
        other.send("still here")
        assert other.recv() == "heard"
    assert house.ask("/", Cookie=here).status == 401
    assert house.ask("/", Cookie=there).status == 200


def test_signing_in_again_ends_what_was_before_in_this_browser(house: Gatehouse) -> None:
    house.add("dr. b")
    before = house.cookie("dr. a")
    assert house.sign_in("dr. b", Cookie=before).status == 303
    assert house.ask("/", Cookie=before).status == 401


@pytest.mark.parametrize(
    "change",
    [
        lambda house: _commit(house, lambda s: store.set_disabled(s, None, "dr. a", disabled=True)),
        lambda house: _commit(house, lambda s: store.set_role(s, None, "dr. a", Role.RESEARCHER)),
        lambda house: _commit(house, lambda s: store.set_password(s, None, "dr. a", "quite another sentence")),
        lambda house: _commit(house, lambda s: s.execute(text("UPDATE sign_ins SET idle_until = created_at"))),
        lambda house: _commit(house, lambda s: s.execute(text("UPDATE sign_ins SET expires_at = created_at"))),
    ],
    ids=["disabled", "role", "password", "idle", "absolute"],
)
def test_an_open_page_dies_with_its_sign_in(house: Gatehouse, change: Callable[[Gatehouse], None]) -> None:
    cookie = house.cookie("dr. a")
    with _socket(house, cookie) as silent, _socket(house, cookie) as busy:
        assert (silent.recv(), busy.recv()) == (SECRET, SECRET)
        change(house)
        busy.send("a click after the end")
        assert _closes(busy)
        assert _closes(silent)
    assert house.ask("/", Cookie=cookie).status == 401
    assert "a click after the end" not in house.heard
    wait_until(lambda: house.heard.count("closed") == 2, seconds=20)


@pytest.mark.slow
def test_using_a_page_keeps_a_sign_in_awake_and_leaving_it_open_does_not(tmp_path: Path, quick_passwords: None) -> None:
    with gatehouse(tmp_path, lifetime=Lifetime(timedelta(seconds=2), timedelta(minutes=5))) as house:
        house.add("dr. a")
        used, left = house.cookie("dr. a"), house.cookie("dr. a")
        with _socket(house, used) as busy, _socket(house, left) as silent:
            assert (busy.recv(), silent.recv()) == (SECRET, SECRET)
            for _ in range(8):
                time.sleep(0.5)
                busy.send("a click")
                assert busy.recv() == "heard"
                house.ask("/_stcore/health", Cookie=left)
            assert _closes(silent)
        assert house.ask("/", Cookie=used).status == 200
        assert house.ask("/", Cookie=left).status == 401


def test_a_token_opens_the_routes_and_no_page(house: Gatehouse) -> None:
    bearer = f"Bearer {house.token(house.add('robot'))}"
    assert "robot" in house.ask("/images/1", Authorization=bearer).text
    assert house.ask("/_stcore/health", Authorization=bearer).status == 403
    with pytest.raises(InvalidStatus):
        _socket(house, Authorization=bearer)
    for wrong in (bearer[:-1], "Bearer ", "Bearer sr_x", bearer.replace("Bearer", "Basic")):
        assert house.ask("/images/1", Authorization=wrong).status == 401
    _commit(house, lambda session: store.revoke_token(session, None, 1))
    reply = house.ask("/images/1", Authorization=bearer)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")


def test_nobody_goes_on_in_the_tab_of_somebody_else(house: Gatehouse) -> None:
    other = house.add("dr. b")
    own = house.cookie("dr. a")
    with house.sessions.read() as session:
        account = store.account_named(session, "dr. a")
    assert account is not None
    Tabs.known.opened("tab-of-a", account.id)
    Tabs.known.opened("tab-of-b", other.id)
    Tabs.known.opened("tab-of-b", account.id)
    for tab in ("tab-of-a", "tab-of-nobody"):
        with _resume(house, own, tab) as websocket:
            assert websocket.recv() == SECRET
    with pytest.raises(InvalidStatus) as refused:
        _resume(house, own, "tab-of-b")
    assert refused.value.response.status_code == 403
    assert house.ask("/_stcore/upload_file/tab-of-a/1", "PUT", Cookie=own).status == 200
    for tab in ("tab-of-b", "tab-of-nobody"):
        assert house.ask(f"/_stcore/upload_file/{tab}/1", "PUT", Cookie=own).status == 403


def test_beyond_loopback_it_needs_accounts_and_encryption(tmp_path: Path, quick_passwords: None) -> None:
    with gatehouse(tmp_path, "0.0.0.0") as house:
        assert "no accounts" in house.ask("/").text
        house.add("dr. a")
        wait_until(lambda: "unencrypted" in house.ask("/").text, seconds=3)
        reply = house.sign_in("dr. a")
        assert (reply.status, reply.cookie) == (403, "")
        assert house.ask("/sign-in").status == 403
        assert house.ask("/", X_Forwarded_Proto="https").status == 403
        assert house.ask("/health").status == 200


def test_a_proxy_that_nobody_spoke_of_is_refused(house: Gatehouse) -> None:
    cookie = house.cookie("dr. a")
    for header in ("X_Forwarded_For", "X_Forwarded_Proto", "X_Forwarded_Host", "Forwarded", "Via", "X_Real_IP"):
        reply = house.ask("/", Cookie=cookie, **{header: "https"})
        assert reply.status == 403
        assert "SECOND_READ_BEHIND_PROXY" in reply.text


def test_behind_a_proxy_its_scheme_and_host_are_believed(tmp_path: Path, quick_passwords: None) -> None:
    with gatehouse(tmp_path, "0.0.0.0", behind_proxy=True) as house:
        proxied = {
            "X_Forwarded_Proto": "http, https",
            "X_Forwarded_Host": "reads.example",
            "X_Forwarded_For": "192.0.2.1",
        }
        assert "through a proxy" in house.ask("/", **proxied).text or "no accounts" in house.ask("/", **proxied).text
        house.add("dr. a")
        wait_until(lambda: house.ask("/", **proxied).status == 401, seconds=3)
        reply = house.sign_in("dr. a", Origin="https://reads.example", **proxied)
        assert reply.status == 303
        assert "secure" in reply.headers["set-cookie"].lower()
        cookie = f"{COOKIE}={reply.cookie}"
        assert "by https at reads.example" in house.ask("/", Cookie=cookie, **proxied).text
        with _socket(house, cookie, **_dashed(proxied), Origin="https://reads.example") as websocket:
            assert websocket.recv() == SECRET
        assert house.ask("/", Cookie=cookie, Origin="https://evil.example", **proxied).status == 403


def test_a_database_that_does_not_answer_lets_nobody_in(house: Gatehouse) -> None:
    cookie = house.cookie("dr. a")
    _commit(house, lambda session: session.execute(text("DROP TABLE sign_ins")))
    reply = house.ask("/", Cookie=cookie)
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


def _commit(house: Gatehouse, change: Callable[..., object]) -> None:
    with house.sessions.begin() as session:
        change(session)


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
