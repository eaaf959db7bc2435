"""Whatever is forged, replayed or sent from elsewhere on the way to an identity provider and back signs nobody in."""

import socket
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from joserfc.jwk import RSAKey
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from db import store
from tests.helpers.server import Server
from tests.helpers.single_sign_on import (
    COOKIE_SECRET,
    Browser,
    SingleSignOn,
    add_linked_account,
    check_nobody_signed_in,
    running_single_sign_on,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_passwords")]


@pytest.mark.parametrize(
    "lie",
    [
        {"nonce": "of another way"},
        {"nonce": None},
        {"aud": "another client"},
        {"aud": "another client", "azp": "second-read"},
        {"iss": "https://accounts.example"},
        {"exp": 1_000_000_000},
        {"iat": 9_000_000_000},
        {"sub": 4711},
    ],
    ids=str,
)
def test_a_token_that_is_not_right_signs_nobody_in(sso: SingleSignOn, window: Browser, lie: dict[str, object]) -> None:
    sso.provider.is_honest_about("number of nobody")
    sso.provider.lies = lie
    check_nobody_signed_in(window, window.sign_in(), 401, f"at http://localhost:{sso.server.port}")


def test_a_token_that_somebody_else_signed_signs_nobody_in(sso: SingleSignOn, window: Browser) -> None:
    add_linked_account(sso, "dr. key")
    sso.provider.signs_with = RSAKey.generate_key(2048, {"kid": "one"})
    check_nobody_signed_in(window, window.sign_in(), 401, "could not be verified")


def test_what_another_browser_began_is_not_ended_here(sso: SingleSignOn, window: Browser) -> None:
    add_linked_account(sso, "dr. state")
    with sso.browser() as other:
        back = other.follow(other.choose("clinic"), "/oauth2callback").headers["location"]
    check_nobody_signed_in(window, window.get(back), 401, "could not be verified")
    own = window.follow(window.choose("clinic"), "/oauth2callback").headers["location"]
    changed = own.replace(f"state={sso.provider.asked[-1]['state']}", "state=another")
    assert changed != own
    check_nobody_signed_in(window, window.get(changed), 401, "could not be verified")


def test_a_code_signs_in_once(sso: SingleSignOn, window: Browser) -> None:
    add_linked_account(sso, "dr. once")
    back = window.follow(window.choose("clinic"), "/oauth2callback").headers["location"]
    kept = "; ".join(f"{name}={value}" for name, value in window.cookies.items())
    assert window.get(back).status_code == 303
    with sso.browser() as other:
        check_nobody_signed_in(other, other.get(back), 401, "could not be verified")
        # Even with what the first browser knew before.
        check_nobody_signed_in(other, other.get(back, Cookie=kept), 401, "could not be verified")


def test_a_cookie_of_streamlit_signs_nobody_in_even_with_the_right_signature(
    sso: SingleSignOn, window: Browser
) -> None:
    subject = add_linked_account(sso, "dr. forged")
    claims = f'{{"iss": "{sso.provider.issuer}", "sub": "{subject}", "aud": "second-read", "provider": "clinic"}}'
    for value in (
        quote(claims),
        create_signed_value("a secret that was guessed wrong, sorry", "_streamlit_user", claims).decode(),
        create_signed_value(COOKIE_SECRET, "_streamlit_user", claims).decode(),
    ):
        forged = f"_streamlit_user={value}"
        assert window.get("/", Cookie=forged).headers["location"] == "/sign-in"
        assert window.get("/oauth2callback?code=x&state=y", Cookie=forged).status_code == 401
        assert sso.server.upgrade("/_stcore/stream", Cookie=forged).status == 403
    assert window.cookie == ""


@pytest.mark.parametrize("wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\r\nX: y"])
def test_coming_back_never_leads_to_another_site(sso: SingleSignOn, window: Browser, wanted: str) -> None:
    add_linked_account(sso, f"dr. {wanted!r}")
    leaving = window.get(f"/auth/login?provider=clinic&next={quote(wanted, safe='')}")
    response = window.follow(leaving, "/oauth2callback")
    planted = "; ".join(f"{name}={value}" for name, value in window.cookies.items() if name != "second_read_next")
    back = window.get(response.headers["location"], Cookie=f"{planted}; second_read_next={quote(wanted, safe='')}")
    assert (back.status_code, back.headers["location"]) == (303, "/")


def test_another_site_cannot_send_a_reader_through_a_sign_in(sso: SingleSignOn, window: Browser) -> None:
    asked = len(sso.provider.asked)
    for site in ("cross-site", "same-site"):
        response = window.get("/auth/login?provider=clinic", Sec_Fetch_Site=site)
        assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    for query in ("", "?provider=", "?provider=evil", "?provider=clinic%20"):
        assert window.get(f"/auth/login{query}").headers["location"] == "/sign-in"
    assert len(sso.provider.asked) == asked
    assert "set-cookie" not in response.headers


def test_only_the_way_to_the_provider_and_back_is_open_to_nobody(sso: SingleSignOn) -> None:
    server: Server = sso.server
    for path in ("/", "/auth/logout", "/auth/login/", "/auth", "/oauth2callback/", "/media/x.png", "/_stcore/health"):
        assert server.ask(path).status == 401, path
    for path in ("/auth/login", "/oauth2callback"):
        for method in ("POST", "PUT", "HEAD", "DELETE"):
            assert server.ask(path, method).status == 401, (path, method)
        assert server.upgrade(path).status == 403
        assert server.ask(path, Origin="https://evil.example").status == 403
        assert server.ask(path, X_Forwarded_Proto="https").status == 403


def test_an_address_cannot_send_the_server_to_a_provider_without_end(sso: SingleSignOn) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(base_url=f"http://127.0.0.1:{sso.server.port}", transport=transport) as client:
        statuses = [client.get("/auth/login?provider=clinic").status_code for _ in range(31)]
    assert statuses == [303] * 30 + [429]


def test_odd_bytes_on_the_way_are_refused_like_any_others(sso: SingleSignOn) -> None:
    for query in ("code=%ff&state=%ff", "code=\xff&state=\xfe", "state=a&state=b", "state=" + "x" * 4000, "&&=;"):
        asked = f"GET /oauth2callback?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", sso.server.port), 30) as connection:
            connection.sendall(asked.encode("latin-1"))
            status = connection.recv(100).split(b" ")[1]
        assert status in (b"400", b"401"), query


def test_behind_a_proxy_what_is_kept_of_the_way_travels_encrypted_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_READ_BEHIND_PROXY", "1")
    with running_single_sign_on(tmp_path) as sso, sso.browser() as window:
        leaving = window.get("/auth/login?provider=clinic", X_Forwarded_Proto="https")
        lines = leaving.headers.get_list("set-cookie")
    assert leaving.headers["location"].startswith(f"{sso.provider.issuer}/authorize?")
    assert sorted(line.partition("=")[0] for line in lines) == ["_streamlit_session", "second_read_next"]
    for line in lines:
        assert {"secure", "httponly", "samesite=lax"} <= set(line.lower().split("; "))


def test_what_signs_the_cookies_stands_nowhere_in_log_or_audit(sso: SingleSignOn) -> None:
    with sso.sessions.read() as session:
        audit = str(store.audit.audit_trail(session, limit=None))
    for secret in (COOKIE_SECRET, *sso.provider.codes, "what the provider told"):
        assert secret not in audit
