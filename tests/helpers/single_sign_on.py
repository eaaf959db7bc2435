"""The real server with an identity provider beside it, and a browser that goes from one to the other and back."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from db import store
from db.database import Sessions
from db.values.accounts import Account, Role
from service.access.sessions import COOKIE
from tests.helpers.databases import open_new
from tests.helpers.openid_provider import CLIENT, CLIENT_SECRET, OpenIdProvider, running_provider
from tests.helpers.server import Server, running_server
from tests.helpers.world import PASSWORD

COOKIE_SECRET = "only for tests, 32 characters or more"
SETTINGS = """[auth]
redirect_uri = "http://localhost:{{port}}/oauth2callback"
cookie_secret = "{cookie_secret}"
client_id = "{client}"
client_secret = "{client_secret}"
server_metadata_url = "{issuer}/.well-known/openid-configuration"

[auth.clinic]
client_id = "{client}"
client_secret = "{client_secret}"
server_metadata_url = "{issuer}/.well-known/openid-configuration"
"""


@dataclass(frozen=True)
class SingleSignOn:
    """A server, its database, and the provider that it was told of."""

    server: Server
    sessions: Sessions
    provider: OpenIdProvider

    def add(self, name: str, role: Role = Role.READER) -> Account:
        """Make an account with the password of the tests."""
        with self.sessions.begin() as session:
            return store.accounts.add_signing_account(session, None, name, role, PASSWORD)

    def link(self, name: str, *, subject: str = "", email: str = "") -> None:
        """Link an account to an identity of the provider."""
        with self.sessions.begin() as session:
            store.identities.link_identity(session, None, name, self.provider.issuer, subject=subject, email=email)

    def events(self, limit: int = 5) -> list[tuple[str, str]]:
        """Give action and subject of the last events, the newest first."""
        with self.sessions.read() as session:
            return [(event.action, event.subject) for event in store.audit.audit_trail(session, limit=limit)]

    @contextmanager
    def browser(self) -> Iterator["Browser"]:
        """Open a browser without cookies."""
        where = f"http://localhost:{self.server.port}"
        # The first page of a server that just started may take its time.
        with httpx.Client(base_url=where, headers={"Accept": "text/html"}, timeout=60) as client:
            yield Browser(client)


@dataclass(frozen=True)
class Browser:
    """A browser as far as redirects and cookies go."""

    client: httpx.Client
    way: list[str] = field(default_factory=list)  # every address that was opened

    def get(self, address: str, **headers: str) -> httpx.Response:
        """Ask once, and follow nowhere."""
        self.way.append(address)
        response = self.client.get(address, headers={name.replace("_", "-"): value for name, value in headers.items()})
        if response.headers.get("location", "").startswith("."):
            whole = urlsplit(urljoin(str(response.url), response.headers["location"]))
            response.headers["location"] = whole._replace(scheme="", netloc="").geturl()
        return response

    def follow(self, response: httpx.Response, until_path: str = "") -> httpx.Response:
        """Go where the answers lead, as far as one that leads to a path, if given."""
        while response.is_redirect and not (until_path and until_path in response.headers["location"]):
            response = self.get(response.headers["location"])
        return response

    def choose(self, provider: str, wanted: str = "/") -> httpx.Response:
        """Open a page, and on the sign-in page that comes instead choose a provider; gives the answer to that."""
        page = self.follow(self.get(wanted))
        found = re.search(rf'href="([^"]+)">Sign in with {re.escape(provider)}<', page.text)
        assert found, page.text
        return self.get(urljoin(str(page.url), html.unescape(found[1])), Sec_Fetch_Site="same-origin")

    def sign_in(self, provider: str = "clinic", wanted: str = "/") -> httpx.Response:
        """Go all the way to a provider and back, as far as the server's own answer to what comes back."""
        response = self.follow(self.choose(provider, wanted), "/oauth2callback")
        return self.get(response.headers["location"]) if response.is_redirect else response

    @property
    def cookies(self) -> dict[str, str]:
        """Every cookie that the server set."""
        return {cookie.name: cookie.value or "" for cookie in self.client.cookies.jar}

    @property
    def cookie(self) -> str:
        """The Cookie header of our own sign-in; empty if there is none."""
        secret = self.cookies.get(COOKIE, "")
        return f"{COOKIE}={secret}" if secret else ""


@contextmanager
def running_single_sign_on(data: Path) -> Iterator[SingleSignOn]:
    """Run a server with one administrator, and the provider, until the block ends."""
    sessions = open_new(data / "second_read.sqlite")
    with sessions.begin() as session:
        store.accounts.add_signing_account(session, None, "the administrator", Role.ADMINISTRATOR, PASSWORD)
    with running_provider() as provider:
        folder = data / ".streamlit"
        folder.mkdir()
        filled = SETTINGS.format(
            cookie_secret=COOKIE_SECRET, client=CLIENT, client_secret=CLIENT_SECRET, issuer=provider.issuer
        )
        (folder / "secrets.toml").write_text(filled)
        with running_server(data, "127.0.0.1") as server:
            yield SingleSignOn(server, sessions, provider)
    sessions.dispose()


def add_linked_account(sso: SingleSignOn, name: str, role: Role = Role.READER) -> str:
    """Make an account with an identity that the provider signs in, and return its subject."""
    sso.add(name, role)
    sso.link(name, subject=f"number of {name}")
    sso.provider.is_honest_about(f"number of {name}")
    return f"number of {name}"


def check_nobody_signed_in(window: Browser, response: httpx.Response, status: int, words: str) -> None:
    """Check that nobody was signed in, and that the page says why."""
    assert (response.status_code, window.cookie) == (status, "")
    assert words in response.text
    assert 'type="password"' in response.text
    assert "_streamlit_user" not in str(response.headers)
    assert window.get("/").headers["location"] == "/sign-in"
