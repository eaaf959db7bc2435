"""The routes for models and for exports of reads."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import IO, Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from db import store
from db.values.reading import LARGEST_ID
from service.access.refusal import REFUSALS
from service.api.routing import LeftOut, OfToken, ProgramsOnlyRoute, TokenRoute, described_token
from service.exports.study_archive import ExportRequest, open_reads_archive
from service.routes import OfServer
from service.worker.checkpoint_in_service import read_checkpoint_in_service

_PART_BYTES = 1 << 16

models = APIRouter(route_class=ProgramsOnlyRoute, dependencies=[Depends(described_token)], tags=["models"])
reads = APIRouter(route_class=TokenRoute, dependencies=[Depends(described_token)], tags=["reads"])


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """One model that is or was in service; `since` is null for the one of the settings."""

    model_version: str
    name: str
    in_service: bool
    since: datetime | None


@dataclass(frozen=True, slots=True)
class ModelInService:
    """What the model in service is, as its card says; `problem` says why it cannot be used."""

    model_version: str | None
    name: str | None
    classes: tuple[str, ...]
    threshold: float | None
    demonstration: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class ModelsAnswer:
    """The model in service, and all that were put into service, newest first."""

    in_service: ModelInService
    deployments: tuple[ModelAnswer, ...]
    research_use_only: Literal[True] = True


class WhichReads(BaseModel):
    """Whose reads to export: those of a study; without it, those of routine reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: Annotated[int, Field(ge=1, le=LARGEST_ID)] | LeftOut = None


@models.get("/models", responses=REFUSALS, summary="The model in service")
def list_models(installation: OfServer) -> ModelsAnswer:
    """Return the model in service, and those before it."""
    file = read_checkpoint_in_service(installation.sessions, installation.settings)
    with installation.sessions.read() as session:
        deployments = store.models.deployments(session)
        site = store.models.site_threshold(session, file.version) if file.card else None
    card = file.card
    return ModelsAnswer(
        ModelInService(
            model_version=file.version or None,
            name=card.name if card else None,
            classes=card.label_set.classes if card else (),
            threshold=site.value if site else card.threshold if card else None,
            demonstration=card.demonstration if card else False,
            problem="the checkpoint in service cannot be used: see /health" if file.problem else None,
        ),
        tuple(ModelAnswer(one.sha256[:12], one.name, number == 0, one.at) for number, one in enumerate(deployments)),
    )


@reads.get(
    "/reads",
    response_class=Response,
    responses=REFUSALS
    | {HTTPStatus.OK: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}},
    summary="Export reads",
)
def export_reads(
    installation: OfServer,
    token: OfToken,
    asked: Annotated[WhichReads, Query()],
) -> Response:
    """Return the reads of a study or of routine reading as a ZIP file, without names and times, and record it."""
    archive = open_reads_archive(installation.sessions, ExportRequest(token.account.id, asked.study))
    name = "study-reads.zip" if asked.study else "routine-reads.zip"
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
        "Content-Length": str(archive.seek(0, os.SEEK_END)),
    }
    return StreamingResponse(_parts(archive), headers=headers, media_type="application/zip")


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    """Yield a file part by part, and close it."""
    with file:
        file.seek(0)
        while part := file.read(_PART_BYTES):
            yield part
