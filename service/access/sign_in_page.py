"""The pages for signing in and out: plain HTML forms that need no script and load nothing."""

import asyncio
import html
import math
import re
from http import HTTPStatus
from urllib.parse import parse_qs, quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from service.access.providers import LOGIN, STREAMLIT_USER, Provider
from service.access.sessions import COOKIE, Access, cookie_secret

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"

_LONGEST_FORM = 8_192  # bytes
_AT_ONCE = 2  # passwords looked at together; each takes 64 MiB of memory for a moment

_WRONG = "The name or the password is not right, or the account is disabled."
_NO_ORIGIN = "The browser did not say which page sent this form. Please try again here."
HEADERS = {
    "Cache-Control": "no-store",
    # same-origin and not no-referrer, with which browsers would hide the origin of the form from us.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} – Second Read</title>
<style>
:root {{ color-scheme: light dark; --accent: #1b7f86 }}
body {{ font: 16px/1.5 sans-serif; max-width: 22em; margin: 12vh auto 0; padding: 0 1em }}
h1 {{ font-size: 1.5em; margin: 0 0 1em }}
label {{ display: block; margin: 0 0 1em }}
input {{ display: block; width: 100%; box-sizing: border-box; font: inherit; padding: .5em; margin-top: .25em }}
button {{ font: inherit; padding: .5em 1.5em; border: 0; border-radius: 4px; background: var(--accent); color: #fff }}
.way {{ display: block; padding: .5em; border: 1px solid var(--accent); border-radius: 4px; color: inherit;
text-align: center; text-decoration: none }}
form + p {{ margin-top: 1.5em }}
:focus-visible {{ outline: 3px solid var(--accent); outline-offset: 2px }}
.error {{ border-left: 4px solid #c0392b; padding: .25em .75em; margin: 0 0 1em; overflow-wrap: anywhere }}
footer {{ margin-top: 3em; font-size: .875em }}
</style>
</head><body><main><h1>{title}</h1>{body}</main>
<footer>Second Read. Research use only – not a diagnosis.</footer></body></html>"""
_FORM = """{error}<form method="post" action="/sign-in">
<input type="hidden" name="next" value="{next}">
<label>Name<input name="name" value="{name}" autocomplete="username" autocapitalize="none" required autofocus></label>
<label>Password<input type="password" name="password" autocomplete="current-password" required></label>
<button>Sign in</button></form>{providers}"""
_LEAVE = """<p>You will be signed out in every tab of this browser. What you saved is kept.</p>
<form method="post" action="/sign-out"><button>Sign out</button></form><p><a href="/">Go on reading</a></p>"""


class FrontDesk:
    """Answers what is asked of the two pages; the gate has checked where the request comes from."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def answer(self, access: Access, request: Request) -> Response:
        """Answer one request to `SIGN_IN` or `SIGN_OUT`."""
        if request.method in ("GET", "HEAD"):
            if request.url.path == SIGN_OUT:
                return _page("Sign out", _LEAVE)
            return sign_in_form(access, inside(request.query_params.get("next", "")))
        if request.method != "POST":
            return Response("use the form", HTTPStatus.METHOD_NOT_ALLOWED, {**HEADERS, "Allow": "GET, HEAD, POST"})
        # Browsers send it with every form; a form on another site would sign the reader in as somebody else.
        if "origin" not in request.headers:
            return sign_in_form(access, "/", _NO_ORIGIN, status=403)
        if request.url.path == SIGN_OUT:
            return await self._sign_out(access, request)
        return await self._sign_in(access, request)

    async def _sign_in(self, access: Access, request: Request) -> Response:
        fields = await _fields(request)
        if fields is None:
            return sign_in_form(access, "/", "This form cannot be read. Please try again here.", status=400)
        name, password, following = fields
        address = request.client.host if request.client else ""
        async with self._places:
            answer = await run_in_threadpool(access.sign_in, name, password, address)
        if answer.wait_seconds:
            return too_many_attempts(access, following, answer.wait_seconds, name)
        if answer.secret is None:
            return sign_in_form(access, following, _WRONG, name, 401)
        return await send_on(access, request, answer.secret, following)

    async def _sign_out(self, access: Access, request: Request) -> Response:
        await run_in_threadpool(access.sign_out, cookie_secret(request.headers.getlist("cookie")))
        response = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER, HEADERS)
        _set_cookie(response, request, "")
        for name in request.cookies:
            if name.startswith(STREAMLIT_USER):
                response.delete_cookie(name)
        return response


def way_to_sign_in(scope: Scope) -> Response:
    """Send a browser to the sign-in page, and from there back to where it wanted to go."""
    path = quote(scope["path"], safe="/")
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = inside(f"{path}?{query}" if query else path)
    where = SIGN_IN if wanted == "/" else f"{SIGN_IN}?next={quote(wanted, safe='/')}"
    return RedirectResponse(where, HTTPStatus.SEE_OTHER, HEADERS)


def wants_a_page(scope: Scope) -> bool:
    """Say whether a browser asks for a page, rather than a program for data."""
    return scope["method"] in ("GET", "HEAD") and "text/html" in Headers(scope=scope).get("accept", "")


async def send_on(access: Access, request: Request, secret: str, following: str) -> Response:
    """Send a browser where it wanted to go, with the secret of its new sign-in; the one it had before ends."""
    before = cookie_secret(request.headers.getlist("cookie"))
    if before:
        await run_in_threadpool(access.sign_out, before)
    response = RedirectResponse(following, HTTPStatus.SEE_OTHER, HEADERS)
    _set_cookie(response, request, secret)
    return response


def _set_cookie(response: Response, request: Request, secret: str) -> None:
    """Let a browser keep the secret of its sign-in; empty, forget it."""
    # For the session of the browser: how long it lasts is decided here, not there.
    response.set_cookie(
        COOKIE,
        secret,
        max_age=None if secret else 0,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


async def _fields(request: Request) -> tuple[str, str, str] | None:
    """Give name, password and where to go then; None if it is not our form."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _LONGEST_FORM:
            return None
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    try:
        found = parse_qs(data.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError:
        return None
    name, password, following = (found.get(field, []) for field in ("name", "password", "next"))
    if len(name) != 1 or len(password) != 1 or "\0" in name[0]:
        return None
    return name[0], password[0], inside(following[0] if following else "")


def inside(address: str) -> str:
    """Give an address on this server; "/" for any other, which would lead a reader away after signing in."""
    # Browsers take a backslash for a slash, and two slashes for the name of another server.
    inside = re.fullmatch(r"/(?![/\\])[!-\[\]-~]{0,2000}", address) is not None
    return address if inside and not address.startswith((SIGN_IN, SIGN_OUT)) else "/"


def sign_in_form(
    access: Access, following: str, error: str = "", name: str = "", status: int = 200, retry_after: int = 0
) -> Response:
    """Give the page for signing in: with a password, or at a provider if one is configured."""
    words = f'<p class="error" role="alert">{html.escape(error)}</p>' if error else ""
    known = access.providers.known if access.providers else ()
    body = _FORM.format(
        error=words,
        next=html.escape(following),
        name=html.escape(name[:200]),
        providers="".join(_way_to(provider, following) for provider in known),
    )
    return _page("Sign in", body, status, {"Retry-After": str(retry_after)} if retry_after else {})


def too_many_attempts(access: Access, following: str, wait_seconds: float, name: str = "") -> Response:
    """Give the page for signing in to somebody who has to wait."""
    wait = f"Too many attempts. Please wait {math.ceil(wait_seconds / 60)} min, or ask an administrator."
    return sign_in_form(access, following, wait, name, 429, math.ceil(wait_seconds))


def _way_to(provider: Provider, following: str) -> str:
    # A link and no form: browsers follow no form to another site that the policy of the page does not name.
    where = f"{LOGIN}?{urlencode({'provider': provider.name, 'next': following})}"
    return f'<p><a class="way" href="{html.escape(where)}">Sign in with {html.escape(provider.label)}</a></p>'


def _page(title: str, body: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return HTMLResponse(_PAGE.format(title=title, body=body), status, {**HEADERS, **(headers or {})})
