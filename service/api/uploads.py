"""Receiving the images of a program: in memory only, and within the limits."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

from fastapi import HTTPException, UploadFile
from starlette._utils import AwaitableOrContextManager, AwaitableOrContextManagerWrapper
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.types import Receive, Scope

from core.imaging.limits import MAX_BYTES
from service.api.limits import RequestLimits

_MOST_FIELDS = 20  # of a form, beside its files
_LONGEST_FIELD = 10_000  # bytes


@dataclass(frozen=True)  # without slots: the digest of a large file is kept
class ReceivedFile:
    """One file of a request; its name is answered to the program and stored nowhere."""

    name: str
    data: bytes

    @cached_property
    def sha256(self) -> str:
        """The digest of its bytes."""
        return hashlib.sha256(self.data).hexdigest()


class _MemoryParser(MultiPartParser):
    """Reads a form without ever writing a file to disk: what is sent for a prediction is not stored."""

    spool_max_size = 0  # for a SpooledTemporaryFile: never


class UploadRequest(Request):
    """A request whose form is read in memory, within the limits."""

    def __init__(self, scope: Scope, receive: Receive, limits: RequestLimits) -> None:
        super().__init__(scope, receive)
        self._limits = limits

    def form(
        self, *, max_files: float = 0, max_fields: float = 0, max_part_size: int = 0
    ) -> AwaitableOrContextManager[FormData]:
        """Read the form once; the limits are ours, not those of the arguments."""
        return AwaitableOrContextManagerWrapper(self._read())

    async def _read(self) -> FormData:
        if not self.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return FormData()
        limits = self._limits
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > limits.body_bytes:
            raise _too_large(limits)
        try:
            async with asyncio.timeout(limits.receive_seconds), aclosing(self._bounded()) as stream:
                parser = _MemoryParser(
                    self.headers,
                    stream,
                    max_files=limits.files,
                    max_fields=_MOST_FIELDS,
                    max_part_size=_LONGEST_FIELD,
                )
                return await parser.parse()
        except MultiPartException as error:
            status = (
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE if "Too many files" in error.message else HTTPStatus.BAD_REQUEST
            )
            raise HTTPException(status, f"the form cannot be read: {error.message}") from error
        except TimeoutError as error:
            words = f"the request did not arrive within {limits.receive_seconds:g} s"
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, words) from error

    async def _bounded(self) -> AsyncGenerator[bytes, None]:
        received = 0
        async with aclosing(self.stream()) as chunks:
            async for chunk in chunks:
                received += len(chunk)
                if received > self._limits.body_bytes:
                    raise _too_large(self._limits)
                yield chunk


async def read_files(files: Sequence[UploadFile]) -> list[ReceivedFile]:
    """Return the files of a form.

    Raises:
        HTTPException: If one of them is larger than an image may be.
    """
    received = []
    for file in files:
        if (file.size or 0) > MAX_BYTES:
            words = f"a file is larger than {MAX_BYTES // 1_000_000} MB: export a smaller field of view"
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
        received.append(ReceivedFile(file.filename or "", await file.read()))
    return received


def digest(path: str, fields: Sequence[str], files: Sequence[ReceivedFile]) -> str:
    """Return the digest of a request, which is the same when it is sent again."""
    parts = [path, *fields, *(text for file in files for text in (file.name, file.sha256))]
    return hashlib.sha256("\0".join(f"{len(part)}:{part}" for part in parts).encode(errors="replace")).hexdigest()


def _too_large(limits: RequestLimits) -> HTTPException:
    words = f"the request is larger than {limits.body_bytes // 1_000_000} MB: send fewer images at once"
    return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
