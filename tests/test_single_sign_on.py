"""Signing in at an identity provider, over HTTP: the real server, a real provider, every way it can go wrong."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from joserfc.jwk import RSAKey
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from db import store
from db.access_values import AccessAction
from db.values import Role
from service.access import COOKIE
from tests.gatehouse import PASSWORD, Gatehouse, quick_passwords
from tests.server import Server
from tests.single_sign_on import COOKIE_SECRET, Browser, SingleSignOn, single_sign_on
from tests.tab import open_page

__all__ = ["quick_passwords"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_passwords")]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SingleSignOn]:
    """One server and one provider for all tests of this file; each makes accounts of its own."""
    with single_sign_on(tmp_path_factory.mktemp("sso")) as found:
        yield found


@pytest.fixture
def window(house: SingleSignOn) -> Iterator[Browser]:
    """A browser without cookies."""
    with house.browser() as found:
        yield found


def _linked(house: SingleSignOn, name: str, role: Role = Role.READER) -> str:
    """Make an account with an identity that the provider signs in, and give its subject."""
    house.add(name, role)
    house.link(name, subject=f"number of {name}")
    house.provider.is_honest_about(f"number of {name}")
    return f"number of {name}"


def _nobody(window: Browser, response: httpx.Response, status: int, words: str) -> None:
    """Check that nobody was signed in, and that the page says why."""
    assert (response.status_code, window.cookie) == (status, "")
    assert words in response.text
    assert 'type="password"' in response.text
    assert "_streamlit_user" not in str(response.headers)
    assert window.get("/").headers["location"] == "/sign-in"


def test_the_sign_in_page_offers_the_providers_beside_the_password(window: Browser) -> None:
    page = window.follow(window.get("/read_case?case=7"))
    assert 'type="password"' in page.text
    for label, name in (("127.0.0.1", "default"), ("clinic", "clinic")):
        href = f"/auth/login?provider={name}&amp;next={quote('/read_case?case=7', safe='')}"
        assert f'<a class="way" href="{href}">Sign in with {label}</a>' in page.text


@pytest.mark.parametrize("provider", ["127.0.0.1", "clinic"])
def test_a_linked_identity_signs_in_and_comes_to_the_page_it_wanted(
    house: SingleSignOn, window: Browser, provider: str
) -> None:
    name = f"dr. {provider}"
    _linked(house, name)
    response = window.sign_in(provider, "/read_case?case=7")
    assert (response.status_code, response.headers["location"]) == (303, "/read_case?case=7")
    assert {"httponly", "samesite=lax"} <= set(str(response.headers["set-cookie"]).lower().split("; "))
    assert window.get("/read_case?case=7").status_code == 200
    assert house.events()[0] == (AccessAction.SIGNED_IN, f"{name} (by {provider})")
    assert "second_read_next" not in window.cookies
    assert not [name for name in window.cookies if name.startswith("_streamlit_user")]
    assert f"signed in as {name}" in open_page(house.server.port, window.cookie).words
    asked = house.provider.asked[-1]
    assert asked["redirect_uri"] == f"http://localhost:{house.server.port}/oauth2callback"
    assert len(asked["state"]) >= 20
    assert len(asked["nonce"]) >= 20


def test_the_role_comes_from_our_database_whatever_the_provider_says(house: SingleSignOn, window: Browser) -> None:
    subject = _linked(house, "dr. role", Role.RESEARCHER)
    house.provider.is_honest_about(subject, role="administrator", roles=["administrator"], groups=["administrator"])
    window.sign_in()
    shown = open_page(house.server.port, window.cookie)
    assert "signed in as dr. role" in shown.words
    assert not {"Worklist", "Accounts"} & set(shown.pages)


def test_a_verified_address_signs_in_and_from_then_on_its_subject_does(house: SingleSignOn) -> None:
    house.add("dr. mail")
    house.link("dr. mail", email="Mail@Clinic.example")
    for claims, status in (
        ({"sub": "m", "email": "mail@clinic.example", "email_verified": False}, 403),
        ({"sub": "m", "email": "mail@clinic.example", "email_verified": "true"}, 403),
        ({"sub": "m", "email": "mail@clinic.example"}, 403),
        ({"sub": "m", "email": "mail@clinic.example", "email_verified": True}, 303),
        ({"sub": "m"}, 303),
        ({"sub": "somebody new", "email": "mail@clinic.example", "email_verified": True}, 403),
    ):
        house.provider.is_honest_about(**claims)
        with house.browser() as window:
            assert window.sign_in().status_code == status, claims


def test_an_identity_that_nobody_linked_is_refused_and_told_what_to_send(house: SingleSignOn, window: Browser) -> None:
    with house.sessions.read() as session:
        before = store.account_rows(session, None)
    house.provider.is_honest_about("<b>4711</b>", email="new@clinic.example", name="the administrator")
    response = window.sign_in()
    _nobody(window, response, 403, f"issuer {house.provider.issuer} – subject &lt;b&gt;4711&lt;/b&gt;")
    assert "did not verify an e-mail address" in response.text
    assert house.events()[0] == (
        AccessAction.SIGN_IN_REFUSED,
        "an identity that no account is linked to (by clinic)",
    )
    with house.sessions.read() as session:
        assert store.account_rows(session, None) == before


def test_a_disabled_account_is_refused(house: SingleSignOn, window: Browser) -> None:
    _linked(house, "dr. gone")
    with house.sessions.begin() as session:
        store.set_disabled(session, None, "dr. gone", disabled=True)
    _nobody(window, window.sign_in(), 403, "Your account is disabled")
    assert house.events()[0] == (AccessAction.SIGN_IN_REFUSED, "dr. gone (by clinic)")


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
def test_a_token_that_is_not_right_signs_nobody_in(
    house: SingleSignOn, window: Browser, lie: dict[str, object]
) -> None:
    house.provider.is_honest_about("number of nobody")
    house.provider.lies = lie
    _nobody(window, window.sign_in(), 401, f"at http://localhost:{house.server.port}")


def test_a_token_that_somebody_else_signed_signs_nobody_in(house: SingleSignOn, window: Browser) -> None:
    _linked(house, "dr. key")
    house.provider.signs_with = RSAKey.generate_key(2048, {"kid": "one"})
    _nobody(window, window.sign_in(), 401, "could not be verified")


def test_what_another_browser_began_is_not_ended_here(house: SingleSignOn, window: Browser) -> None:
    _linked(house, "dr. state")
    with house.browser() as other:
        back = other.follow(other.choose("clinic"), "/oauth2callback").headers["location"]
    _nobody(window, window.get(back), 401, "could not be verified")
    own = window.follow(window.choose("clinic"), "/oauth2callback").headers["location"]
    changed = own.replace(f"state={house.provider.asked[-1]['state']}", "state=another")
    assert changed != own
    _nobody(window, window.get(changed), 401, "could not be verified")


def test_a_code_signs_in_once(house: SingleSignOn, window: Browser) -> None:
    _linked(house, "dr. once")
    back = window.follow(window.choose("clinic"), "/oauth2callback").headers["location"]
    kept = "; ".join(f"{name}={value}" for name, value in window.cookies.items())
    assert window.get(back).status_code == 303
    with house.browser() as other:
        _nobody(other, other.get(back), 401, "could not be verified")
        # Even with what the first browser knew before.
        _nobody(other, other.get(back, Cookie=kept), 401, "could not be verified")


def test_a_cookie_of_streamlit_signs_nobody_in_even_with_the_right_signature(
    house: SingleSignOn, window: Browser
) -> None:
    subject = _linked(house, "dr. forged")
    claims = f'{{"iss": "{house.provider.issuer}", "sub": "{subject}", "aud": "second-read", "provider": "clinic"}}'
    for value in (
        quote(claims),
        create_signed_value("a secret that was guessed wrong, sorry", "_streamlit_user", claims).decode(),
        create_signed_value(COOKIE_SECRET, "_streamlit_user", claims).decode(),
    ):
        forged = f"_streamlit_user={value}"
        assert window.get("/", Cookie=forged).headers["location"] == "/sign-in"
        assert window.get("/oauth2callback?code=x&state=y", Cookie=forged).status_code == 401
        assert house.server.upgrade("/_stcore/stream", Cookie=forged).status == 403
    assert window.cookie == ""


def _sign_out(house: SingleSignOn, window: Browser) -> None:
    origin = str(window.client.base_url).rstrip("/")
    planted = f"{window.cookie}; _streamlit_user=x; _streamlit_user_1=y"
    response = window.client.post("/sign-out", headers={"Origin": origin, "Cookie": planted})
    assert response.headers["location"] == "/sign-in"
    emptied = response.headers.get_list("set-cookie")
    for name in (COOKIE, "_streamlit_user", "_streamlit_user_1"):
        assert any(line.startswith(f'{name}="";') and "max-age=0" in line.lower() for line in emptied), emptied


def _change(change: Callable[..., None], name: str, **values: object) -> Callable[[SingleSignOn, Browser], None]:
    def run(house: SingleSignOn, window: Browser) -> None:
        with house.sessions.begin() as session:
            change(session, None, name, **values)

    return run


def _unlink(house: SingleSignOn, window: Browser) -> None:
    with house.sessions.begin() as session:
        store.unlink_identity(session, None, store.identity_rows(session, None)[0].id)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("dr. out", _sign_out),
        ("dr. disabled", _change(store.set_disabled, "dr. disabled", disabled=True)),
        ("dr. moved", _change(store.set_role, "dr. moved", role=Role.RESEARCHER)),
        ("dr. password", _change(store.set_password, "dr. password", password="quite another sentence")),
        ("dr. unlinked", _unlink),
    ],
)
def test_a_sign_in_ends_at_once_in_every_tab(
    house: SingleSignOn, window: Browser, name: str, end: Callable[[SingleSignOn, Browser], None]
) -> None:
    _linked(house, name)
    assert window.sign_in().status_code == 303
    cookie = window.cookie
    where = f"ws://localhost:{house.server.port}/_stcore/stream"
    with (
        connect(where, additional_headers={"Cookie": cookie}) as first,
        connect(where, additional_headers={"Cookie": cookie}) as second,
    ):
        end(house, window)
        for tab in (first, second):
            with pytest.raises(ConnectionClosed) as closed:
                tab.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
    assert house.server.upgrade("/_stcore/stream", Cookie=cookie).status == 403
    assert window.get("/", Cookie=cookie).headers["location"] == "/sign-in"


def test_an_unlinked_identity_signs_in_no_more(house: SingleSignOn, window: Browser) -> None:
    _linked(house, "dr. former")
    _unlink(house, window)
    _nobody(window, window.sign_in(), 403, "no account here is linked to you")


def test_signing_in_again_ends_what_was_before_in_this_browser(house: SingleSignOn, window: Browser) -> None:
    _linked(house, "dr. first")
    window.sign_in()
    before = window.cookie
    _linked(house, "dr. second")
    window.client.cookies.delete(COOKIE)
    way = window.follow(window.choose("clinic"), "/oauth2callback").headers["location"]
    window.client.cookies.set(COOKIE, before.partition("=")[2])
    assert window.get(way).status_code == 303
    assert house.server.upgrade("/_stcore/stream", Cookie=before).status == 403


def test_a_provider_that_is_down_is_named_and_the_password_still_works(house: SingleSignOn, window: Browser) -> None:
    _linked(house, "dr. patient")
    house.provider.answers_to = {"token"}
    _nobody(window, window.choose("clinic", "/read_case?case=7"), 503, "clinic cannot be reached now")
    house.provider.answers_to = {"authorize"}
    response = window.sign_in(wanted="/read_case?case=7")
    assert 'name="next" value="/read_case?case=7"' in response.text
    _nobody(window, response, 401, "could not be verified")
    assert Gatehouse(house.server.port, house.sessions).sign_in("dr. patient", PASSWORD).status == 303
    assert house.events()[0] == (AccessAction.SIGNED_IN, "dr. patient (by password)")


def test_a_provider_that_refuses_is_not_quoted(house: SingleSignOn, window: Browser) -> None:
    _linked(house, "dr. refused")
    house.provider.refuses = True
    response = window.sign_in()
    _nobody(window, response, 401, "did not sign you in")
    assert "<b>no" not in response.text


@pytest.mark.parametrize("wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\r\nX: y"])
def test_coming_back_never_leads_to_another_site(house: SingleSignOn, window: Browser, wanted: str) -> None:
    _linked(house, f"dr. {wanted!r}")
    leaving = window.get(f"/auth/login?provider=clinic&next={quote(wanted, safe='')}")
    response = window.follow(leaving, "/oauth2callback")
    planted = "; ".join(f"{name}={value}" for name, value in window.cookies.items() if name != "second_read_next")
    back = window.get(response.headers["location"], Cookie=f"{planted}; second_read_next={quote(wanted, safe='')}")
    assert (back.status_code, back.headers["location"]) == (303, "/")


def test_another_site_cannot_send_a_reader_through_a_sign_in(house: SingleSignOn, window: Browser) -> None:
    asked = len(house.provider.asked)
    for site in ("cross-site", "same-site"):
        response = window.get("/auth/login?provider=clinic", Sec_Fetch_Site=site)
        assert (response.status_code, response.headers["location"]) == (303, "/sign-in")
    for query in ("", "?provider=", "?provider=evil", "?provider=clinic%20"):
        assert window.get(f"/auth/login{query}").headers["location"] == "/sign-in"
    assert len(house.provider.asked) == asked
    assert "set-cookie" not in response.headers


def test_only_the_way_to_the_provider_and_back_is_open_to_nobody(house: SingleSignOn) -> None:
    server: Server = house.server
    for path in ("/", "/auth/logout", "/auth/login/", "/auth", "/oauth2callback/", "/media/x.png", "/_stcore/health"):
        assert server.ask(path).status == 401, path
    for path in ("/auth/login", "/oauth2callback"):
        for method in ("POST", "PUT", "HEAD", "DELETE"):
            assert server.ask(path, method).status == 401, (path, method)
        assert server.upgrade(path).status == 403
        assert server.ask(path, Origin="https://evil.example").status == 403
        assert server.ask(path, X_Forwarded_Proto="https").status == 403


def test_an_address_cannot_send_the_server_to_a_provider_without_end(house: SingleSignOn) -> None:
    transport = httpx.HTTPTransport(local_address="127.0.0.2")
    with httpx.Client(base_url=f"http://127.0.0.1:{house.server.port}", transport=transport) as client:
        statuses = [client.get("/auth/login?provider=clinic").status_code for _ in range(31)]
    assert statuses == [303] * 30 + [429]


def test_odd_bytes_on_the_way_are_refused_like_any_others(house: SingleSignOn) -> None:
    for query in ("code=%ff&state=%ff", "code=\xff&state=\xfe", "state=a&state=b", "state=" + "x" * 4000, "&&=;"):
        asked = f"GET /oauth2callback?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", house.server.port), 30) as connection:
            connection.sendall(asked.encode("latin-1"))
            status = connection.recv(100).split(b" ")[1]
        assert status in (b"400", b"401"), query


def test_behind_a_proxy_what_is_kept_of_the_way_travels_encrypted_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_READ_BEHIND_PROXY", "1")
    with single_sign_on(tmp_path) as house, house.browser() as window:
        leaving = window.get("/auth/login?provider=clinic", X_Forwarded_Proto="https")
        lines = leaving.headers.get_list("set-cookie")
    assert leaving.headers["location"].startswith(f"{house.provider.issuer}/authorize?")
    assert sorted(line.partition("=")[0] for line in lines) == ["_streamlit_session", "second_read_next"]
    for line in lines:
        assert {"secure", "httponly", "samesite=lax"} <= set(line.lower().split("; "))


def test_what_signs_the_cookies_stands_nowhere_in_log_or_audit(house: SingleSignOn) -> None:
    with house.sessions.read() as session:
        audit = str(store.audit_trail(session, limit=None))
    for secret in (COOKIE_SECRET, *house.provider.codes, "what the provider told"):
        assert secret not in audit
