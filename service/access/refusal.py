"""Answers that say why a request was refused: a page or mere words for a browser, JSON for a program."""

import html
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Second Read</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 18px/1.5 sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em }}
</style>
</head><body><h1>Second Read</h1><p>{reason}</p><p>Research use only.</p></body></html>"""


def wants_page(headers: Headers) -> bool:
    """Return whether a request comes from a browser that shows the answer, not from a program or a script."""
    return "text/html" in headers.get("accept", "") or headers.get("sec-fetch-mode") == "navigate"


def answer_refusal(headers: Headers, reason: str, status: HTTPStatus) -> Response:
    """Return the answer to a request with these headers."""
    extra = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if status == HTTPStatus.UNAUTHORIZED:
        extra["WWW-Authenticate"] = "Bearer"
    if wants_page(headers):
        return HTMLResponse(_PAGE.format(reason=html.escape(reason)), status, extra)
    if "sec-fetch-mode" in headers:
        # Asked by the script of a page: Streamlit shows its reader the JSON of the answer, of a string only the words.
        return JSONResponse(reason, status, extra)
    return JSONResponse({"detail": reason}, status, extra)
