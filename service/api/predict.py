"""The routes for predictions: one image, or several of one patient. Nothing that is sent to them is stored."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, File, Form, HTTPException, Request, Response, UploadFile
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool

from core.imaging.decode import decode_image
from core.imaging.heatmaps import encode_png
from core.imaging.limits import UnreadableImageError
from core.imaging.scale import Scale
from core.results import Priority, RgbImage
from db import store
from db.values.programs import KeyedRequest
from service.access.refusal import REFUSALS
from service.api.kept_answers import Answer
from service.api.known_files import KnownFile
from service.api.predictions import (
    Analysed,
    FolderPredictions,
    ImagePrediction,
    describe_folder,
    describe_image,
)
from service.api.routing import (
    ByPost,
    Posted,
    UmPerPx,
    UploadRoute,
    described_token,
)
from service.api.uploads import ReceivedFile, read_files
from service.engine.requests import (
    AnalysisAnswer,
    AnalysisRequest,
    EngineBusyError,
    EngineUnavailableError,
)
from service.installation import Installation

_AT_ONCE = 16  # images of one folder that wait for the engine together
_PAUSE_SECONDS = 5  # for a server whose worker is not ready

_SINGLE = TypeAdapter(ImagePrediction)
_FOLDER = TypeAdapter(FolderPredictions)
_T = TypeVar("_T")

router = APIRouter(route_class=UploadRoute, dependencies=[Depends(described_token)], tags=["predictions"])

AskHeatmap = Annotated[bool, Form(description="Whether to return the heat map too.")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked of all images of a request."""

    heatmap: bool
    um_per_px: float | None
    priority: Priority

    @property
    def fields(self) -> list[str]:
        """What tells it from another request for the same files."""
        return [str(self.heatmap), str(self.um_per_px)]


@dataclass(frozen=True, slots=True, eq=False)
class _Recognised:
    """An image that may be analysed: its digests, its scale, and its pixels where its heat map is asked for."""

    file: ReceivedFile
    source_sha256: str
    file_sha256: str
    scale: Scale | None
    pixels: RgbImage | None


@router.post("/predict/single", response_model=ImagePrediction, responses=REFUSALS)
async def predict_single(
    posted: ByPost,
    file: Annotated[UploadFile, File(description="One image: PNG, JPEG, TIFF, BMP or WebP.")],
    heatmap: AskHeatmap = False,
    um_per_px: UmPerPx = None,
) -> Response:
    """Return what the model says of one image. Research use only; not a diagnosis."""
    (received,) = await read_files([file])
    installation = posted.installation
    asked = _Asked(heatmap, um_per_px, "interactive")

    async def answer() -> Answer:
        started = time.perf_counter()
        try:
            image = await run_in_threadpool(_recognise, posted, received, asked)
            analysed = await _analyse(installation, image, asked, started)
        except UnreadableImageError as error:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
        await run_in_threadpool(_refuse_still_blind, installation, [image])
        return Answer(
            HTTPStatus.OK, await run_in_threadpool(lambda: _SINGLE.dump_json(describe_image(received.name, analysed)))
        )

    return await _answer_once(posted, posted.keyed(asked.fields, [received]), answer)


@router.post("/predict/folder", response_model=FolderPredictions, responses=REFUSALS)
async def predict_folder(
    posted: ByPost,
    files: Annotated[list[UploadFile], File(min_length=1, description="Images of one patient.")],
    heatmap: AskHeatmap = False,
    um_per_px: UmPerPx = None,
) -> Response:
    """Return what the model says of several images, and their mean. A file that cannot be read has an entry that says
    why. Research use only; not a diagnosis.
    """
    received = await read_files(files)
    installation = posted.installation
    asked = _Asked(heatmap, um_per_px, "cohort")

    async def answer() -> Answer:
        started = time.perf_counter()
        # All before any is analysed: one that is still to be read blind refuses all of a patient's.
        images = [await run_in_threadpool(_recognise_or_say_why, posted, one, asked) for one in received]
        found = await _analyse_all(installation, images, asked)
        known = [image for image in images if isinstance(image, _Recognised)]
        await run_in_threadpool(_refuse_still_blind, installation, known)
        return Answer(HTTPStatus.OK, await run_in_threadpool(_describe, received, found, started))

    return await _answer_once(posted, posted.keyed(asked.fields, received), answer)


