"""The real server with accounts, reachable from elsewhere: with TLS, behind a proxy, and when neither is there."""

import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest

from db import store
from db.database import Sessions
from db.values.accounts import Role
from tests.helpers.databases import open_new
from tests.helpers.gate import GateClient
from tests.helpers.server import Server, running_server
from tests.helpers.world import PASSWORD

pytestmark = pytest.mark.slow


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    """The database of the server, with one reader."""
    opened = open_new(tmp_path / "second_read.sqlite")
    with opened.begin() as session:
        store.accounts.add_signing_account(session, None, "dr. a", Role.READER, PASSWORD)
    yield opened
    opened.dispose()


def test_with_accounts_and_without_encryption_nothing_is_served_to_others(tmp_path: Path, sessions: Sessions) -> None:
    with running_server(tmp_path, "0.0.0.0") as server:
        house = GateClient(server.port, sessions)
        for path in ("/", "/sign-in", "/images/1", "/_stcore/metrics"):
            assert house.ask(path).status == 403, path
        assert (house.sign_in("dr. a").status, house.sign_in("dr. a").cookie) == (403, "")
        assert house.ask("/sign-in", X_Forwarded_Proto="https").status == 403
        assert server.upgrade("/_stcore/stream").status == 403
        assert house.ask("/health").status == 200


def test_behind_a_proxy_that_encrypts_readers_sign_in_and_the_page_opens(
    tmp_path: Path, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_READ_BEHIND_PROXY", "1")
    proxied = {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "reads.example", "X_Forwarded_For": "192.0.2.7"}
    with running_server(tmp_path, "0.0.0.0") as server:
        house = GateClient(server.port, sessions)
        assert server.upgrade("/_stcore/stream", Origin="https://reads.example", **proxied).status == 403
        signed = house.sign_in("dr. a", Origin="https://reads.example", **proxied)
        assert signed.status == 303
        assert "secure" in signed.headers["set-cookie"].lower()
        cookie = f"second_read={signed.cookie}"
        opened = server.upgrade("/_stcore/stream", Origin="https://reads.example", Cookie=cookie, **proxied)
        assert opened.status == 101
        foreign = server.upgrade("/_stcore/stream", Origin="https://evil.example", Cookie=cookie, **proxied)
        assert foreign.status == 403


def test_with_a_certificate_of_its_own_it_serves_others(
    tmp_path: Path, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    named = ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*made, *named, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    monkeypatch.setenv("STREAMLIT_SERVER_SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("STREAMLIT_SERVER_SSL_KEY_FILE", str(key))
    trusted = ssl.create_default_context(cafile=certificate)
    with running_server(tmp_path, "0.0.0.0") as server, closing(_connect(server, trusted)) as connection:
        connection.request("GET", "/", headers={"Accept": "text/html"})
        answer = connection.getresponse()
        answer.read()
        assert answer.getheader("Location") == "./sign-in"
        form = urlencode({"name": "dr. a", "password": PASSWORD})
        origin = f"https://localhost:{server.port}"
        sent = {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/sign-in", form, sent)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 303
        assert "secure" in str(answer.getheader("Set-Cookie")).lower()


def _connect(server: Server, trusted: ssl.SSLContext) -> HTTPSConnection:
    return HTTPSConnection("localhost", server.port, context=trusted, timeout=30)
