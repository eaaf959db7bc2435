"""Sign-in through an identity provider: Streamlit talks to the provider, and our own sign-in starts when it returns."""

import logging
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, unquote, urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message

from db.values.accounts import Identity
from service.access.prefix import own_path
from service.access.providers import CALLBACK, STREAMLIT_USER, Provider, Providers, VerifiedIdentity
from service.access.sessions import Access
from service.access.sign_in_page import (
    HEADERS,
    SIGN_IN,
    SignInForm,
    draw_sign_in_page,
    draw_wait_page,
    finish_sign_in,
    local_address,
    redirect,
)

_NEXT = "second_read_next"  # cookie: the page to open after sign-in, while the reader is at the provider
_NEXT_SECONDS = 15 * 60

_UNREACHABLE = "{label} cannot be reached at the moment. Please try again later, or sign in with your password."
_REFUSED = "The identity provider did not sign you in. Please try again."
_NOT_VERIFIED = (
    "You are not signed in: the response of the identity provider could not be verified. "
    "Please try again at {address}. If the problem persists, contact an administrator; the server log has details."
)
_NOT_LINKED = (
    "{label} confirmed your identity, but it is not linked to an account here. "
    "Ask an administrator to link it and send them this: issuer {issuer} – subject {subject}"
)
_NO_EMAIL = " – no verified e-mail address, so only the subject can be linked"
_DISABLED = "Your account is disabled. Please contact an administrator."

_log = logging.getLogger("second_read.gate")


@dataclass(frozen=True, slots=True)
class _Reply:
    """The relevant headers of Streamlit's response."""

    location: str
    set_cookies: tuple[str, ...]


class ProviderSignIn:
    """Answers requests to `LOGIN` and `CALLBACK`; the gate has already checked the origin of the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def answer(self, access: Access, providers: Providers, request: Request) -> Response:
        """Answer one request to `LOGIN` or `CALLBACK`."""
        if own_path(request.scope) == CALLBACK:
            return await self._return_from_provider(access, providers, request)
        return await self._redirect_to_provider(access, providers, request)

    async def _redirect_to_provider(self, access: Access, providers: Providers, request: Request) -> Response:
        name = request.query_params.get("provider")
        provider = next((known for known in providers.known if known.name == name), None)
        # Another site must not send its visitors through a sign-in that they did not start.
        if provider is None or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return redirect(request.scope, SIGN_IN)
        following = local_address(request.query_params.get("next", ""))
        wait = access.wait_before_leaving(request.client.host if request.client else "")
        if wait:
            return draw_wait_page(access, request.scope, SignInForm(following), wait)
        reply = await self._call_streamlit(request, urlencode({"provider": providers.ticket(provider)}).encode())
        if reply is None or not reply.location.startswith(("https://", "http://")):
            error = _UNREACHABLE.format(label=provider.label)
            return draw_sign_in_page(access, request.scope, SignInForm(following, error, status=503))
        response = RedirectResponse(reply.location, HTTPStatus.SEE_OTHER, HEADERS)
        _copy_cookies(response, request, reply)
        response.set_cookie(
            _NEXT,
            quote(following, safe="/"),
            _NEXT_SECONDS,
            path=_callback_path(providers),
            secure=request.scope["scheme"] == "https",
            httponly=True,
            samesite="lax",
        )
        return response

    async def _return_from_provider(self, access: Access, providers: Providers, request: Request) -> Response:
        following = local_address(unquote(request.cookies.get(_NEXT, "")))
        reply = await self._call_streamlit(request, request.scope["query_string"])
        verified = providers.verified(reply.set_cookies) if reply else None
        if verified is None:
            refused = "error" in request.query_params
            error = _REFUSED if refused else _NOT_VERIFIED.format(address=providers.address)
            response = draw_sign_in_page(access, request.scope, SignInForm(following, error, status=401))
        else:
            response = await self._sign_in(access, request, verified, following)
        if reply:
            _copy_cookies(response, request, reply)
        response.delete_cookie(_NEXT, path=_callback_path(providers))
        return response

    async def _sign_in(self, access: Access, request: Request, verified: VerifiedIdentity, following: str) -> Response:
        address = request.client.host if request.client else ""
        arrival = await run_in_threadpool(access.sign_in_as, verified.identity, verified.provider.label, address)
        if arrival.secret is None:
            error = _DISABLED if arrival.known else _not_linked(verified.identity, verified.provider)
            return draw_sign_in_page(access, request.scope, SignInForm(following, error, status=403))
        return await finish_sign_in(access, request, arrival.secret, following)

    async def _call_streamlit(self, request: Request, query: bytes) -> _Reply | None:
        """Call Streamlit's route; None if it fails, for example because the provider does not respond."""
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        try:
            await self._app({**request.scope, "query_string": query}, request.receive, collect)
        except Exception:
            _log.exception("Streamlit could not reach an identity provider")
            return None
        headers = Headers(raw=list(messages[0]["headers"]))
        return _Reply(headers.get("location", ""), tuple(headers.getlist("set-cookie")))


def _callback_path(providers: Providers) -> str:
    """Return the path to which a provider redirects the browser, with the prefix that the browser sees."""
    return urlsplit(providers.address).path + CALLBACK


def _not_linked(identity: Identity, provider: Provider) -> str:
    words = _NOT_LINKED.format(label=provider.label, issuer=identity.issuer, subject=identity.subject)
    return f"{words} – e-mail {identity.email}" if identity.email else words + _NO_EMAIL


def _copy_cookies(response: Response, request: Request, reply: _Reply) -> None:
    """Send the browser the cookies that Streamlit needs for the redirects, but never the one with the identity."""
    for line in reply.set_cookies:
        if not line.startswith(STREAMLIT_USER):
            secure = "; secure" if request.scope["scheme"] == "https" and "secure" not in line.lower() else ""
            response.headers.append("set-cookie", line + secure)
