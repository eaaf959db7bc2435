"""The gate: decides, before anything else runs, whether a request may pass, and for whom.

It stands in front of pages, deep links, the websocket, media, uploads, metrics, static files and our own
routes. Without accounts only this computer's own reader may pass; whether the server can be reached from
elsewhere is read from the sockets it really listens on, because settings and headers can say anything.
With accounts everything but `/health`, the sign-in page, and the way to a configured identity provider and back
needs somebody who is signed in.
"""

import html
import logging
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from db.values.accounts import ALLOWED, Permission
from service.access.browser_tabs import Tabs
from service.access.openid import ProviderDesk
from service.access.origin import ListeningSockets, as_sent_to_the_proxy, came_through_a_proxy, names_this_computer
from service.access.providers import CALLBACK, LOGIN
from service.access.sessions import Access, Visitor
from service.access.sign_in_page import SIGN_IN, SIGN_OUT, FrontDesk, wants_a_page, way_to_sign_in
from service.access.websocket import StillSignedIn, Watched
from service.installation import Installation

# Doors that only some roles may use; the others are for everybody who is signed in.
_DOORS = (
    ("/_stcore/metrics", Permission.ADMINISTER),
    ("/_stcore/upload_file", Permission.READ_CASES),
    ("/images", Permission.READ_CASES),
)
# Streamlit's pages for programs would run them without a browser, and so without a sign-in.
_CLOSED = ("/_stcore/agent",)
# What a browser asks by itself while its reader is away.
_QUIET = ("/_stcore/health", "/_stcore/host-config", "/_stcore/metrics")

_UPLOAD = "/_stcore/upload_file/"

ACCOUNT = "second_read.account"  # key of the scope: the Account of a request that passed, if there are accounts

_HEALTH = "/health"

