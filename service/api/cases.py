"""The routes for cases: a laboratory system adds them and asks how far they are, and learns nothing of any opinion."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Form, Path, Request, Response, UploadFile
from fastapi.sse import format_sse_event
from pydantic import Field, TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from core.imaging.scale import Scale
from db import store
from db.errors import DatabaseBusyError, NotAllowedError, UnknownCaseError
from db.values.jobs import JobState
from db.values.programs import BegunRequest, KeyedAnswer, KeyedRequest, PostedCase, PostedJob
from db.values.reading import LARGEST_ID, CaseState
from db.values.scales import ChosenScale
from service.access.refusal import REFUSALS, problem_details
from service.api.kept_answers import Answer
from service.api.routing import (
    ByPost,
    LeftOut,
    OfToken,
    TokenRoute,
    UmPerPx,
    UploadRoute,
    described_token,
)
from service.api.uploads import ReceivedFile, read_files
from service.batches import BatchProgress
from service.installation import Installation
from service.intake import CasePlan
from service.routes import OfServer
from service.worker.checkpoint_in_service import read_checkpoint_in_service

_LOOK_SECONDS = 0.05  # between two looks at a batch that is being stored
_POLL_SECONDS = 1.0  # between two looks at a job
_SIGN_OF_LIFE_SECONDS = 15.0  # proxies close a connection on which nothing happens
_LONGEST_STREAM_SECONDS = 3600.0
_ENDED = (JobState.DONE, JobState.FAILED)
_EVENTS = "text/event-stream"

uploads = APIRouter(route_class=UploadRoute, dependencies=[Depends(described_token)], tags=["cases"])
router = APIRouter(route_class=TokenRoute, dependencies=[Depends(described_token)], tags=["cases"])

_Number = Annotated[int, Path(ge=1, le=LARGEST_ID)]


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """How far the analysis of an image is: nothing of its result."""

    job_id: int
    image_id: int
    case_id: int
    state: JobState
    attempts: int
    place: int | None  # among the jobs that wait; 1 is next
    seconds_left: float | None
    research_use_only: Literal[True] = True


@dataclass(frozen=True, slots=True)
class ImageOfCase:
    """An image of a case, and the job that analyses it."""

    image_id: int
    job_id: int
    job: JobState


@dataclass(frozen=True, slots=True)
class CaseAnswer:
    """How far a case is, as a reader sees it who has not read it: nothing of any opinion."""

    case_id: int
    accession: str
    magnification: str | None
    state: CaseState
    created_at: datetime
    images: tuple[ImageOfCase, ...]
    research_use_only: Literal[True] = True


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file: its image, or the error that says why there is none."""

    filename: str
    image_id: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class AddedCase:
    """A case that was added, and what became of each file."""

    case: CaseAnswer
    files: tuple[FileResult, ...]


_JOB, _CASE, _ADDED = TypeAdapter(JobAnswer), TypeAdapter(CaseAnswer), TypeAdapter(AddedCase)


@uploads.post(
    "/cases", status_code=HTTPStatus.CREATED, response_model=AddedCase, responses=REFUSALS, summary="Add a case"
)
async def add_case(
    posted: ByPost,
    files: Annotated[list[UploadFile], File(min_length=1, description="The images of the case, in their order.")],
    accession: Annotated[
        Annotated[str, Field(max_length=64)] | LeftOut, Form(description="Numbered automatically if left out.")
    ] = None,
    magnification: Annotated[
        Annotated[str, Field(max_length=32)] | LeftOut, Form(description='Such as "100X".')
    ] = None,
    um_per_px: UmPerPx = None,
) -> Response:
    """Add a case with its images, and queue their analysis. A file that cannot be read does not stop the others."""
    received = await read_files(files)
    scale = ChosenScale(Scale(um_per_px, "typed")) if um_per_px is not None else None
    installation = posted.installation
    checkpoint = await run_in_threadpool(read_checkpoint_in_service, installation.sessions, installation.settings)
    plan = CasePlan(posted.token.account.id, magnification, accession, card=checkpoint.card, scale=scale)
    keyed = posted.keyed([repr(accession), repr(magnification), repr(um_per_px)], received)
    if keyed is None:
        answer = await _add(installation, plan, received)
    else:
        answer = await posted.programs.kept.once(keyed, lambda: _add_once(installation, plan, received, keyed))
    kind = "application/json" if answer.status == HTTPStatus.CREATED else "application/problem+json"
    return Response(answer.body, answer.status, {"Cache-Control": "no-store"}, kind)


