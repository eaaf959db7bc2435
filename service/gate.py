"""The gate: decides, before anything else runs, whether a request may pass.

It stands in front of pages, deep links, the websocket, media, uploads, metrics, static files and our own
routes. Without accounts only this computer's own reader may pass; whether the server can be reached from
elsewhere is read from the sockets it really listens on, because settings and headers can say anything.
"""

import html
import ipaddress
import threading
import time
from urllib.parse import urlsplit

import psutil
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

_HEALTH = "/health"

# Reading the sockets takes several milliseconds, a page makes dozens of requests.
_SOCKETS_KNOWN_SECONDS = 2.0

# Only a proxy adds these: it publishes a loopback server to others.
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")

_NOT_LOOPBACK = (
    "Second Read can be reached from other computers here, and it has no accounts. "
    "Without accounts it serves only the computer it runs on: start it with server.address = 127.0.0.1."
)
_PROXIED = (
    "This request came through a proxy, and Second Read has no accounts. "
    "Without accounts it serves only the computer it runs on, without a proxy in between."
)
_WRONG_HOST = (
    "Without accounts Second Read answers only to the names of this computer: open it as localhost or 127.0.0.1."
)
_WRONG_ORIGIN = "Another web site tried to use Second Read through this browser. It was refused."

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Second Read</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 18px/1.5 sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em }}
</style>
</head><body><h1>Second Read</h1><p>{reason}</p><p>Research use only.</p></body></html>"""


class Gate:
    """ASGI middleware that lets a request through, or answers with the reason why not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._sockets = ListeningSockets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the server's own start and stop, `/health`, and what may pass; refuse the rest."""
        passes = scope["type"] == "lifespan" or _asks_for_health(scope)
        reason = None if passes else self._reason_to_refuse(scope)
        if reason is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            # Closed before it is accepted: the browser sees the upgrade refused with 403.
            await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        else:
            await _refusal(Headers(scope=scope), reason)(scope, receive, send)

    def _reason_to_refuse(self, scope: Scope) -> str | None:
        server = scope.get("server")
        if not server or not self._sockets.only_loopback(server[1]):
            return _NOT_LOOPBACK
        headers = Headers(scope=scope)
        if any(name in headers for name in _PROXY_HEADERS):
            return _PROXIED
        hosts = headers.getlist("host")
        # A foreign name that resolves to 127.0.0.1 would let its web site read everything (DNS rebinding).
        if len(hosts) != 1 or not _names_this_computer(f"//{hosts[0]}"):
            return _WRONG_HOST
        if not all(_names_this_computer(origin) for origin in headers.getlist("origin")):
            return _WRONG_ORIGIN
        return None


class ListeningSockets:
    """The addresses on which this process listens, looked up again after a moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_up: dict[int, tuple[float, bool]] = {}

    def only_loopback(self, port: int | None) -> bool:
        """Say whether a port of this process can be reached from this computer only; in doubt, no."""
        if port is None:
            return False
        with self._lock:
            when, answer = self._looked_up.get(port, (-_SOCKETS_KNOWN_SECONDS, False))
            if time.monotonic() - when >= _SOCKETS_KNOWN_SECONDS:
                answer = _listens_only_on_loopback(port)
                self._looked_up[port] = (time.monotonic(), answer)
            return answer


def _listens_only_on_loopback(port: int) -> bool:
    try:
        found = psutil.Process().net_connections(kind="inet")
    except (psutil.Error, OSError):
        return False
    addresses = [c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
    return bool(addresses) and all(_is_loopback(address) for address in addresses)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _names_this_computer(url: str) -> bool:
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
    except ValueError:
        return False
    return "@" not in parts.netloc and (name == "localhost" or _is_loopback(name))


def _asks_for_health(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["path"] == _HEALTH and scope["method"] in ("GET", "HEAD")


def _refusal(headers: Headers, reason: str) -> Response:
    no_store = {"Cache-Control": "no-store"}
    if "text/html" in headers.get("accept", ""):
        return HTMLResponse(_PAGE.format(reason=html.escape(reason)), 403, no_store)
    return JSONResponse({"detail": reason}, 403, no_store)
