"""The real server, from outside: what may be reached, and what not, on loopback and on other addresses."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit

from tests.helpers.server import Answer, Server, outside_address, running_server
from tests.helpers.stress import amount

pytestmark = pytest.mark.slow

# Every kind of thing the server can be asked for. What is not our own belongs to Streamlit 1.67.
_ASKED: dict[str, Callable[[Server], Answer]] = {
    "deep link": lambda server: server.ask("/read_case?case=1", Accept="text/html"),
    "websocket": lambda server: server.upgrade("/_stcore/stream"),
    "media": lambda server: server.ask("/media/0123456789abcdef.png"),
    "upload": lambda server: server.ask("/_stcore/upload_file/session/file", "PUT"),
    "metrics": lambda server: server.ask("/_stcore/metrics"),
    "front page": lambda server: server.ask("/"),
    "page file": lambda server: server.ask("/pages/frame.py"),
    "streamlit health": lambda server: server.ask("/_stcore/health"),
    "host config": lambda server: server.ask("/_stcore/host-config"),
    "agent": lambda server: server.ask("/_stcore/agent/openapi.json"),
    "component": lambda server: server.ask("/component/x/index.html"),
    "component v2": lambda server: server.ask("/_stcore/bidi-components/x/index.js"),
    "static": lambda server: server.ask("/static/js/index.js"),
    "app static": lambda server: server.ask("/app/static/x.png"),
    "image": lambda server: server.ask("/images/1"),
    "heat map": lambda server: server.ask("/images/1/heatmap"),
    "scope map": lambda server: server.ask("/images/1/scope-map"),
    "viewer": lambda server: server.ask("/assets/openseadragon.min.js"),
    "routes": lambda server: server.ask("/openapi.json"),
    "docs": lambda server: server.ask("/docs"),
    "login": lambda server: server.ask("/auth/login"),
    "other websocket": lambda server: server.upgrade("/health"),
    "preflight": lambda server: server.ask("/images/1", "OPTIONS", Access_Control_Request_Method="GET"),
    "trace": lambda server: server.ask("/", "TRACE"),
}


def _assert_closed(server: Server, kind: str) -> None:
    answer = _ASKED[kind](server)
    assert answer.status == 403, (kind, answer)
    assert "streamlit" not in answer.text.lower(), kind


@pytest.mark.parametrize("first", ["deep link", "websocket", "media", "upload", "metrics", "image"][: amount(6, 2)])
def test_on_every_interface_the_very_first_request_is_refused_and_so_is_every_other(tmp_path: Path, first: str) -> None:
    with running_server(tmp_path, "0.0.0.0") as server:
        _assert_closed(server, first)
        for kind in _ASKED:
            _assert_closed(server, kind)
        assert server.ask("/health").status == 200
        assert "no accounts" in _ASKED["deep link"](server).text


def test_on_the_machines_own_address_every_request_is_refused(tmp_path: Path) -> None:
    address = outside_address()
    with running_server(tmp_path, address, reach=address) as server:
        for kind in _ASKED:
            _assert_closed(server, kind)
        assert server.ask("/health", host=address).status == 200


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on loopback, without a usable checkpoint."""
    with running_server(tmp_path_factory.mktemp("home"), "127.0.0.1") as server:
        yield server


def test_on_loopback_the_pages_and_their_websocket_are_served(at_home: Server) -> None:
    assert 'id="root"' in at_home.ask("/").text
    assert 'id="root"' in at_home.ask("/read_case").text
    assert at_home.upgrade("/_stcore/stream").status == 101


def test_a_stranger_cannot_use_the_readers_browser(at_home: Server) -> None:
    for kind in ("deep link", "metrics", "image"):
        assert _ASKED[kind](at_home).status != 403, kind
    assert at_home.ask("/", host="evil.example").status == 403
    assert at_home.upgrade("/_stcore/stream", host=f"evil.example:{at_home.port}").status == 403
    assert at_home.upgrade("/_stcore/stream", Origin="https://evil.example").status == 403
    assert at_home.ask("/", X_Forwarded_For="192.0.2.1").status == 403


def test_nothing_of_a_page_comes_from_another_server(at_home: Server) -> None:
    page = at_home.ask("/").text
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//[^\"]+", page) == []
    docs = at_home.ask("/docs").text
    assert "swagger-ui-bundle.js" in docs
    assert re.findall(r"//[a-z][^\"' ]+", docs) == []


def test_health_says_why_no_image_is_analysed_without_naming_places(at_home: Server) -> None:
    answer = json.loads(at_home.ask("/health").text)
    end = time.monotonic() + 60
    while answer["problem"] is None and time.monotonic() < end:
        time.sleep(0.2)
        answer = json.loads(at_home.ask("/health").text)
    assert answer["status"] == "degraded"
    assert "none.safetensors" in answer["problem"]
    assert "/" not in answer["problem"]
    assert answer["model_version"] is None


def test_an_unknown_image_is_said_in_words(at_home: Server) -> None:
    answer = at_home.ask("/images/12345")
    assert answer.status == 404
    assert json.loads(answer.text)["detail"] == "there is no image number 12345"


def test_a_stopping_server_does_not_wait_for_a_client_that_never_reads(tmp_path: Path) -> None:
    with running_server(tmp_path / "data", "127.0.0.1") as server, socket.socket() as client:
        scripts = (Path(streamlit.__file__).parent / "static" / "static" / "js").glob("*.js")
        largest = max(scripts, key=lambda path: path.stat().st_size).name
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((server.address, server.port))
        client.sendall(f"GET /static/js/{largest} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(1), "the answer has begun, and the rest waits in the server"
        server.process.terminate()
        assert server.process.wait(60) is not None
