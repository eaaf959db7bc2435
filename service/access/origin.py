"""Where a request comes from: the addresses this process listens on, and which proxy headers are trusted."""

import ipaddress
import threading
import time
from urllib.parse import urlsplit

import psutil
from starlette.datastructures import Headers
from starlette.types import Scope

# Only a proxy adds these: it publishes a loopback server to others.
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
_ADDED = {name.encode() for name in _PROXY_HEADERS}

# Reading the sockets takes several milliseconds, a page makes dozens of requests.
_SOCKETS_KNOWN_SECONDS = 2.0


def came_through_a_proxy(headers: Headers) -> bool:
    """Say whether a proxy left its mark on a request."""
    return any(name in headers for name in _PROXY_HEADERS)


def as_sent_to_the_proxy(scope: Scope) -> Scope:
    """Give a request as the browser sent it to our proxy: its scheme and host, and nothing else of what was added.

    The last value of each header is the one that the nearest proxy wrote; those before it may be the browser's own.
    """
    headers = Headers(scope=scope)
    scheme = _last(headers, "x-forwarded-proto").lower()
    host = _last(headers, "x-forwarded-host")
    kept = [(name, value) for name, value in scope["headers"] if name not in _ADDED]
    if host:
        kept = [*((name, value) for name, value in kept if name != b"host"), (b"host", host.encode("latin-1"))]
    if scheme in ("http", "https"):
        plain = "ws" if scope["type"] == "websocket" else "http"
        scope = {**scope, "scheme": plain + ("s" if scheme == "https" else "")}
    return {**scope, "headers": kept}


def _last(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


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


def names_this_computer(url: str) -> bool:
    """Say whether an address names this computer to itself, and nothing else."""
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
    except ValueError:
        return False
    return "@" not in parts.netloc and (name == "localhost" or _is_loopback(name))
