"""Origin of a request: the addresses this process listens on, and the proxy headers that are trusted."""

import ipaddress
import threading
import time
from urllib.parse import urlsplit

import psutil
from starlette.datastructures import Headers
from starlette.types import Scope

# Only a proxy adds these headers; it would make a loopback server reachable for others.
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
_PROXY_HEADER_NAMES = {name.encode() for name in _PROXY_HEADERS}

_SOCKETS_CACHED_SECONDS = 2.0  # listing sockets takes several milliseconds, and a page makes dozens of requests


def came_through_proxy(headers: Headers) -> bool:
    """Return whether a request has a header that only a proxy adds."""
    return any(name in headers for name in _PROXY_HEADERS)


def as_sent_to_the_proxy(scope: Scope) -> Scope:
    """Return a request as the browser sent it to our proxy: scheme, host and sender, without the proxy's headers.

    The last value of each header was written by the nearest proxy; earlier values may come from the browser itself.
    """
    headers = Headers(scope=scope)
    scheme = _last(headers, "x-forwarded-proto").lower()
    host = _last(headers, "x-forwarded-host")
    original = [(name, value) for name, value in scope["headers"] if name not in _PROXY_HEADER_NAMES]
    if host:
        others = ((name, value) for name, value in original if name != b"host")
        original = [*others, (b"host", host.encode("latin-1"))]
    if scheme in ("http", "https"):
        plain = "ws" if scope["type"] == "websocket" else "http"
        scope = {**scope, "scheme": plain + ("s" if scheme == "https" else "")}
    sender = _last(headers, "x-forwarded-for")
    if sender:
        # Uvicorn has replaced the sender too, but it may take an earlier value, which the browser itself can write.
        scope = {**scope, "client": (sender, 0)}
    return {**scope, "headers": original}


def _last(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


class ListeningSockets:
    """The addresses on which this process listens, cached for two seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cache: dict[int, tuple[float, bool]] = {}

    def only_loopback(self, port: int | None) -> bool:
        """Return whether a port of this process can be reached only from this computer; False if in doubt."""
        if port is None:
            return False
        with self._lock:
            checked_at, only_loopback = self._cache.get(port, (-_SOCKETS_CACHED_SECONDS, False))
            if time.monotonic() - checked_at >= _SOCKETS_CACHED_SECONDS:
                only_loopback = _listens_only_on_loopback(port)
                self._cache[port] = (time.monotonic(), only_loopback)
            return only_loopback


def _listens_only_on_loopback(port: int) -> bool:
    try:
        connections = psutil.Process().net_connections(kind="inet")
    except (psutil.Error, OSError):
        return False
    addresses = [c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
    return bool(addresses) and all(_is_loopback(address) for address in addresses)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def names_this_computer(url: str) -> bool:
    """Return whether the host of a URL is localhost or a loopback address, without user information."""
    try:
        parts = urlsplit(url)
        name = parts.hostname or ""
    except ValueError:
        return False
    return "@" not in parts.netloc and (name == "localhost" or _is_loopback(name))
