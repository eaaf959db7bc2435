"""The gate, in front of a small application on real sockets of this process."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from service.access.gate import Gate
from tests.helpers.gate import ask_gate_itself
from tests.helpers.server import outside_address

_SECRET = "a page with patients on it"


async def _page(_: Request) -> PlainTextResponse:
    return PlainTextResponse(_SECRET)


async def _stream(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(_SECRET)
    await websocket.close()


def _inside() -> Starlette:
    methods = ["GET", "PUT", "POST"]
    return Starlette(routes=[WebSocketRoute("/stream", _stream), Route("/{path:path}", _page, methods=methods)])


@contextmanager
def _served(*addresses: str) -> Iterator[int]:
    """Serve the gate on one port of all these addresses."""
    sockets = [_bound(addresses[0], 0)]
    port = int(sockets[0].getsockname()[1])
    sockets += [_bound(address, port) for address in addresses[1:]]
    server = uvicorn.Server(uvicorn.Config(Gate(_inside()), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield port
    finally:
        server.should_exit = True
        thread.join()


def _bound(address: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((address, port))
    bound.listen()
    return bound


def _ask(port: int, path: str = "/read_case", method: str = "GET", *headers: tuple[str, str]) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for name, value in headers or (("Host", "localhost"),):
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_on_loopback_the_reader_of_this_computer_passes() -> None:
    with _served("127.0.0.1") as port:
        assert _ask(port) == (200, _SECRET)
        with connect(f"ws://localhost:{port}/stream") as websocket:
            assert websocket.recv() == _SECRET


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_on_every_interface_nothing_passes_even_when_asked_from_this_computer(address: str) -> None:
    with _served(address) as port:
        for method in ("GET", "PUT", "POST"):
            status, text = _ask(port, "/_stcore/upload_file/a/b", method)
            assert status == 403
            assert _SECRET not in text
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://localhost:{port}/stream"):
            pass
        assert refused.value.response.status_code == 403


def test_oneoutside_address_beside_loopback_closes_the_gate() -> None:
    with _served("127.0.0.1", outside_address()) as port:
        assert _ask(port)[0] == 403


def test_two_loopback_addresses_are_still_loopback() -> None:
    with _served("127.0.0.1", "127.0.0.2") as port:
        assert _ask(port) == (200, _SECRET)


def test_another_port_that_others_can_reach_leaves_the_gate_open() -> None:
    with _served("127.0.0.1") as port, _bound("0.0.0.0", 0):
        assert _ask(port) == (200, _SECRET)


def test_health_answers_behind_a_closed_gate_and_nothing_that_looks_like_it_does() -> None:
    with _served("0.0.0.0") as port:
        assert _ask(port, "/health")[0] == 200
        for path in ("/health/", "/health/../read_case", "//health", "/health%2f..", "/Health"):
            assert _ask(port, path)[0] == 403
        assert _ask(port, "/health", "POST")[0] == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8501", "127.0.0.1:1", "127.5.5.5", "[::1]:8501"])
def test_every_name_of_this_computer_is_answered(host: str) -> None:
    with _served("127.0.0.1") as port:
        assert _ask(port, "/", "GET", ("Host", host)) == (200, _SECRET)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil@localhost",
        "localhost@evil.example",
        "2130706433",
        "192.0.2.7",
        "[::1",
        "",
    ],
)
def test_a_foreign_name_that_leads_here_is_refused(host: str) -> None:
    with _served("127.0.0.1") as port:
        assert _ask(port, "/", "GET", ("Host", host))[0] in (400, 403)
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://localhost:{port}/stream", additional_headers={"Host": host})
        assert refused.value.response.status_code in (400, 403)


@pytest.mark.parametrize("hosts", [[], [b"localhost", b"evil.example"], [b"evil.example", b"localhost"]])
def test_no_name_or_two_names_are_refused_even_if_the_server_lets_them_in(hosts: list[bytes]) -> None:
    with _bound("127.0.0.1", 0) as listening:
        server = ("127.0.0.1", listening.getsockname()[1])
        assert _status(server, [(b"host", b"localhost")]) == 204
        assert _status(server, [(b"host", host) for host in hosts]) == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example:8501", "file://"])
def test_another_web_site_in_the_readers_browser_is_refused(origin: str) -> None:
    with _served("127.0.0.1") as port:
        assert _ask(port, "/", "POST", ("Host", "localhost"), ("Origin", origin))[0] == 403
        with pytest.raises(InvalidStatus) as refused:
            connect(f"ws://localhost:{port}/stream", additional_headers={"Origin": origin})
        assert refused.value.response.status_code == 403


def test_our_own_pages_may_open_the_websocket() -> None:
    with _served("127.0.0.1") as port:
        own = {"Origin": f"http://127.0.0.1:{port}"}
        with connect(f"ws://localhost:{port}/stream", additional_headers=own) as websocket:
            assert websocket.recv() == _SECRET


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via"])
def test_a_proxy_does_not_make_a_stranger_local(header: str) -> None:
    with _served("127.0.0.1") as port:
        assert _ask(port, "/", "GET", ("Host", "localhost"), (header, "127.0.0.1"))[0] == 403


def test_no_header_opens_a_closed_gate() -> None:
    with _served("0.0.0.0") as port:
        claims = (("Host", "localhost"), ("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1"))
        assert _ask(port, "/", "GET", *claims)[0] == 403


def test_a_browser_gets_a_page_and_a_program_gets_json() -> None:
    with _served("0.0.0.0") as port:
        _, page = _ask(port, "/", "GET", ("Host", "x"), ("Accept", "text/html,*/*"))
        assert "<h1>Second Read</h1>" in page
        assert "no accounts" in page
        _, answer = _ask(port, "/images/1")
        assert "no accounts" in json.loads(answer)["detail"]


@pytest.mark.parametrize("server", [None, ("/run/second_read.sock", None), ("127.0.0.1", 1)])
def test_a_server_whose_sockets_are_unknown_is_not_loopback(server: tuple[str, int | None] | None) -> None:
    assert _status(server, [(b"host", b"localhost")]) == 403


def _status(server: tuple[str, int | None] | None, headers: list[tuple[bytes, bytes]]) -> int:
    """Ask the gate itself; 204 when the request passed it."""
    return ask_gate_itself(server, headers, passed=204)
