"""Signing in at an identity provider, over HTTP: who is signed in, who is told why not, and when it ends."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from db import store
from db.values.accounts import AccessAction, Role
from service.access.sessions import COOKIE
from tests.helpers.browser_tab import open_page
from tests.helpers.gate import GateClient
from tests.helpers.single_sign_on import Browser, SingleSignOn, add_linked_account, check_nobody_signed_in
from tests.helpers.world import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_passwords")]


def test_the_sign_in_page_offers_the_providers_beside_the_password(window: Browser) -> None:
    page = window.follow(window.get("/read_case?case=7"))
    assert 'type="password"' in page.text
    for label, name in (("127.0.0.1", "default"), ("clinic", "clinic")):
        href = f"./auth/login?provider={name}&amp;next={quote('/read_case?case=7', safe='')}"
        assert f'<a class="way" href="{href}">Sign in with {label}</a>' in page.text


@pytest.mark.parametrize("provider", ["127.0.0.1", "clinic"])
def test_a_linked_identity_signs_in_and_comes_to_the_page_it_wanted(
    sso: SingleSignOn, window: Browser, provider: str
) -> None:
    name = f"dr. {provider}"
    add_linked_account(sso, name)
    response = window.sign_in(provider, "/read_case?case=7")
    assert (response.status_code, response.headers["location"]) == (303, "/read_case?case=7")
    assert {"httponly", "samesite=lax"} <= set(str(response.headers["set-cookie"]).lower().split("; "))
    assert window.get("/read_case?case=7").status_code == 200
    assert sso.events()[0] == (AccessAction.SIGNED_IN, f"{name} (by {provider})")
    assert "second_read_next" not in window.cookies
    assert not [name for name in window.cookies if name.startswith("_streamlit_user")]
    assert f"signed in as {name}" in open_page(sso.server.port, window.cookie).words
    asked = sso.provider.asked[-1]
    assert asked["redirect_uri"] == f"http://localhost:{sso.server.port}/oauth2callback"
    assert len(asked["state"]) >= 20
    assert len(asked["nonce"]) >= 20


def test_the_role_comes_from_our_database_whatever_the_provider_says(sso: SingleSignOn, window: Browser) -> None:
    subject = add_linked_account(sso, "dr. role", Role.RESEARCHER)
    sso.provider.is_honest_about(subject, role="administrator", roles=["administrator"], groups=["administrator"])
    window.sign_in()
    shown = open_page(sso.server.port, window.cookie)
    assert "signed in as dr. role" in shown.words
    assert not {"Worklist", "Accounts"} & set(shown.pages)


def test_a_verified_address_signs_in_and_from_then_on_its_subject_does(sso: SingleSignOn) -> None:
    sso.add("dr. mail")
    sso.link("dr. mail", email="Mail@Clinic.example")
    for claims, status in (
        ({"sub": "m", "email": "mail@clinic.example", "email_verified": False}, 403),
        ({"sub": "m", "email": "mail@clinic.example", "email_verified": "true"}, 403),
        ({"sub": "m", "email": "mail@clinic.example"}, 403),
        ({"sub": "m", "email": "mail@clinic.example", "email_verified": True}, 303),
        ({"sub": "m"}, 303),
        ({"sub": "somebody new", "email": "mail@clinic.example", "email_verified": True}, 403),
    ):
        sso.provider.is_honest_about(**claims)
        with sso.browser() as window:
            assert window.sign_in().status_code == status, claims


def test_an_identity_that_nobody_linked_is_refused_and_told_what_to_send(sso: SingleSignOn, window: Browser) -> None:
    with sso.sessions.read() as session:
        before = store.accounts.account_rows(session, None)
    sso.provider.is_honest_about("<b>4711</b>", email="new@clinic.example", name="the administrator")
    response = window.sign_in()
    check_nobody_signed_in(window, response, 403, f"issuer {sso.provider.issuer} – subject &lt;b&gt;4711&lt;/b&gt;")
    assert "no verified e-mail address" in response.text
    assert sso.events()[0] == (
        AccessAction.SIGN_IN_REFUSED,
        "an identity that no account is linked to (by clinic)",
    )
    with sso.sessions.read() as session:
        assert store.accounts.account_rows(session, None) == before


def test_a_disabled_account_is_refused(sso: SingleSignOn, window: Browser) -> None:
    add_linked_account(sso, "dr. gone")
    with sso.sessions.begin() as session:
        store.accounts.set_disabled(session, None, "dr. gone", disabled=True)
    check_nobody_signed_in(window, window.sign_in(), 403, "Your account is disabled")
    assert sso.events()[0] == (AccessAction.SIGN_IN_REFUSED, "dr. gone (by clinic)")


def _sign_out(sso: SingleSignOn, window: Browser) -> None:
    origin = str(window.client.base_url).rstrip("/")
    planted = f"{window.cookie}; _streamlit_user=x; _streamlit_user_1=y"
    response = window.client.post("/sign-out", headers={"Origin": origin, "Cookie": planted})
    assert response.headers["location"] == "./sign-in"
    emptied = response.headers.get_list("set-cookie")
    for name in (COOKIE, "_streamlit_user", "_streamlit_user_1"):
        assert any(line.startswith(f'{name}="";') and "max-age=0" in line.lower() for line in emptied), emptied


def _change(change: Callable[..., None], name: str, **values: object) -> Callable[[SingleSignOn, Browser], None]:
    def run(sso: SingleSignOn, window: Browser) -> None:
        with sso.sessions.begin() as session:
            change(session, None, name, **values)

    return run


def _unlink(sso: SingleSignOn, window: Browser) -> None:
    with sso.sessions.begin() as session:
        store.identities.unlink_identity(session, None, store.identities.identity_rows(session, None)[0].id)


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("dr. out", _sign_out),
        ("dr. disabled", _change(store.accounts.set_disabled, "dr. disabled", disabled=True)),
        ("dr. moved", _change(store.accounts.set_role, "dr. moved", role=Role.RESEARCHER)),
        ("dr. password", _change(store.accounts.set_password, "dr. password", password="quite another sentence")),
        ("dr. unlinked", _unlink),
    ],
)
def test_a_sign_in_ends_at_once_in_every_tab(
    sso: SingleSignOn, window: Browser, name: str, end: Callable[[SingleSignOn, Browser], None]
) -> None:
    add_linked_account(sso, name)
    assert window.sign_in().status_code == 303
    cookie = window.cookie
    where = f"ws://localhost:{sso.server.port}/_stcore/stream"
    with (
        connect(where, additional_headers={"Cookie": cookie}) as first,
        connect(where, additional_headers={"Cookie": cookie}) as second,
    ):
        end(sso, window)
        for tab in (first, second):
            with pytest.raises(ConnectionClosed) as closed:
                tab.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008
    assert sso.server.upgrade("/_stcore/stream", Cookie=cookie).status == 403
    assert window.get("/", Cookie=cookie).headers["location"] == "/sign-in"


def test_an_unlinked_identity_signs_in_no_more(sso: SingleSignOn, window: Browser) -> None:
    add_linked_account(sso, "dr. former")
    _unlink(sso, window)
    check_nobody_signed_in(window, window.sign_in(), 403, "it is not linked to an account here")


def test_signing_in_again_ends_what_was_before_in_this_browser(sso: SingleSignOn, window: Browser) -> None:
    add_linked_account(sso, "dr. first")
    window.sign_in()
    before = window.cookie
    add_linked_account(sso, "dr. second")
    window.client.cookies.delete(COOKIE)
    way = window.follow(window.choose("clinic"), "/oauth2callback").headers["location"]
    window.client.cookies.set(COOKIE, before.partition("=")[2])
    assert window.get(way).status_code == 303
    assert sso.server.upgrade("/_stcore/stream", Cookie=before).status == 403


def test_a_provider_that_is_down_is_named_and_the_password_still_works(sso: SingleSignOn, window: Browser) -> None:
    add_linked_account(sso, "dr. patient")
    sso.provider.answers_to = {"token"}
    check_nobody_signed_in(
        window, window.choose("clinic", "/read_case?case=7"), 503, "clinic cannot be reached at the moment"
    )
    sso.provider.answers_to = {"authorize"}
    response = window.sign_in(wanted="/read_case?case=7")
    assert 'name="next" value="/read_case?case=7"' in response.text
    check_nobody_signed_in(window, response, 401, "could not be verified")
    assert GateClient(sso.server.port, sso.sessions).sign_in("dr. patient", PASSWORD).status == 303
    assert sso.events()[0] == (AccessAction.SIGNED_IN, "dr. patient (by password)")


def test_a_provider_that_refuses_is_not_quoted(sso: SingleSignOn, window: Browser) -> None:
    add_linked_account(sso, "dr. refused")
    sso.provider.refuses = True
    response = window.sign_in()
    check_nobody_signed_in(window, response, 401, "did not sign you in")
    assert "<b>no" not in response.text