async def _add_once(
    installation: Installation, plan: CasePlan, files: Sequence[ReceivedFile], keyed: KeyedRequest
) -> Answer:
    """Add a case once, also if the server is stopped or killed meanwhile: the same request then completes the case.

    Raises:
        KeyReusedError: If the key was sent with another request.
    """
    begun = await run_in_threadpool(_begin, installation, keyed)
    if begun.answer is not None:
        return Answer(begun.answer.status, begun.answer.text.encode())
    answer = None
    if begun.again:
        answer = await _complete_interrupted(installation, plan, files, begun.at)
    answer = answer or await _add(installation, plan, files)
    if answer.settled:
        await run_in_threadpool(_record, installation, keyed, answer)
    return answer


def _begin(installation: Installation, keyed: KeyedRequest) -> BegunRequest:
    with installation.sessions.begin() as session:
        return store.keyed_requests.begin_request(session, keyed)


def _record(installation: Installation, keyed: KeyedRequest, answer: Answer) -> None:
    with installation.sessions.begin() as session:
        store.keyed_requests.record_answer(session, keyed, KeyedAnswer(answer.status, answer.body.decode()))


async def _complete_interrupted(
    installation: Installation, plan: CasePlan, files: Sequence[ReceivedFile], since: datetime
) -> Answer | None:
    """Complete the case that an interrupted request has begun to add; None if it had stored nothing."""
    case_id = await run_in_threadpool(_find_interrupted, installation, plan, files, since)
    if case_id is None:
        return None
    joining = CasePlan(plan.account_id, plan.magnification, card=plan.card, case_id=case_id, scale=plan.scale)
    return await _add(installation, joining, files)


def _find_interrupted(
    installation: Installation, plan: CasePlan, files: Sequence[ReceivedFile], since: datetime
) -> int | None:
    with installation.sessions.read() as session:
        sources = [file.sha256 for file in files]
        return store.posted_cases.interrupted_case(session, plan.account_id, sources, since)


async def _add(installation: Installation, plan: CasePlan, files: Sequence[ReceivedFile]) -> Answer:
    """Store the images as the page for uploads does, and return what became of them."""
    images = [(file.name, file.data) for file in files]
    try:
        batch = installation.batches.store(plan, images, len(images))
    except ValueError as error:
        return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error), settled=False)
    # No page needs to show its outcome.
    batch.was_seen = True
    while batch.is_running:
        await asyncio.sleep(_LOOK_SECONDS)
    progress, case_id = batch.progress, batch.case_id
    if progress.stopped_by:
        words = f"not all images were stored: {progress.stopped_by}. Send the same request with the same key again."
        return _refuse(HTTPStatus.SERVICE_UNAVAILABLE, words, settled=False)
    if progress.refused:
        return _refuse(HTTPStatus.CONFLICT, progress.refused)
    if case_id is None:
        return _refuse(HTTPStatus.UNPROCESSABLE_ENTITY, _why_nothing_was_stored(progress))
    return await run_in_threadpool(_describe_added, installation, plan, case_id, progress)


def _describe_added(installation: Installation, plan: CasePlan, case_id: int, progress: BatchProgress) -> Answer:
    if plan.case_id is not None:
        _end_interrupted(installation, plan.account_id, case_id)
    with installation.sessions.read() as session:
        case = store.posted_cases.posted_case(session, case_id, plan.account_id)
    files = tuple(
        FileResult(result.name, result.image_id, _error(result.message, result.already_in, case.accession))
        for result in progress.results
    )
    return Answer(HTTPStatus.CREATED, _ADDED.dump_json(AddedCase(_case_answer(case), files)))


