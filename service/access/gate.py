"""The gate: decides whether a request may pass, and for which account, before anything else runs.

It covers pages, deep links, the websocket, media, uploads, metrics, static files and our own routes. Without accounts,
only requests from this computer pass; whether the server can be reached from elsewhere is read from the sockets it
actually listens on, because settings and headers can be wrong or forged. With accounts, everything requires a
signed-in user except `/health`, the sign-in page and the redirects to and from a configured identity provider.
"""

import logging
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from db.values.accounts import ALLOWED, Permission, TokenScope
from service.access.media_owners import MEDIA
from service.access.openid import ProviderSignIn
from service.access.origin import ListeningSockets, as_sent_to_the_proxy, came_through_proxy, names_this_computer
from service.access.policy import with_content_policy
from service.access.prefix import own_path
from service.access.providers import CALLBACK, LOGIN
from service.access.refusal import answer_refusal, wants_page
from service.access.sessions import Access, Visitor
from service.access.sign_in_page import SIGN_IN, SIGN_OUT, SignInPages, redirect_to_sign_in
from service.access.websocket import GuardedWebsocket, SignInCheck
from service.installation import Installation

# Paths that need a permission; all others are open to every signed-in user.
_RESTRICTED_PATHS = (
    ("/_stcore/metrics", Permission.ADMINISTER),
    ("/_stcore/upload_file", Permission.READ_CASES),
    ("/images", Permission.READ_CASES),
)
# Paths that only a token with this scope opens, whatever the role: no browser, and no token for something else.
SCOPES = (
    ("/predict", TokenScope.PREDICT),
    ("/cases", TokenScope.CASES),
    ("/jobs", TokenScope.CASES),
    ("/reads", TokenScope.READS),
)
# All else that a token with a scope may ask for.
_FOR_EVERY_SCOPE = ("/models", "/docs", "/openapi.json")
# Streamlit's interface for programs runs pages without a browser, and therefore without a sign-in.
_BLOCKED_PATHS = ("/_stcore/agent",)
# Requests that a browser sends on its own; they do not show that its reader is present.
_BACKGROUND_PATHS = ("/_stcore/health", "/_stcore/host-config", "/_stcore/metrics")
_UPLOAD = "/_stcore/upload_file/"
_HEALTH = "/health"

ACCOUNT = "second_read.account"  # scope key: the Account of a request that passed, when accounts exist
TOKEN = "second_read.token"  # scope key: the HeldToken of a request that passed with one # noqa: S105

_NOT_LOOPBACK = (
    "Second Read has no accounts, but it can be reached from other computers. "
    "Without accounts it serves only the computer it runs on: start it with server.address = 127.0.0.1, "
    "or create accounts with python -m db accounts add."
)
_PROXIED = (
    "This request came through a proxy, and Second Read has no accounts. "
    "Without accounts it serves only the computer it runs on and accepts no proxy."
)
_WRONG_HOST = "Without accounts, Second Read can only be opened on the computer it runs on, as localhost or 127.0.0.1."
_WRONG_ORIGIN = "Another website tried to use Second Read through this browser. The request was refused."
_UNEXPECTED_PROXY = (
    "This request came through a proxy that Second Read does not expect. "
    "If the proxy is yours, start Second Read with SECOND_READ_BEHIND_PROXY=1."
)
_NO_TLS = (
    "Second Read can be reached from other computers, and passwords would be sent unencrypted. "
    "Start it with server.sslCertFile and server.sslKeyFile, or behind a TLS proxy with SECOND_READ_BEHIND_PROXY=1."
)
_SIGNED_OUT = (
    "You are signed out. Reload the page to sign in, or sign in in another tab and this page continues. "
    "Programs must send a valid token."
)
_NO_DATABASE = (
    "The database is not responding. Please try again later or contact an administrator; the server log has details."
)
_BROWSERS_ONLY = "This address is for browsers only. Programs use the routes listed in /openapi.json."
_ROUTES_ONLY = "A token is valid only for the routes listed in /openapi.json. To open pages, sign in with a browser."
_NEEDS_SCOPE = (
    "This address needs a token for {scope}, sent as `Authorization: Bearer TOKEN`. An administrator creates it on the "
    "Accounts page or with `python -m db accounts token`."
)
_OTHER_SCOPE = "This token is for {scope} only, and does not cover this address."
_FOREIGN_UPLOAD = "This upload belongs to another account's browser tab. Please reload the page."
_FOREIGN_MEDIA = "This file was not made for a page of your account. Please reload the page and try again."
_FOREIGN_TAB = "This browser tab was opened by another account. Please reload the page."

