"""The way to an identity provider and back: Streamlit speaks with the provider, our own sign-in begins here."""

import logging
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, unquote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message

from db.values.accounts import Identity
from service.access.providers import CALLBACK, STREAMLIT_USER, Provider, Providers, Verified
from service.access.sessions import Access
from service.access.sign_in_page import HEADERS, SIGN_IN, inside, send_on, sign_in_form, too_many_attempts

_NEXT = "second_read_next"  # cookie with the page that was wanted, while its reader is at the provider
_NEXT_SECONDS = 15 * 60

_AWAY = "{label} cannot be reached now. Please try again later, or sign in with your password."
_REFUSED = "The identity provider did not sign you in. Please try again."
_NOT_VERIFIED = (
    "You are not signed in: what came back from the identity provider could not be verified. "
    "Please try again here, at {origin}. If it stays so, tell an administrator: the log of the server has more."
)
_NOT_LINKED = (
    "{label} knows you, but no account here is linked to you. Ask an administrator to link one, and send them this: "
    "issuer {issuer} – subject {subject}"
)
_NO_EMAIL = " – it did not verify an e-mail address, so only the subject can be linked"
_DISABLED = "Your account is disabled. Ask an administrator."

_log = logging.getLogger("second_read.gate")


@dataclass(frozen=True, slots=True)
class _Reply:
    """What Streamlit answered."""

    location: str
    set_cookies: tuple[str, ...]


class ProviderDesk:
    """Answers what is asked of `LOGIN` and `CALLBACK`; the gate has checked where the request comes from."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def answer(self, access: Access, providers: Providers, request: Request) -> Response:
        """Answer one request to `LOGIN` or `CALLBACK`."""
        if request.scope["path"] == CALLBACK:
            return await self._come_back(access, providers, request)
        return await self._leave(access, providers, request)

    async def _leave(self, access: Access, providers: Providers, request: Request) -> Response:
        chosen = [found for found in providers.known if found.name == request.query_params.get("provider")]
        # Another site must not send its visitors through a sign-in that they did not ask for.
        if not chosen or request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER, HEADERS)
        following = inside(request.query_params.get("next", ""))
        wait = access.wait_before_leaving(request.client.host if request.client else "")
        if wait:
            return too_many_attempts(access, following, wait)
        reply = await self._ask(request, urlencode({"provider": providers.ticket(chosen[0])}).encode())
        if reply is None or not reply.location.startswith(("https://", "http://")):
            return sign_in_form(access, following, _AWAY.format(label=chosen[0].label), status=503)
        response = RedirectResponse(reply.location, HTTPStatus.SEE_OTHER, HEADERS)
        _pass_on(response, request, reply)
        kept = quote(following, safe="/")
        secure = request.scope["scheme"] == "https"
        response.set_cookie(_NEXT, kept, _NEXT_SECONDS, path=CALLBACK, secure=secure, httponly=True, samesite="lax")
        return response

    async def _come_back(self, access: Access, providers: Providers, request: Request) -> Response:
        following = inside(unquote(request.cookies.get(_NEXT, "")))
        reply = await self._ask(request, request.scope["query_string"])
        verified = providers.verified(reply.set_cookies) if reply else None
        if verified is None:
            refused = "error" in request.query_params
            error = _REFUSED if refused else _NOT_VERIFIED.format(origin=providers.origin)
            response = sign_in_form(access, following, error, status=401)
        else:
            response = await self._sign_in(access, request, verified, following)
        if reply:
            _pass_on(response, request, reply)
        response.delete_cookie(_NEXT, path=CALLBACK)
        return response

    async def _sign_in(self, access: Access, request: Request, verified: Verified, following: str) -> Response:
        address = request.client.host if request.client else ""
        arrival = await run_in_threadpool(access.sign_in_as, verified.identity, verified.provider.label, address)
        if arrival.secret is None:
            error = _DISABLED if arrival.known else _not_linked(verified.identity, verified.provider)
            return sign_in_form(access, following, error, status=403)
        return await send_on(access, request, arrival.secret, following)

    async def _ask(self, request: Request, query: bytes) -> _Reply | None:
        """Ask Streamlit's route; None if it fails, as when the provider does not answer."""
        heard: list[Message] = []

        async def keep(message: Message) -> None:
            heard.append(message)

        try:
            await self._app({**request.scope, "query_string": query}, request.receive, keep)
        except Exception:
            _log.exception("Streamlit could not speak with an identity provider")
            return None
        headers = Headers(raw=list(heard[0]["headers"]))
        return _Reply(headers.get("location", ""), tuple(headers.getlist("set-cookie")))


def _not_linked(identity: Identity, provider: Provider) -> str:
    words = _NOT_LINKED.format(label=provider.label, issuer=identity.issuer, subject=identity.subject)
    return f"{words} – e-mail {identity.email}" if identity.email else words + _NO_EMAIL


def _pass_on(response: Response, request: Request, reply: _Reply) -> None:
    """Give the browser what Streamlit has to remember of the way, and never who somebody is."""
    for line in reply.set_cookies:
        if not line.startswith(STREAMLIT_USER):
            secure = "; secure" if request.scope["scheme"] == "https" and "secure" not in line.lower() else ""
            response.headers.append("set-cookie", line + secure)