def _recognise(posted: Posted, file: ReceivedFile, asked: _Asked) -> _Recognised:
    """Decode an image, unless its file was sent before, and refuse one of a case that somebody still has to read blind.

    Raises:
        UnreadableImageError: If it cannot be decoded.
        StillBlindError: If it is in such a case.
    """
    known, pixels = posted.programs.files.get(file.sha256), None
    if known is None or asked.heatmap:
        decoded = decode_image(file.data)
        pixels = decoded.pixels
        known = known or KnownFile(sha256(encode_png(pixels)).hexdigest(), decoded.scale)
        posted.programs.files.put(file.sha256, known)
    scale = Scale(asked.um_per_px, "typed") if asked.um_per_px is not None else known.scale
    image = _Recognised(file, file.sha256, known.file_sha256, scale, pixels if asked.heatmap else None)
    _refuse_still_blind(posted.installation, [image])
    return image


def _recognise_or_say_why(posted: Posted, file: ReceivedFile, asked: _Asked) -> _Recognised | str:
    try:
        return _recognise(posted, file, asked)
    except UnreadableImageError as error:
        return str(error)


def _refuse_still_blind(installation: Installation, images: Sequence[_Recognised]) -> None:
    """Refuse images of cases that somebody still has to read blind; asked again when the answer is ready.

    Raises:
        StillBlindError: If one of them is.
    """
    with installation.sessions.read() as session:
        for image in images:
            store.predictable.refuse_still_blind(
                session, source_sha256=image.source_sha256, file_sha256=image.file_sha256
            )


async def _analyse(installation: Installation, image: _Recognised, asked: _Asked, started: float) -> Analysed:
    request = AnalysisRequest(image.file.data, asked.heatmap, asked.um_per_px, asked.priority)
    try:
        found: AnalysisAnswer = await installation.analyser.analyse(request)
    except EngineBusyError as error:
        headers = {"Retry-After": str(error.retry_after)}
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers) from error
    except EngineUnavailableError as error:
        headers = {"Retry-After": str(_PAUSE_SECONDS)}
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers) from error
    return Analysed(found.analysis, found.model_version, time.perf_counter() - started, image.scale, image.pixels)


async def _analyse_all(
    installation: Installation, images: Sequence[_Recognised | str], asked: _Asked
) -> list[Analysed | str]:
    """Analyse the images of a folder, several at once; those that cannot be read keep their reason."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def analyse_one(image: _Recognised | str) -> Analysed | str:
        if isinstance(image, str):
            return image
        try:
            async with places:
                return await _analyse(installation, image, asked, time.perf_counter())
        except UnreadableImageError as error:  # for want of memory, which the server had
            return str(error)

    tasks = [asyncio.ensure_future(analyse_one(image)) for image in images]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _describe(received: Sequence[ReceivedFile], found: Sequence[Analysed | str], started: float) -> bytes:
    """Return the answer about a folder as JSON.

    Raises:
        HTTPException: If another model was put into service while it was being analysed.
    """
    analysed = [one for one in found if isinstance(one, Analysed)]
    versions = sorted({one.model_version for one in analysed})
    if len(versions) > 1:
        words = "another model was put into service while these images were being analysed; try again in 1 s"
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, words, {"Retry-After": "1"})
    entries = [
        describe_image(file.name, one) if isinstance(one, Analysed) else ImagePrediction(file.name, error=one)
        for file, one in zip(received, found, strict=True)
    ]
    predictions = [one.analysis.prediction for one in analysed if one.analysis.prediction]
    version = versions[0] if versions else None
    return _FOLDER.dump_json(describe_folder(entries, predictions, version, time.perf_counter() - started))


async def _answer_once(posted: Posted, keyed: KeyedRequest | None, work: Callable[[], Awaitable[Answer]]) -> Response:
    """Answer a request; the same again with the same key gets the same answer.

    Without a key, the work ends when the program goes away, because nobody can ask for its answer.
    """
    seconds = posted.programs.admission.limits.answer_seconds
    try:
        async with asyncio.timeout(seconds):
            answer = await (posted.programs.kept.once(keyed, work) if keyed else _unless_gone(posted.request, work))
    except TimeoutError as error:
        words = f"the answer took longer than {seconds:g} s: send fewer images at once"
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, words, {"Retry-After": str(_PAUSE_SECONDS)}) from error
    # An opinion of the model must not stay in a cache.
    return Response(answer.body, answer.status, {"Cache-Control": "no-store"}, "application/json")


async def _unless_gone(request: Request, work: Callable[[], Awaitable[_T]]) -> _T:
    """Do something for a program, and stop when it goes away.

    Raises:
        HTTPException: If it has gone.
    """
    task, gone = asyncio.ensure_future(work()), asyncio.ensure_future(_wait_until_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HTTPException(HTTPStatus.BAD_REQUEST, "the client has disconnected")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
