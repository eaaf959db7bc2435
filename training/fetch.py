"""Fetches one large file over HTTP so that a broken connection or a killed process costs only what was not yet here."""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

Progress = Callable[[int, int | None], None]  # bytes here, and bytes of the whole file if the server says

_ATTEMPTS = 6  # without a single new byte, before giving up
_LONGEST_WAIT_SECONDS = 30.0
_TIMEOUT_SECONDS = 60.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class FetchError(Exception):
    """A file could not be fetched, or is not the one that was meant; the message says what to do."""


class _ChangedError(httpx.TransportError):
    """A server sent the rest of another file, although it was asked not to."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a partial file is a part of; a resumed answer must be a part of the same."""

    url: str
    validator: str  # the strong ETag, or the date of the last change; "" if the server gives neither
    total: int | None


def fetch(url: str, target: Path, sha256: str = "", progress: Progress = lambda done, total: None) -> Path:
    """Fetch a file to `target`, going on from a part of it that is already here.

    The part lies beside it as `NAME.part`. It is continued by a Range request with If-Range, so that a file changed on
    the server in between starts anew instead of being sewn together from two.

    Raises:
        FetchError: If the server refuses, the connection keeps breaking, or the sha256 is another.
    """
    if target.is_file():
        check_sha256(target, sha256)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client:
        _fetch_all(client, url, part, progress)
    check_sha256(part, sha256)
    part.replace(target)
    _notes(part).unlink(missing_ok=True)
    return target


def check_sha256(file: Path, sha256: str) -> None:
    """Compare a file with the checksum it should have; "" compares nothing.

    Raises:
        FetchError: If they differ; the file is left where it is.
    """
    if not sha256:
        return
    with file.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != sha256.lower():
        raise FetchError(
            f"{file} has sha256 {found}, not {sha256}: delete it and fetch it again from a source you trust"
        )


def _fetch_all(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """Ask until the file is whole; waits longer each time that no further byte came."""
    furthest, fruitless = _size(part), 0
    while True:
        try:
            return _fetch_more(client, url, part, progress)
        except httpx.TransportError as error:
            if isinstance(error, _ChangedError):
                _notes(part).unlink(missing_ok=True)  # without them the next attempt begins at the first byte
            fruitless = 0 if _size(part) > furthest else fruitless + 1
            furthest = max(furthest, _size(part))
            if fruitless >= _ATTEMPTS:
                kept = f"run the same command again to go on, {_size(part):,} bytes are kept"
                raise FetchError(f"{url}: {error or type(error).__name__}; {kept}") from error
            time.sleep(min(0.2 * 2.0**fruitless, _LONGEST_WAIT_SECONDS))
        except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise FetchError(f"{url} does not lead to a file: {error}") from error


def _fetch_more(client: httpx.Client, url: str, part: Path, progress: Progress) -> None:
    """Ask for what is missing and append it; returns when the file is whole."""
    origin = _read_origin(part, url)
    have = _size(part) if origin and origin.validator else 0
    if origin and have and have == origin.total:
        return  # killed between the last byte and the renaming
    headers = {"Accept-Encoding": "identity"}
    if origin and have:
        headers |= {"Range": f"bytes={have}-", "If-Range": origin.validator}
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            raise _ChangedError(f"{url} has become shorter than what is here of it")
        start = _start(answer, have, url)
        found = _origin(answer, url, origin if start else None)
        with part.open("r+b" if start else "wb") as file:
            # After the part is emptied: new notes beside old bytes would be trusted if the process died between.
            _notes(part).write_text(json.dumps(asdict(found)), encoding="utf-8")
            file.seek(start)
            progress(start, found.total)
            for piece in answer.iter_raw():
                file.write(piece)
                progress(file.tell(), found.total)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    if found.total is not None and _size(part) != found.total:
        raise httpx.ReadError(f"{_size(part):,} of {found.total:,} bytes came")


def _start(answer: httpx.Response, have: int, url: str) -> int:
    """Say at which byte the answer begins."""
    if answer.status_code == httpx.codes.OK:
        return 0
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status_code == httpx.codes.PARTIAL_CONTENT and have and match and int(match[1]) == have:
        return have
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise httpx.ReadError(f"the server answered {answer.status_code}")
    raise FetchError(
        f"{url}: the server answered {answer.status_code} {answer.reason_phrase}. If the address needs a login, "
        "fetch the archive in a browser and pass --archive FILE"
    )


def _origin(answer: httpx.Response, url: str, before: _Origin | None) -> _Origin:
    """Note what an answer is of; `before` is what the part here is of, if the answer goes on with it."""
    tag = answer.headers.get("ETag", "")
    # A weak tag ("W/...") promises the same meaning, not the same bytes; If-Range does not take it (RFC 9110, 13.1.5).
    validator = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
    if before is None:
        length = answer.headers.get("Content-Length", "")
        return _Origin(url, validator, int(length) if length.isdigit() else None)
    if validator.startswith('"') and before.validator.startswith('"') and validator != before.validator:
        raise _ChangedError(f"{url} has changed on the server")
    return before


def _read_origin(part: Path, url: str) -> _Origin | None:
    try:
        noted = json.loads(_notes(part).read_text(encoding="utf-8"))
        origin = _Origin(noted["url"], noted["validator"], noted["total"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return origin if origin.url == url else None


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0
