"""The gate with accounts, on the wire: signing in and out, throttling, dead websockets, proxies and TLS."""

import statistics
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from db import store
from db.access_values import AccessAction, Lifetime
from db.values import Role
from service.access import COOKIE
from service.tabs import Tabs
from tests.gatehouse import PASSWORD, SECRET, Gatehouse, gatehouse, quick_passwords, until

__all__ = ["quick_passwords"]


@pytest.fixture
def house(tmp_path: Path, quick_passwords: None) -> Iterator[Gatehouse]:
    """A gate on loopback with one reader."""
    with gatehouse(tmp_path) as found:
        found.add("dr. a")
        yield found


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
        until(lambda: house.ask("/").status == 401, 3)


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


def test_a_browser_is_led_to_the_sign_in_page_and_back(house: Gatehouse) -> None:
    reply = house.ask("/read_case?case=7", Accept="text/html")
    assert reply.status == 303
    assert reply.headers["location"] == "/sign-in?next=/read_case%3Fcase%3D7"
    page = house.ask(reply.headers["location"]).text
    assert 'name="next" value="/read_case?case=7"' in page
    assert house.sign_in("dr. a", following="/read_case?case=7").headers["location"] == "/read_case?case=7"


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
def test_signing_in_never_leads_to_another_site(house: Gatehouse, following: str) -> None:
    assert house.sign_in("dr. a", following=following).headers["location"] == "/"


def test_signing_in_gives_a_cookie_that_scripts_cannot_read(house: Gatehouse) -> None:
    reply = house.sign_in("dr. a")
    assert reply.status == 303
    attributes = {part.strip().lower() for part in reply.headers["set-cookie"].split(";")[1:]}
    assert attributes == {"httponly", "samesite=lax", "path=/"}
    assert len(reply.cookie) >= 43
    assert reply.headers["cache-control"] == "no-store"
    passed = house.ask("/read_case", Cookie=f"{COOKIE}={reply.cookie}")
    assert passed.status == 200
    assert "dr. a" in passed.text
    for wrong in (reply.cookie[:-1], "", "x" * 43, f"{reply.cookie}; {COOKIE}=planted"):
        assert house.ask("/read_case", Cookie=f"{COOKIE}={wrong}").status == 401


def test_the_sign_in_page_repeats_a_name_only_as_text(house: Gatehouse) -> None:
    for name in ('"><script>alert(1)</script>', "' OR 1=1 --", "{next}", "<b>"):
        reply = house.sign_in(name, "wrong password here")
        assert reply.status == 401
        assert "<script" not in reply.text
        assert "<b>" not in reply.text
        assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "wrong password here" not in reply.text


def test_wrong_name_wrong_password_and_disabled_account_get_the_same_answer(house: Gatehouse) -> None:
    house.add("gone")
    with house.sessions.begin() as session:
        store.set_disabled(session, None, "gone", disabled=True)
    replies = [
        house.sign_in("dr. a", "not this one, sorry"),
        house.sign_in("dr. b", "not this one, sorry"),
        house.sign_in("gone"),
    ]
    assert {reply.status for reply in replies} == {401}
    bodies = {reply.text.replace(name, "") for reply, name in zip(replies, ("dr. a", "dr. b", "gone"), strict=True)}
    assert len(bodies) == 1
    with house.sessions.read() as session:
        refused = [e.subject for e in store.audit_trail(session) if e.action == AccessAction.SIGN_IN_REFUSED]
    assert refused == ["gone", "an unknown name", "dr. a"]


@pytest.mark.slow
def test_an_unknown_name_takes_as_long_as_a_known_one(tmp_path: Path) -> None:
    with gatehouse(tmp_path) as house:
        house.add("dr. a")

        def seconds(name: str) -> float:
            begun = time.perf_counter()
            assert house.sign_in(name, "not this one, sorry").status == 401
            return time.perf_counter() - begun

        seconds("warm")
        known, unknown = [], []
        for number in range(7):
            known.append(seconds("dr. a"))
            unknown.append(seconds(f"nobody {number}"))
    # Without the dummy hash an unknown name is answered ten times faster.
    assert 0.5 < statistics.median(unknown) / statistics.median(known) < 2


def test_a_name_is_throttled_even_with_the_right_password_and_others_are_not(house: Gatehouse) -> None:
    house.add("dr. b")
    for _ in range(10):
        assert house.sign_in("dr. a", "not this one, sorry").status == 401
    for password in (PASSWORD, "not this one, sorry"):
        reply = house.sign_in("dr. a", password)
        assert reply.status == 429
        assert 0 < int(reply.headers["retry-after"]) <= 900
    assert house.sign_in("dr. b").status == 303


def test_an_unknown_name_is_throttled_like_a_known_one(house: Gatehouse) -> None:
    statuses = [house.sign_in("nobody", "not this one, sorry").status for _ in range(11)]
    assert statuses == [401] * 10 + [429]


def test_an_address_is_throttled_whatever_names_it_tries(house: Gatehouse) -> None:
    statuses = [house.sign_in(f"nobody {number}", "not this one, sorry").status for number in range(31)]
    assert statuses == [401] * 30 + [429]
    assert house.sign_in("dr. a").status == 429


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


def test_a_form_without_an_origin_is_refused(house: Gatehouse) -> None:
    form = urlencode({"name": "dr. a", "password": PASSWORD})
    reply = house.ask("/sign-in", "POST", form)
    assert (reply.status, reply.cookie) == (403, "")
    cookie = house.cookie("dr. a")
    house.ask("/sign-out", "POST", Cookie=cookie)
    house.ask("/sign-out", Cookie=cookie)
    assert house.ask("/", Cookie=cookie).status == 200


@pytest.mark.parametrize(
    "body",
    ["name=dr.+a", "password=x", "name=a&name=b&password=x", "name=%ff&password=x", "name=a%00&password=x", "x" * 9000],
)
def test_what_is_not_our_form_is_refused_without_an_error(house: Gatehouse, body: str) -> None:
    assert house.ask("/sign-in", "POST", body, Origin=f"http://localhost:{house.port}").status == 400


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
    until(lambda: house.heard.count("closed") == 2)


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
        until(lambda: "unencrypted" in house.ask("/").text, 3)
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
        until(lambda: house.ask("/", **proxied).status == 401, 3)
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
