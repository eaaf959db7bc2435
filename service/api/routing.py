"""What all routes for programs share: the token that a request came with, its limits, and one way of answering."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Header, HTTPException, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from core.imaging.scale import LEAST_UM_PER_PX, MOST_UM_PER_PX
from db.values.accounts import HeldToken
from db.values.programs import KeyedRequest
from service.access.gate import TOKEN, needed_scope
from service.access.prefix import own_path
from service.access.refusal import wants_page
from service.api.kept_answers import KeptAnswers
from service.api.known_files import KnownFiles
from service.api.limits import Admission, RequestLimits
from service.api.uploads import ReceivedFile, UploadRequest, digest
from service.routes import OfServer

_NO_ACCOUNTS = (
    "Programs need a token, and a token needs an account: create one with `python -m db accounts add NAME --role "
    "researcher --without-password`, then `python -m db accounts token NAME --scope predict --label LABEL`."
)

# Only described here, for /docs: the gate has checked the token before a route is asked.
described_token = HTTPBearer(auto_error=False, description="A token that an administrator has created.")


@dataclass(frozen=True, slots=True, eq=False)
class Programs:
    """What the server remembers of its programs: how much they ask for now, answers to requests with a key, files."""

    admission: Admission
    kept: KeptAnswers
    files: KnownFiles


def let_programs_in(app: FastAPI, limits: RequestLimits) -> None:
    """Prepare an application for the routes for programs."""
    app.state.programs = Programs(Admission(limits), KeptAnswers(), KnownFiles())


def programs_of(request: Request) -> Programs:
    """Return what the server remembers of its programs."""
    programs = request.app.state.programs
    if not isinstance(programs, Programs):
        raise TypeError(f"app.state.programs must be Programs, got {programs!r}")
    return programs


def held_token(request: Request) -> HeldToken:
    """Return the token that a request came with, which has the scope that its path needs.

    Raises:
        HTTPException: If there is none. The gate has refused the request before, but where there are no accounts.
    """
    token = request.scope.get(TOKEN)
    if not isinstance(token, HeldToken) or token.scope is not needed_scope(own_path(request.scope)):
        raise HTTPException(HTTPStatus.FORBIDDEN, _NO_ACCOUNTS)
    return token


class TokenRoute(APIRoute):
    """A route for tokens of one scope: counts their requests, before anything of a body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[None, None, Response]]:
        """Return what answers a request."""
        handle = super().get_route_handler()

        async def handle_counted(request: Request) -> Response:
            programs_of(request).admission.count_request(held_token(request).id)
            return await handle(request)

        return handle_counted


class UploadRoute(APIRoute):
    """A route for tokens of one scope that send images: also counts their uploads, and reads them in memory."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[None, None, Response]]:
        """Return what answers a request."""
        handle = super().get_route_handler()

        async def handle_in_turn(request: Request) -> Response:
            token, admission = held_token(request), programs_of(request).admission
            admission.count_request(token.id)
            with admission.upload(token.id):
                return await handle(UploadRequest(request.scope, request.receive, admission.limits))

        return handle_in_turn


class ProgramsOnlyRoute(APIRoute):
    """A route whose path is also that of a page, which browsers get."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether this route answers a request."""
        if scope["type"] == "http" and wants_page(Headers(scope=scope)):
            return Match.NONE, {}
        return super().matches(scope)


# A field that is left out: a form cannot send null.
LeftOut = SkipJsonSchema[None]

OfToken = Annotated[HeldToken, Depends(held_token)]
OfPrograms = Annotated[Programs, Depends(programs_of)]
IdempotencyKey = Annotated[
    Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")] | LeftOut,
    Header(description="A repeated request with the same key returns the same answer and is carried out only once."),
]
UmPerPx = Annotated[
    Annotated[float, Field(ge=LEAST_UM_PER_PX, le=MOST_UM_PER_PX)] | LeftOut,
    Form(description="The scale in micrometres per pixel, if it is known from another source than the file."),
]


@dataclass(frozen=True, slots=True, eq=False)
class Posted:
    """Where a request that sends images came to, and what it came with."""

    request: Request
    installation: OfServer
    programs: OfPrograms
    token: OfToken
    idempotency_key: IdempotencyKey = None

    def keyed(self, fields: Sequence[str], files: Sequence[ReceivedFile]) -> KeyedRequest | None:
        """Return the request as one that is carried out only once; None if it has no key."""
        if self.idempotency_key is None:
            return None
        return KeyedRequest(self.token.id, self.idempotency_key, digest(self.request.url.path, fields, files))


ByPost = Annotated[Posted, Depends()]
