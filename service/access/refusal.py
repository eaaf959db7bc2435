"""Answers that say why a request was refused: a page or mere words for a browser, problem details for a program."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import TypeAdapter
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Second Read</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 18px/1.5 sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em }}
</style>
</head><body><h1>Second Read</h1><p>{reason}</p><p>Research use only.</p></body></html>"""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request was refused, as RFC 9457 describes it."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def _refusal(words: str) -> dict[str, object]:
    schema = TypeAdapter(Problem).json_schema()
    return {"description": words, "content": {"application/problem+json": {"schema": schema}}}


# How any route may refuse, for /openapi.json.
REFUSALS: dict[int | str, dict[str, object]] = {
    HTTPStatus.BAD_REQUEST: _refusal("The form cannot be read."),
    HTTPStatus.UNAUTHORIZED: _refusal("There is no valid token."),
    HTTPStatus.FORBIDDEN: _refusal("The token or its account does not permit this."),
    HTTPStatus.NOT_FOUND: _refusal("There is no such case, job, model or study."),
    HTTPStatus.REQUEST_TIMEOUT: _refusal("The request did not arrive in time."),
    HTTPStatus.CONFLICT: _refusal(
        "The case does not allow it now, for example because it has not been read blind yet."
    ),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _refusal("The request is too large or has too many files."),
    HTTPStatus.UNPROCESSABLE_ENTITY: _refusal("A field is missing or wrong, or a file cannot be read as an image."),
    HTTPStatus.TOO_MANY_REQUESTS: _refusal("Too many requests with this token; Retry-After says when to try again."),
    HTTPStatus.SERVICE_UNAVAILABLE: _refusal("Busy or not ready; Retry-After says when to try again."),
}


def wants_page(headers: Headers) -> bool:
    """Return whether a request comes from a browser that shows the answer, not from a program or a script."""
    return "text/html" in headers.get("accept", "") or headers.get("sec-fetch-mode") == "navigate"


class ProblemResponse(JSONResponse):
    """Problem details for programs, as RFC 9457 defines them."""

    media_type = "application/problem+json"


def answer_refusal(
    headers: Headers,
    reason: str,
    status: HTTPStatus,
    *,
    also: Mapping[str, str] | None = None,
    members: Mapping[str, int | list[str]] | None = None,
) -> Response:
    """Return the answer to a request with these headers.

    Args:
        headers: What the request said.
        reason: Why it was refused, and what to do.
        status: The status of the answer.
        also: More headers of the answer, such as Retry-After.
        members: What else the problem details hold.
    """
    extra = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **(also or {})}
    if status == HTTPStatus.UNAUTHORIZED:
        extra["WWW-Authenticate"] = "Bearer"
    if wants_page(headers):
        return HTMLResponse(_PAGE.format(reason=html.escape(reason)), status, extra)
    if _is_of_streamlit(headers):
        # Asked by the script of a page: Streamlit shows its reader the JSON of the answer, of a string only the words.
        return JSONResponse(reason, status, extra)
    return ProblemResponse({**problem_details(reason, status), **(members or {})}, status, extra)


def problem_details(reason: str, status: HTTPStatus) -> dict[str, str | int]:
    """Return what a program is answered about a refusal."""
    return {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": reason}


def _is_of_streamlit(headers: Headers) -> bool:
    """Return whether a script of Streamlit asked: that of /docs sends a token, and shows all that is answered."""
    return "sec-fetch-mode" in headers and "authorization" not in headers