_log = logging.getLogger("second_read.gate")


def find_refusal(scope: Scope, visitor: Visitor, installation: Installation) -> str | None:
    """Return why this visitor may not use the path of a request; None if they may."""
    path, role = own_path(scope), visitor.account.role
    if any(_is_under(path, blocked) for blocked in _BLOCKED_PATHS):
        return _BROWSERS_ONLY
    if visitor.token is not None and (scope["type"] == "websocket" or path.startswith("/_stcore/")):
        return _ROUTES_ONLY
    of_token = visitor.token.scope if visitor.token else None
    needed = needed_scope(path)
    if needed is not of_token and needed is not None:
        return _NEEDS_SCOPE.format(scope=needed)
    if (
        of_token is not None
        and needed is None
        and not any(_is_under(path, open_path) for open_path in _FOR_EVERY_SCOPE)
    ):
        return _OTHER_SCOPE.format(scope=of_token)
    for restricted, permission in _RESTRICTED_PATHS:
        if _is_under(path, restricted) and permission not in ALLOWED[role]:
            return f"The role {role} is not allowed to {permission}. Ask an administrator for access."
    return _find_other_owner(scope, visitor.account.id, installation)


def _find_other_owner(scope: Scope, account_id: int, installation: Installation) -> str | None:
    """Return why a tab, an upload or a file is not for this account; None if it is."""
    path, tabs = own_path(scope), installation.tabs
    if path.startswith(_UPLOAD) and not tabs.belongs_to(path.removeprefix(_UPLOAD).partition("/")[0], account_id):
        return _FOREIGN_UPLOAD
    if path.startswith(MEDIA) and not installation.media.may_fetch(path, account_id):
        return _FOREIGN_MEDIA
    if scope["type"] == "websocket" and tabs.is_of_another(_tab(scope), account_id):
        # What one reader typed must neither be shown to nor saved for the next reader at the same computer.
        return _FOREIGN_TAB
    return None


def needed_scope(path: str) -> TokenScope | None:
    """Return the scope of the token that a path needs; None if it needs none."""
    return next((scope for root, scope in SCOPES if _is_under(path, root)), None)


def is_background_request(scope: Scope) -> bool:
    """Return whether a browser sends this request on its own, so that it does not count as activity."""
    return own_path(scope) in _BACKGROUND_PATHS


def _tab(scope: Scope) -> str:
    """Return the id of the tab that a websocket resumes; Streamlit sends it as the third protocol.

    For an unknown id, as after a restart of the server, Streamlit starts a new session.
    """
    protocols = Headers(scope=scope).get("sec-websocket-protocol", "").split(",")
    return protocols[2].strip() if len(protocols) > 2 else ""


