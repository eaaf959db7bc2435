"""The gate with real accounts, in front of a small application on a real socket of this process."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urljoin

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from core.settings import Settings
from db import store
from db.database import Sessions
from db.values.accounts import Account, Lifetime, Role
from service.access.browser_tabs import BrowserTabs
from service.access.gate import ACCOUNT, Gate
from service.access.media_owners import MediaOwners
from service.access.sessions import COOKIE, Access
from service.installation import Installation
from tests.helpers.concurrency import run_async, wait_until
from tests.helpers.databases import copy_tables
from tests.helpers.world import PASSWORD

SECRET = "a page with patients on it"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over the wire."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def cookie(self) -> str:
        """What our cookie was set to; empty if it was not."""
        found = self.headers.get("set-cookie", "")
        return found.partition("=")[2].partition(";")[0] if found.startswith(f"{COOKIE}=") else ""


@dataclass(frozen=True)
class GateClient:
    """A running gate, and the database of its accounts."""

    port: int
    sessions: Sessions
    heard: list[str] = field(default_factory=list)  # what came through by websocket
    installation: Installation | None = None  # None for a gate in another process

    @property
    def tabs(self) -> BrowserTabs:
        """Those that the gate knows."""
        assert self.installation is not None
        return self.installation.tabs

    @property
    def media(self) -> MediaOwners:
        """Whom the gate believes to have been given which file."""
        assert self.installation is not None
        return self.installation.media

    def add(self, name: str, role: Role = Role.READER) -> Account:
        """Make an account with the password of the tests."""
        with self.sessions.begin() as session:
            return store.accounts.add_signing_account(session, None, name, role, PASSWORD)

    def token(self, account: Account) -> str:
        """Make a token."""
        with self.sessions.begin() as session:
            return store.sign_ins.add_token(session, None, account, "test")

    def ask(self, path: str, method: str = "GET", body: str = "", **headers: str) -> Reply:
        """Ask once; `Host` is ours unless given."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        sent = {"Host": f"localhost:{self.port}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
            sent["Content-Length"] = str(len(body))
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body.encode() or None)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if "location" in found:  # where a browser would go from there
            found["location"] = urljoin(path, found["location"])
        reply = Reply(answer.status, answer.read().decode(errors="replace"), found)
        connection.close()
        return reply

    def sign_in(self, name: str, password: str = PASSWORD, *, following: str = "", **headers: str) -> Reply:
        """Send the form as a browser does."""
        form = urlencode({"name": name, "password": password, "next": following})
        sent = {"Origin": f"http://localhost:{self.port}"} | headers
        return self.ask("/sign-in", "POST", form, **sent)

    def cookie(self, name: str) -> str:
        """Sign in and give the Cookie header."""
        reply = self.sign_in(name)
        assert reply.status == 303, reply
        return f"{COOKIE}={reply.cookie}"


@contextmanager
def running_gate(
    tmp_path: Path, address: str = "127.0.0.1", *, behind_proxy: bool = False, lifetime: Lifetime | None = None
) -> Iterator[GateClient]:
    """Run a gate with an empty database until the block ends."""
    copy_tables(tmp_path / "gate.sqlite")
    settings = Settings(tmp_path, f"sqlite:///{tmp_path / 'gate.sqlite'}", tmp_path / "none", None, "cpu", 1)
    opened = Installation.open(settings)
    access = Access(opened.sessions, lifetime or Lifetime(), behind_proxy=behind_proxy)
    installation = replace(opened, access=access)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address, 0))
    listening.listen()
    client = GateClient(int(listening.getsockname()[1]), installation.sessions, installation=installation)
    config = uvicorn.Config(Gate(_inside(client.heard), lambda: installation), log_level="error", lifespan="off")
    with _running(uvicorn.Server(config), listening):
        yield client
    installation.close()


@contextmanager
def _running(server: uvicorn.Server, listening: socket.socket) -> Iterator[None]:
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    wait_until(lambda: server.started, seconds=20)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def _inside(heard: list[str]) -> Starlette:
    async def page(request: Request) -> PlainTextResponse:
        account = request.scope.get(ACCOUNT)
        scheme = request.url.scheme
        return PlainTextResponse(
            f"{SECRET}, {account.name if account else 'nobody'} by {scheme} at {request.url.netloc}"
        )

    async def stream(websocket: WebSocket) -> None:
        await websocket.accept()
        heard.append(websocket.headers.get("sec-websocket-protocol", ""))
        await websocket.send_text(SECRET)
        try:
            while True:
                heard.append(await websocket.receive_text())
                await websocket.send_text("heard")
        except WebSocketDisconnect:
            heard.append("closed")

    methods = ["GET", "PUT", "POST", "DELETE"]
    return Starlette(routes=[WebSocketRoute("/_stcore/stream", stream), Route("/{path:path}", page, methods=methods)])


def ask_gate_itself(
    server: tuple[str, int | None] | None,
    headers: list[tuple[bytes, bytes]],
    *,
    passed: int,
    installation: Callable[[], Installation | None] | None = None,
) -> int:
    """Return the status of a request that no server made; `passed` is that of one that the gate lets through."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    async def receive() -> Message:
        await asyncio.sleep(0)
        return {"type": "http.request"}

    async def inside(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": passed, "headers": []})

    scope = {"type": "http", "path": "/", "method": "GET", "headers": headers, "server": server}
    run_async(Gate(inside, installation)(scope, receive, send))
    return int(sent[0]["status"])
