"""The prefix under which Second Read may be served, such as `/second-read`: paths below it, and addresses that keep it.

Two cases work alike. Streamlit's option `server.baseUrlPath` names a prefix that arrives with every request; it is the
`root_path` of the application. A proxy may also remove a prefix that nobody here knows. Therefore no address that is
sent to a browser begins with a slash: each is relative to the page that the browser asked for.
"""

# Not public, but the very function with which the routers read a path: a gate that read it otherwise could be passed.
from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def prefix_of(base_url_path: str) -> str:
    """Return the option `server.baseUrlPath` with a slash in front and none behind; empty without a prefix."""
    inner = base_url_path.strip("/")
    return f"/{inner}" if inner else ""


def own_path(scope: Scope) -> str:
    """Return the path of a request below the prefix; empty for the prefix itself without a slash behind it."""
    return get_route_path(scope)


def relative_address(scope: Scope, address: str) -> str:
    """Return one of our addresses, which begins with a slash, relative to the path of a request."""
    # Never without the dots: what comes after the slash may look like a scheme, as in `/https://evil.example`.
    upwards = "../" * (own_path(scope).count("/") - 1) or "./"
    return upwards + address.removeprefix("/")


class PagesUnderPrefix:
    """Passes requests to Streamlit under its option `server.baseUrlPath`, also if a proxy has removed that prefix."""

    def __init__(self, pages: ASGIApp, prefix: str) -> None:
        self._pages = pages
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_relative(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._make_location_relative(message, scope)
            await send(message)

        # Streamlit compares whole paths with its option, and knows nothing of `root_path`.
        whole = {**scope, "path": self._prefix + own_path(scope), "root_path": ""}
        await self._pages(whole, receive, send_relative)

    def _make_location_relative(self, message: Message, scope: Scope) -> None:
        message.setdefault("headers", [])
        headers = MutableHeaders(scope=message)
        location = headers.get("location", "")
        own = location.removeprefix(self._prefix) if location.startswith(f"{self._prefix}/") else location
        if own.startswith("/") and not own.startswith("//"):
            headers["location"] = relative_address(scope, own)
