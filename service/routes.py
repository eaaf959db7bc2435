"""HTTP routes beside the pages: the health check, and the images and heat maps that the viewer loads."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from core.computing import Backend
from core.imaging.decode import decode_image
from core.imaging.heatmaps import decode_heatmap, encode_png, make_thumbnail, scale_to_grey
from db import store
from db.errors import (
    CaseChangedError,
    DatabaseBusyError,
    KeyReusedError,
    NotAllowedError,
    NotRevealedError,
    StillBlindError,
    StoredDifferentlyError,
    UnknownCaseError,
)
from db.files import DamagedFileError, Files
from db.values.accounts import Account
from service.access.gate import ACCOUNT
from service.access.prefix import own_path
from service.access.refusal import REFUSALS, answer_refusal
from service.installation import Installation

# The browser must revalidate each time: in a new data folder, the same id is another patient's image.
# Private, because a shared cache is not protected by the gate.
_REVALIDATE = {"Cache-Control": "private, no-cache", "X-Content-Type-Options": "nosniff"}
# A heat map is the model's opinion, so it must not stay in a browser cache.
_NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_ONE_DAY = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}

_IMAGES = "/images/"
_NO_SUCH_ADDRESS = "There is no such address here: images have whole numbers, as in /images/1."

_CACHED_THUMBNAILS = 512  # about 100 kB each

_UNCHANGED: dict[int | str, dict[str, object]] = {
    HTTPStatus.NOT_MODIFIED: {"description": "the browser has the file already"}
}

router = APIRouter(responses=REFUSALS)


class PngResponse(Response):
    """A picture as PNG."""

    media_type = "image/png"


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the server that anyone may see: nothing about cases, accounts or file locations.

    `backend` is how a worker computes, and `caution` why that is not as configured; it is no problem.
    `status`, `model_loaded` and `timestamp` are the names that clients of a published service know.
    """

    status: Literal["ok", "degraded"]
    model_loaded: bool
    timestamp: datetime
    model_version: str | None
    worker: Literal["ready", "starting", "stopped", "none"]  # none: this server starts no worker
    queue: int | None
    problem: str | None
    backend: Backend | None
    device: str | None
    caution: str | None


def _installation(request: Request) -> Installation:
    installation = request.app.state.installation
    if not isinstance(installation, Installation):
        raise TypeError(f"app.state.installation must be an Installation, got {installation!r}")
    return installation


OfServer = Annotated[Installation, Depends(_installation)]


def _account_id(request: Request, installation: OfServer) -> int:
    """Return the id of the account that passed the gate; in single-reader mode, of the single reader.

    If the first account was created after the request passed the gate, the store refuses the single reader.
    """
    account = request.scope.get(ACCOUNT)
    return account.id if isinstance(account, Account) else installation.single_reader.id


# Resolved before a read session opens: creating the single reader writes, and in SQLite that would wait for its end.
ForAccount = Annotated[int, Depends(_account_id)]


@router.head("/health", include_in_schema=False)
@router.get("/health")
def health(installation: OfServer) -> Health:
    """Return whether the server and its worker are healthy."""
    supervisor = installation.supervisor
    version, problem, computing = supervisor.model_version, supervisor.problem, supervisor.computing
    try:
        with installation.sessions.read() as session:
            queue = store.jobs.jobs_waiting(session)
    except Exception:
        queue, problem = None, "the database is not responding"
    return Health(
        status="degraded" if problem else "ok",
        model_loaded=version is not None,
        timestamp=datetime.now(UTC),
        model_version=version,
        worker=_worker_state(installation),
        queue=queue,
        problem=problem,
        backend=computing.backend if computing else None,
        device=computing.device if computing else None,
        caution=computing.caution if computing else None,
    )


def _worker_state(installation: Installation) -> Literal["ready", "starting", "stopped", "none"]:
    if not installation.settings.workers:
        return "none"
    if installation.supervisor.model_version:
        return "ready"
    return "stopped" if installation.supervisor.pid is None else "starting"


@router.get("/images/{image_id}", response_class=PngResponse, responses=_UNCHANGED)
def image(image_id: int, request: Request, installation: OfServer, account_id: ForAccount) -> Response:
    """Return the pixels of an image as PNG, without metadata."""
    file_sha256 = _image_file(installation, image_id, account_id)
    return _png(request, file_sha256, lambda: installation.files.get(file_sha256))


