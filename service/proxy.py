"""What a proxy adds to a request, and what of it is believed when the operator says that there is one."""

from starlette.datastructures import Headers
from starlette.types import Scope

# Only a proxy adds these: it publishes a loopback server to others.
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
_ADDED = {name.encode() for name in _PROXY_HEADERS}


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
