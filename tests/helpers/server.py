"""A real server, started as a reader starts it, for tests that ask it over the network."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urljoin

import psutil
import pytest

from tests.helpers.forked import PROJECT, Program, start_server

_START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: the status, the first part of the body, and where a browser would go from there."""

    status: int
    text: str
    location: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server and where to ask it."""

    address: str
    port: int
    process: Program

    def ask(self, path: str, method: str = "GET", host: str = "localhost", **headers: str) -> Answer:
        """Ask once, and never follow anywhere."""
        connection = HTTPConnection(self.address, self.port, timeout=30)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        location = answer.getheader("Location")
        leads_to = urljoin(path, location) if location else ""
        found = Answer(answer.status, answer.read(100_000).decode(errors="replace"), leads_to)
        connection.close()
        return found

    def upgrade(self, path: str, host: str = "localhost", **headers: str) -> Answer:
        """Ask for a websocket; the status is 101 when it is granted."""
        asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
        return self.ask(path, "GET", host, **asked, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", **headers)


@contextmanager
def running_server(
    data: Path, bound: str, *, reach: str = "127.0.0.1", checkpoint: Path | None = None
) -> Iterator[Server]:
    """Run `streamlit run streamlit_app.py` on a free port until the block ends; asked at `reach`.

    It has started when its port accepts a connection: no request is made, so the caller's is the first.
    """
    data.mkdir(exist_ok=True)
    port = _free_port(reach)
    chosen = {"SECOND_READ_DATA": str(data), "SECOND_READ_CHECKPOINT": str(checkpoint or data / "none.safetensors")}
    options = [f"--server.address={bound}", f"--server.port={port}"]
    (data / "server.log").unlink(missing_ok=True)
    process = start_server(PROJECT / "streamlit_app.py", options, data, chosen, data / "server.log")
    try:
        _wait_for_port(process, port, data / "server.log")
        yield Server(reach, port, process)
    finally:
        process.terminate()
        process.wait(30)


def outside_address() -> str:
    """Return an address of this computer that others can reach; skip the test if there is none."""
    for addresses in psutil.net_if_addrs().values():
        for found in addresses:
            if found.family == socket.AF_INET and not found.address.startswith("127."):
                return found.address
    pytest.skip("this computer has no address but loopback")


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _listens(pid: int, port: int) -> bool:
    try:
        found = psutil.Process(pid).net_connections(kind="inet")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port for one in found)


def _wait_for_port(process: Program, port: int, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        # Asked of the process and not of the port: another one may have taken it between our look and our start.
        if _listens(process.pid, port):
            return
        time.sleep(0.05)
    raise AssertionError(f"the server did not start:\n{log.read_text()}")
