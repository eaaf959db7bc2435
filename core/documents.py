"""Files that are written whole or not at all, and words for what is wrong with one that was read."""

import os
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and on the disk when this returns; its folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_document(kind: TypeAdapter[T], text: str | bytes, what: str) -> T:
    """Read a JSON document.

    Raises:
        ValueError: If it is not what it should be, such as "an evaluation"; the message names the first wrong place.
    """
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"not {what}: {first_problem(error, 'the text')}") from error


def first_problem(error: ValidationError, whole: str) -> str:
    """Say where a document is wrong first, and what is wrong there; `whole` names a document wrong as a whole."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or whole
    return f"{where}: {first['msg']}"