def _is_under(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


class Gate:
    """ASGI middleware that passes a request on, or answers with the reason for refusing it.

    `installation` returns the installation of the server, or None while its database is not open yet; without this
    argument there are never any accounts. `prefix` is the one under which requests arrive.
    """

    def __init__(
        self, app: ASGIApp, installation: Callable[[], Installation | None] | None = None, prefix: str = ""
    ) -> None:
        self._app = app
        self._installation = installation
        self._prefix = prefix
        self._sockets = ListeningSockets()
        self._sign_in_pages = SignInPages()
        self._provider_sign_in = ProviderSignIn(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on server start and stop, `/health` and every permitted request; refuse all others."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope, send = {**scope, "root_path": self._prefix}, with_content_policy(send)
        if _is_health_check(scope):
            await self._app(scope, receive, send)
        elif _lacks_last_slash(scope):
            folder = scope["path"].rpartition("/")[2] + "/"
            await RedirectResponse(f"./{folder}", HTTPStatus.PERMANENT_REDIRECT)(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            installation = self._installation() if self._installation else None
            with_accounts = installation is not None and await run_in_threadpool(installation.access.has_accounts)
        except Exception:
            _log.exception("the gate could not query the database")
            await _refuse(scope, receive, send, _NO_DATABASE, HTTPStatus.SERVICE_UNAVAILABLE)
            return
        if self._installation is not None and installation is None:
            await _refuse(scope, receive, send, _NO_DATABASE, HTTPStatus.SERVICE_UNAVAILABLE)
        elif installation is not None and with_accounts:
            await self._serve_with_accounts(installation, scope, receive, send)
        else:
            await self._serve_single_reader(scope, receive, send)

    async def _serve_single_reader(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._find_remote_access(scope)
        if reason is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, reason)

    def _find_remote_access(self, scope: Scope) -> str | None:
        if not self._listens_only_on_loopback(scope):
            return _NOT_LOOPBACK
        headers = Headers(scope=scope)
        if came_through_proxy(headers):
            return _PROXIED
        hosts = headers.getlist("host")
        # A foreign host name that resolves to 127.0.0.1 would let its website read everything (DNS rebinding).
        if len(hosts) != 1 or not names_this_computer(f"//{hosts[0]}"):
            return _WRONG_HOST
        if not all(names_this_computer(origin) for origin in headers.getlist("origin")):
            return _WRONG_ORIGIN
        return None

    async def _serve_with_accounts(
        self, installation: Installation, scope: Scope, receive: Receive, send: Send
    ) -> None:
        access = installation.access
        if access.behind_proxy:
            scope = as_sent_to_the_proxy(scope)
        reason = self._find_unsafe_transport(access, scope)
        if reason is not None:
            await _refuse(scope, receive, send, reason)
        elif scope["type"] == "http" and own_path(scope) in (SIGN_IN, SIGN_OUT):
            response = await self._sign_in_pages.answer(access, Request(scope, receive))
            await response(scope, receive, send)
        elif access.providers and _is_provider_redirect(scope):
            response = await self._provider_sign_in.answer(access, access.providers, Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._serve_visitor(installation, scope, receive, send)

    def _find_unsafe_transport(self, access: Access, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        if came_through_proxy(headers):
            return _UNEXPECTED_PROXY
        encrypted = scope.get("scheme") in ("https", "wss")
        if not (encrypted or access.behind_proxy or self._listens_only_on_loopback(scope)):
            return _NO_TLS
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not all(_is_same_site(origin, hosts[0]) for origin in headers.getlist("origin")):
            return _WRONG_ORIGIN
        return None

    async def _serve_visitor(self, installation: Installation, scope: Scope, receive: Receive, send: Send) -> None:
        access = installation.access
        headers = Headers(scope=scope)
        try:
            visitor = await run_in_threadpool(access.visitor, headers, active=not is_background_request(scope))
        except Exception:
            _log.exception("the gate could not query the database")
            await _refuse(scope, receive, send, _NO_DATABASE, HTTPStatus.SERVICE_UNAVAILABLE)
            return
        if visitor is None:
            if _asks_for_page(scope):
                await redirect_to_sign_in(scope)(scope, receive, send)
            else:
                await _refuse(scope, receive, send, _SIGNED_OUT, HTTPStatus.UNAUTHORIZED)
            return
        reason = find_refusal(scope, visitor, installation)
        if reason is not None:
            await _refuse(scope, receive, send, reason)
            return
        scope = {**scope, ACCOUNT: visitor.account, TOKEN: visitor.token}
        if scope["type"] == "websocket":
            await GuardedWebsocket(receive, send, _session_check(access, visitor)).run(self._app, scope)
        else:
            await self._app(scope, receive, send)

    def _listens_only_on_loopback(self, scope: Scope) -> bool:
        server = scope.get("server")
        return server is not None and self._sockets.only_loopback(server[1])


def _session_check(access: Access, visitor: Visitor) -> SignInCheck:
    async def is_still(active: bool) -> bool:
        return await run_in_threadpool(access.is_still, visitor, active=active)

    return is_still


def _is_same_site(origin: str, host: str) -> bool:
    """Return whether an origin is a page of this host."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _is_provider_redirect(scope: Scope) -> bool:
    return scope["type"] == "http" and own_path(scope) in (LOGIN, CALLBACK) and scope["method"] == "GET"


def _asks_for_page(scope: Scope) -> bool:
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and wants_page(Headers(scope=scope))


def _is_health_check(scope: Scope) -> bool:
    return scope["type"] == "http" and own_path(scope) == _HEALTH and scope["method"] in ("GET", "HEAD")


def _lacks_last_slash(scope: Scope) -> bool:
    """Return whether a request names the prefix alone: from there, relative addresses would lead out of it."""
    return scope["type"] == "http" and own_path(scope) == ""


async def _refuse(
    scope: Scope, receive: Receive, send: Send, reason: str, status: HTTPStatus = HTTPStatus.FORBIDDEN
) -> None:
    if scope["type"] == "websocket":
        # Closing before accepting makes the browser see the upgrade refused with 403.
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
    else:
        await answer_refusal(Headers(scope=scope), reason, status)(scope, receive, send)
