"""The sign-in and sign-out pages: plain HTML forms without scripts or external resources."""

import asyncio
import html
import math
import re
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import parse_qs, quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Scope

from db.errors import DatabaseBusyError
from service.access.prefix import own_path, relative_address
from service.access.providers import LOGIN, STREAMLIT_USER, Provider
from service.access.sessions import COOKIE, Access, cookie_secret

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"

_LONGEST_FORM = 8_192  # bytes
_LONGEST_ECHO = 200  # characters of a typed name that the form shows again
_PASSWORDS_AT_ONCE = 2  # checking one briefly takes 64 MiB of memory

_WRONG = "Wrong name or password, or the account is disabled."
_NO_ORIGIN = "Your browser did not state which page sent this form. Please try again here."
_UNREADABLE = "This form could not be read. Please try again."
_BUSY = "The database is busy. Please try again in a moment."
_TOO_MANY = "Too many attempts. Please wait {minutes} min or contact an administrator."

HEADERS = {
    "Cache-Control": "no-store",
    # Not no-referrer: with it, browsers would not send the origin of the form.
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
_FORM = """{error}<form method="post" action="{action}">
<input type="hidden" name="next" value="{next}">
<label>Name<input name="name" value="{name}" autocomplete="username" autocapitalize="none" required autofocus></label>
<label>Password<input type="password" name="password" autocomplete="current-password" required></label>
<button>Sign in</button></form>{providers}"""
_SIGN_OUT_FORM = """<p>You will be signed out in all tabs of this browser. Saved work is kept.</p>
<form method="post" action="./sign-out"><button>Sign out</button></form><p><a href="./">Cancel and continue reading</a>
</p>"""


@dataclass(frozen=True, slots=True)
class SignInForm:
    """What the sign-in page says: the page to open next, the error, the name typed before, and the status."""

    following: str = "/"
    error: str = ""
    name: str = ""
    status: int = HTTPStatus.OK
    retry_after: int = 0  # seconds


class SignInPages:
    """Answers requests to the two pages; the gate has already checked the origin of the request."""

    def __init__(self) -> None:
        self._password_checks = asyncio.Semaphore(_PASSWORDS_AT_ONCE)

    async def answer(self, access: Access, request: Request) -> Response:
        """Answer one request to `SIGN_IN` or `SIGN_OUT`."""
        if request.method in ("GET", "HEAD"):
            if own_path(request.scope) == SIGN_OUT:
                return _page("Sign out", _SIGN_OUT_FORM)
            following = local_address(request.query_params.get("next", ""))
            return draw_sign_in_page(access, request.scope, SignInForm(following))
        if request.method != "POST":
            return Response(
                "Please use the form.", HTTPStatus.METHOD_NOT_ALLOWED, {**HEADERS, "Allow": "GET, HEAD, POST"}
            )
        # Browsers send the origin with every form. Without this check, a form on another site could sign the reader
        # in to a different account.
        if "origin" not in request.headers:
            return draw_sign_in_page(access, request.scope, SignInForm(error=_NO_ORIGIN, status=403))
        if own_path(request.scope) == SIGN_OUT:
            return await self._sign_out(access, request)
        return await self._sign_in(access, request)

    async def _sign_in(self, access: Access, request: Request) -> Response:
        fields = await _fields(request)
        if fields is None:
            return draw_sign_in_page(access, request.scope, SignInForm(error=_UNREADABLE, status=400))
        name, password, following = fields
        address = request.client.host if request.client else ""
        try:
            async with self._password_checks:
                answer = await run_in_threadpool(access.sign_in, name, password, address)
        except DatabaseBusyError:
            return draw_sign_in_page(access, request.scope, SignInForm(following, _BUSY, name, 503))
        if answer.wait_seconds:
            return draw_wait_page(access, request.scope, SignInForm(following, name=name), answer.wait_seconds)
        if answer.secret is None:
            return draw_sign_in_page(access, request.scope, SignInForm(following, _WRONG, name, 401))
        return await finish_sign_in(access, request, answer.secret, following)

    async def _sign_out(self, access: Access, request: Request) -> Response:
        try:
            await run_in_threadpool(access.sign_out, cookie_secret(request.headers.getlist("cookie")))
        except DatabaseBusyError:
            return _page("Sign out", f'<p class="error" role="alert">{_BUSY}</p>{_SIGN_OUT_FORM}', 503)
        response = redirect(request.scope, SIGN_IN)
        _set_cookie(response, request, "")
        for name in request.cookies:
            if name.startswith(STREAMLIT_USER):
                response.delete_cookie(name, path=request.scope.get("root_path") or "/")
        return response


def redirect_to_sign_in(scope: Scope) -> Response:
    """Redirect a browser to the sign-in page, and from there back to the page it requested."""
    path = quote(own_path(scope), safe="/")
    query = scope.get("query_string", b"").decode("latin-1")
    following = local_address(f"{path}?{query}" if query else path)
    return redirect(scope, SIGN_IN if following == "/" else f"{SIGN_IN}?next={quote(following, safe='/')}")


def redirect(scope: Scope, address: str) -> Response:
    """Redirect a browser to one of our addresses."""
    return RedirectResponse(relative_address(scope, address), HTTPStatus.SEE_OTHER, HEADERS)


async def finish_sign_in(access: Access, request: Request, secret: str, following: str) -> Response:
    """Redirect a browser to the page it requested, with the secret of its new sign-in; end its previous sign-in."""
    previous = cookie_secret(request.headers.getlist("cookie"))
    if previous:
        await run_in_threadpool(access.sign_out, previous)
    response = redirect(request.scope, following)
    _set_cookie(response, request, secret)
    return response


def _set_cookie(response: Response, request: Request, secret: str) -> None:
    """Store the secret of a sign-in in the browser; an empty secret deletes the cookie."""
    # A session cookie: the server decides how long a sign-in lasts.
    response.set_cookie(
        COOKIE,
        secret,
        max_age=None if secret else 0,
        # Without a path it belongs to the folder of the page that sets it, which is right under any prefix.
        path=None,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


async def _fields(request: Request) -> tuple[str, str, str] | None:
    """Return the name, the password and the page to open next; None if it is not our form."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _LONGEST_FORM:
            return None
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    try:
        values = parse_qs(data.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError:
        return None
    name, password, following = (values.get(field, []) for field in ("name", "password", "next"))
    if len(name) != 1 or len(password) != 1 or "\0" in name[0]:
        return None
    return name[0], password[0], local_address(following[0] if following else "")


def local_address(address: str) -> str:
    """Return an address if it is on this server, else "/": another site must not follow a sign-in."""
    # Browsers treat a backslash as a slash, and two slashes as the start of another server's name.
    is_local = re.fullmatch(r"/(?![/\\])[!-\[\]-~]{0,2000}", address) is not None
    return address if is_local and not address.startswith((SIGN_IN, SIGN_OUT)) else "/"


def draw_sign_in_page(access: Access, scope: Scope, form: SignInForm) -> Response:
    """Return the sign-in page: with a password, and through each configured provider."""
    message = f'<p class="error" role="alert">{html.escape(form.error)}</p>' if form.error else ""
    known = access.providers.known if access.providers else ()
    body = _FORM.format(
        error=message,
        action=relative_address(scope, SIGN_IN),
        next=html.escape(form.following),
        name=html.escape(form.name[:_LONGEST_ECHO]),
        providers="".join(_provider_link(scope, provider, form.following) for provider in known),
    )
    return _page("Sign in", body, form.status, {"Retry-After": str(form.retry_after)} if form.retry_after else {})


def draw_wait_page(access: Access, scope: Scope, form: SignInForm, wait_seconds: float) -> Response:
    """Return the sign-in page with the time to wait after too many attempts."""
    error = _TOO_MANY.format(minutes=math.ceil(wait_seconds / 60))
    waiting = replace(form, error=error, status=HTTPStatus.TOO_MANY_REQUESTS, retry_after=math.ceil(wait_seconds))
    return draw_sign_in_page(access, scope, waiting)


def _provider_link(scope: Scope, provider: Provider, following: str) -> str:
    # A link, not a form: the page's content security policy blocks forms that are redirected to another site.
    url = relative_address(scope, f"{LOGIN}?{urlencode({'provider': provider.name, 'next': following})}")
    return f'<p><a class="way" href="{html.escape(url)}">Sign in with {html.escape(provider.label)}</a></p>'


def _page(title: str, body: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return HTMLResponse(_PAGE.format(title=title, body=body), status, {**HEADERS, **(headers or {})})