_NOT_LOOPBACK = (
    "Second Read can be reached from other computers here, and it has no accounts. "
    "Without accounts it serves only the computer it runs on: start it with server.address = 127.0.0.1, "
    "or make accounts with python -m db accounts add."
)
_PROXIED = (
    "This request came through a proxy, and Second Read has no accounts. "
    "Without accounts it serves only the computer it runs on, without a proxy in between."
)
_WRONG_HOST = (
    "Without accounts Second Read answers only to the names of this computer: open it as localhost or 127.0.0.1."
)
_WRONG_ORIGIN = "Another web site tried to use Second Read through this browser. It was refused."
_UNEXPECTED_PROXY = (
    "This request came through a proxy, which Second Read was not told of. "
    "If that proxy is yours, start Second Read with SECOND_READ_BEHIND_PROXY=1."
)
_NO_TLS = (
    "Second Read can be reached from other computers here, and passwords would travel unencrypted. "
    "Start it with server.sslCertFile and server.sslKeyFile, or behind a proxy that encrypts, "
    "with SECOND_READ_BEHIND_PROXY=1."
)
_SIGNED_OUT = "Signed out. Load the page again to sign in; programs send a valid token."
_NO_DATABASE = "The database does not answer, so nobody can be let in. The log of the server has more."

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Second Read</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 18px/1.5 sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em }}
</style>
</head><body><h1>Second Read</h1><p>{reason}</p><p>Research use only.</p></body></html>"""

_log = logging.getLogger("second_read.gate")


def reason_by_role(scope: Scope, visitor: Visitor, tabs: Tabs) -> str | None:
    """Say why a visitor may not use the door they knock at; None if they may."""
    path, role = scope["path"], visitor.account.role
    if any(_leads_to(path, door) for door in _CLOSED):
        return "Pages are for browsers: programs ask the routes that /openapi.json lists."
    if visitor.by == "token" and (scope["type"] == "websocket" or path.startswith("/_stcore/")):
        return "A token is for the routes that /openapi.json lists: for pages, sign in with a browser."
    for door, permission in _DOORS:
        if _leads_to(path, door) and permission not in ALLOWED[role]:
            return f"As {role} you may not {permission}: ask an administrator."
    if path.startswith(_UPLOAD):
        tab = path.removeprefix(_UPLOAD).partition("/")[0]
        if not tabs.belongs_to(tab, visitor.account.id):
            return "This upload belongs to a tab that is not yours: load the page again."
    if scope["type"] == "websocket" and tabs.is_of_another(_tab(scope), visitor.account.id):
        # What one reader typed must be neither shown to nor saved for the next one at the same computer.
        return "This tab was opened by somebody else: load the page again."
    return None


def is_quiet(scope: Scope) -> bool:
    """Say whether a request tells nothing of a reader who is there."""
    return scope["path"] in _QUIET


def _tab(scope: Scope) -> str:
    """Give the number of the tab that a websocket wants to go on in; Streamlit sends it as the third protocol.

    An unknown one, as after a restart of the server, makes Streamlit begin a new one.
    """
    protocols = Headers(scope=scope).get("sec-websocket-protocol", "").split(",")
    return protocols[2].strip() if len(protocols) > 2 else ""


def _leads_to(path: str, door: str) -> bool:
    return path == door or path.startswith(f"{door}/")


class Gate:
    """ASGI middleware that lets a request through, or answers with the reason why not.

    `installation` returns what the server works with, and None as long as it has not opened its database; left
    out, there never are any accounts.
    """

    def __init__(self, app: ASGIApp, installation: Callable[[], Installation | None] | None = None) -> None:
        self._app = app
        self._installation = installation
        self._sockets = ListeningSockets()
        self._desk = FrontDesk()
        self._provider_desk = ProviderDesk(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the server's own start and stop, `/health`, and what may pass; refuse the rest."""
        if scope["type"] == "lifespan" or _asks_for_health(scope):
            await self._app(scope, receive, send)
            return
        try:
            installation = self._installation() if self._installation else None
            with_accounts = installation is not None and await run_in_threadpool(installation.access.has_accounts)
        except Exception:
            _log.exception("the gate cannot ask the database")
            await _refuse(scope, receive, send, _NO_DATABASE, HTTPStatus.SERVICE_UNAVAILABLE)
            return
        if self._installation is not None and installation is None:
            await _refuse(scope, receive, send, _NO_DATABASE, HTTPStatus.SERVICE_UNAVAILABLE)
        elif installation is not None and with_accounts:
            await self._with_accounts(installation, scope, receive, send)
        else:
            await self._single_reader(scope, receive, send)

    async def _single_reader(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._reason_to_refuse(scope)
        if reason is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, reason)

    def _reason_to_refuse(self, scope: Scope) -> str | None:
        if not self._only_loopback(scope):
            return _NOT_LOOPBACK
        headers = Headers(scope=scope)
        if came_through_a_proxy(headers):
            return _PROXIED
        hosts = headers.getlist("host")
        # A foreign name that resolves to 127.0.0.1 would let its web site read everything (DNS rebinding).
        if len(hosts) != 1 or not names_this_computer(f"//{hosts[0]}"):
            return _WRONG_HOST
        if not all(names_this_computer(origin) for origin in headers.getlist("origin")):
            return _WRONG_ORIGIN
        return None

    async def _with_accounts(self, installation: Installation, scope: Scope, receive: Receive, send: Send) -> None:
        access = installation.access
        if access.behind_proxy:
            scope = as_sent_to_the_proxy(scope)
        reason = self._reason_not_to_trust_the_way(access, scope)
        if reason is not None:
            await _refuse(scope, receive, send, reason)
        elif scope["type"] == "http" and scope["path"] in (SIGN_IN, SIGN_OUT):
            response = await self._desk.answer(access, Request(scope, receive))
            await response(scope, receive, send)
        elif access.providers and _goes_to_a_provider(scope):
            response = await self._provider_desk.answer(access, access.providers, Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._for_a_visitor(installation, scope, receive, send)

    def _reason_not_to_trust_the_way(self, access: Access, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        if came_through_a_proxy(headers):
            return _UNEXPECTED_PROXY
        encrypted = scope.get("scheme") in ("https", "wss")
        if not (encrypted or access.behind_proxy or self._only_loopback(scope)):
            return _NO_TLS
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not all(_is_of(origin, hosts[0]) for origin in headers.getlist("origin")):
            return _WRONG_ORIGIN
        return None

    async def _for_a_visitor(self, installation: Installation, scope: Scope, receive: Receive, send: Send) -> None:
        access = installation.access
        headers = Headers(scope=scope)
        try:
            visitor = await run_in_threadpool(access.visitor, headers, active=not is_quiet(scope))
        except Exception:
            _log.exception("the gate cannot ask the database")
            await _refuse(scope, receive, send, _NO_DATABASE, HTTPStatus.SERVICE_UNAVAILABLE)
            return
        if visitor is None:
            if scope["type"] == "http" and wants_a_page(scope):
                await way_to_sign_in(scope)(scope, receive, send)
            else:
                await _refuse(scope, receive, send, _SIGNED_OUT, HTTPStatus.UNAUTHORIZED)
            return
        reason = reason_by_role(scope, visitor, installation.tabs)
        if reason is not None:
            await _refuse(scope, receive, send, reason)
            return
        scope = {**scope, ACCOUNT: visitor.account}
        if scope["type"] == "websocket":
            await Watched(receive, send, _asking(access, visitor)).run(self._app, scope)
        else:
            await self._app(scope, receive, send)

    def _only_loopback(self, scope: Scope) -> bool:
        server = scope.get("server")
        return server is not None and self._sockets.only_loopback(server[1])


def _asking(access: Access, visitor: Visitor) -> StillSignedIn:
    async def is_still(active: bool) -> bool:
        return await run_in_threadpool(access.is_still, visitor, active=active)

    return is_still


def _is_of(origin: str, host: str) -> bool:
    """Say whether a page of this origin is one that was asked for under this host."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _goes_to_a_provider(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["path"] in (LOGIN, CALLBACK) and scope["method"] == "GET"


def _asks_for_health(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["path"] == _HEALTH and scope["method"] in ("GET", "HEAD")


async def _refuse(
    scope: Scope, receive: Receive, send: Send, reason: str, status: HTTPStatus = HTTPStatus.FORBIDDEN
) -> None:
    if scope["type"] == "websocket":
        # Closed before it is accepted: the browser sees the upgrade refused with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
    else:
        await _refusal(Headers(scope=scope), reason, status)(scope, receive, send)


def _refusal(headers: Headers, reason: str, status: HTTPStatus) -> Response:
    extra = {"Cache-Control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        extra["WWW-Authenticate"] = "Bearer"
    if "text/html" in headers.get("accept", ""):
        return HTMLResponse(_PAGE.format(reason=html.escape(reason)), status, extra)
    return JSONResponse({"detail": reason}, status, extra)