@router.get("/images/{image_id}/thumbnail", response_class=PngResponse, responses=_UNCHANGED)
def image_thumbnail(image_id: int, request: Request, installation: OfServer, account_id: ForAccount) -> Response:
    """Return an image whose longest side is at most 256 px."""
    file_sha256 = _image_file(installation, image_id, account_id)
    return _png(request, file_sha256, lambda: _thumbnail(installation.files, file_sha256))


@router.get("/images/{image_id}/heatmap", response_class=PngResponse)
def image_heatmap(image_id: int, installation: OfServer, account_id: ForAccount) -> Response:
    """Return the heat map as grey levels over its own range, once the first read is saved."""
    with installation.sessions.read() as session:
        file_sha256 = store.open_case.heatmap_file(session, image_id, account_id)
    return _grey_levels(installation, file_sha256)


@router.get("/images/{image_id}/scope-map", response_class=PngResponse)
def image_scope_map(image_id: int, installation: OfServer, account_id: ForAccount) -> Response:
    """Return where the image is unlike the training images, as grey levels, once the first read is saved."""
    with installation.sessions.read() as session:
        file_sha256 = store.open_case.scope_map_file(session, image_id, account_id)
    return _grey_levels(installation, file_sha256)


def _grey_levels(installation: Installation, map_sha256: str) -> Response:
    grey, _, _ = scale_to_grey(decode_heatmap(installation.files.get(map_sha256)))
    return PngResponse(encode_png(grey), headers=_NO_STORE)


def _assets(request: Request) -> Path:
    folder = request.app.state.assets
    if not isinstance(folder, Path):
        raise TypeError(f"app.state.assets must be the folder of browser assets, got {folder!r}")
    return folder


@router.get("/assets/{name}", response_class=FileResponse)
def asset(name: str, folder: Annotated[Path, Depends(_assets)]) -> FileResponse:
    """Return one file that the pages load in the browser."""
    path = folder / name
    if path.parent != folder or not path.is_file():
        raise HTTPException(HTTPStatus.NOT_FOUND, "file not found")
    return FileResponse(path, headers=_ONE_DAY)


def answer_our_errors(app: FastAPI) -> None:
    """Register handlers that answer expected errors with their status and message, in a browser as a page."""
    for error, status in (
        (UnknownCaseError, HTTPStatus.NOT_FOUND),
        (NotRevealedError, HTTPStatus.FORBIDDEN),
        (NotAllowedError, HTTPStatus.FORBIDDEN),
        (CaseChangedError, HTTPStatus.CONFLICT),
        (StoredDifferentlyError, HTTPStatus.INTERNAL_SERVER_ERROR),
        (KeyReusedError, HTTPStatus.CONFLICT),
        (DatabaseBusyError, HTTPStatus.SERVICE_UNAVAILABLE),
        (DamagedFileError, HTTPStatus.INTERNAL_SERVER_ERROR),
    ):
        app.add_exception_handler(error, _answer(status))
    app.add_exception_handler(StillBlindError, _answer_still_blind)
    app.add_exception_handler(StarletteHTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid_request)


def _answer(status: HTTPStatus, reason: str = "") -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        return answer_refusal(request.headers, reason or str(error), status)

    return answer


def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, StarletteHTTPException):
        raise error
    return answer_refusal(request.headers, str(error.detail), HTTPStatus(error.status_code), also=error.headers)


def _answer_still_blind(request: Request, error: Exception) -> Response:
    if not isinstance(error, StillBlindError):
        raise error
    return answer_refusal(request.headers, str(error), HTTPStatus.CONFLICT, members={"case_id": error.case_id})


def _answer_invalid_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    if own_path(request.scope).startswith(_IMAGES):
        return answer_refusal(request.headers, _NO_SUCH_ADDRESS, HTTPStatus.UNPROCESSABLE_ENTITY)
    wrong = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
    return answer_refusal(
        request.headers,
        "The request does not match /openapi.json.",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        members={"errors": wrong},
    )


def _png(request: Request, file_sha256: str, read: Callable[[], bytes]) -> Response:
    """Answer with the pixels, or with 304 if the browser already has the file with this hash."""
    headers = {**_REVALIDATE, "ETag": f'"{file_sha256}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return PngResponse(read(), headers=headers)


def _image_file(installation: Installation, image_id: int, account_id: int) -> str:
    with installation.sessions.read() as session:
        return store.open_case.image_file(session, image_id, account_id)


@lru_cache(maxsize=_CACHED_THUMBNAILS)
def _thumbnail(files: Files, file_sha256: str) -> bytes:
    return encode_png(make_thumbnail(decode_image(files.get(file_sha256), stored=True).pixels))