def _end_interrupted(installation: Installation, account_id: int, case_id: int) -> None:
    """End what is left of an intake that was interrupted: all images of the request have been taken in again."""
    with installation.sessions.begin() as session:
        for intake in store.intakes.open_intakes(session, account_id):
            if intake.case_id == case_id:
                store.intakes.end_intake(session, account_id, intake.id)


def _error(message: str | None, already_in: str | None, accession: str) -> str | None:
    # An image that an interrupted request had stored is where it belongs.
    if already_in is not None and already_in != accession:
        return f"this image is already in case {already_in}"
    return message


def _why_nothing_was_stored(progress: BatchProgress) -> str:
    reasons = [result.message or f"already in case {result.already_in}" for result in progress.results]
    return "none of the files was stored: " + "; ".join(dict.fromkeys(reasons))


def _refuse(status: HTTPStatus, words: str, *, settled: bool = True) -> Answer:
    return Answer(status, json.dumps(problem_details(words, status)).encode(), settled)


@router.get("/cases/{case_id}", response_model=CaseAnswer, responses=REFUSALS, summary="Get the status of a case")
def find_case(case_id: _Number, installation: OfServer, token: OfToken) -> CaseAnswer:
    """Return the state of a case that this account has added, and of the analysis of its images."""
    with installation.sessions.read() as session:
        return _case_answer(store.posted_cases.posted_case(session, case_id, token.account.id))


@router.get(
    "/jobs/{job_id}",
    response_model=JobAnswer,
    responses=REFUSALS | {HTTPStatus.OK: {"content": {_EVENTS: {"schema": {"type": "string"}}}}},
    summary="Get the status of an analysis",
)
async def follow_job(job_id: _Number, request: Request, installation: OfServer, token: OfToken) -> Response:
    """Return how far the analysis of an image is; with `Accept: text/event-stream`, every change until it has ended."""
    job = await run_in_threadpool(_find_job, installation, job_id, token.account.id)
    if _EVENTS not in request.headers.get("accept", ""):
        return Response(_JOB.dump_json(job), headers={"Cache-Control": "no-store"}, media_type="application/json")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx would hold events back
    return StreamingResponse(_changes(installation, job, token.account.id), headers=headers, media_type=_EVENTS)


async def _changes(installation: Installation, job: JobAnswer, account_id: int) -> AsyncIterator[bytes]:
    """Yield how far a job is, and every change, until it has ended."""
    begun = last = time.monotonic()
    yield _event(job)
    while job.state not in _ENDED and time.monotonic() - begun < _LONGEST_STREAM_SECONDS:
        await asyncio.sleep(_POLL_SECONDS)
        try:
            now = await run_in_threadpool(_find_job, installation, job.job_id, account_id)
        except DatabaseBusyError:
            continue
        except (NotAllowedError, UnknownCaseError):
            return
        if now != job:
            job, last = now, time.monotonic()
            yield _event(job)
        elif time.monotonic() - last > _SIGN_OF_LIFE_SECONDS:
            last = time.monotonic()
            yield format_sse_event(comment="still waiting")


def _event(job: JobAnswer) -> bytes:
    return format_sse_event(data_str=_JOB.dump_json(job).decode(), event=str(job.state))


def _find_job(installation: Installation, job_id: int, account_id: int) -> JobAnswer:
    with installation.sessions.read() as session:
        return _job_answer(store.posted_cases.posted_job(session, job_id, account_id))


def _job_answer(job: PostedJob) -> JobAnswer:
    return JobAnswer(job.id, job.image_id, job.case_id, job.state, job.attempts, job.place, job.seconds_left)


def _case_answer(case: PostedCase) -> CaseAnswer:
    images = tuple(ImageOfCase(image.image_id, image.job_id, image.job) for image in case.images)
    return CaseAnswer(case.id, case.accession, case.magnification, case.state, case.created_at, images)
