"""The anchor of the audit trail: a file outside the database, to which the head of the chain is added at every click.

Before a click is saved, the events it adds are announced here ("saving"); afterwards they are confirmed
("saved"). Each line is on the disk before anything goes on.

What it proves: whoever changed the database but not this file is found, and where. An event that was
confirmed and is gone was cut off; one that was never announced did not come through this program; one with
another hash was rewritten, even if every hash after it was computed anew.

What it does not prove: whoever may write both the database and this file can make them agree again, as the
chain has no secret. Against them, copy the file now and then to where they cannot write, and give the copy
to `python -m db audit verify --heads`. Nor does it say that what an event tells was true when it was written.
"""

import fcntl
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import URL

from db.audit_chain import Added

State = Literal["begun", "saving", "saved"]

_SUFFIX = ".audit_heads"
_HASH = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger("second_read.audit")


@dataclass(frozen=True, slots=True)
class HeadLine:
    """One line of the file: what was announced or confirmed, and when; "begun" names all that was there before."""

    at: datetime
    state: State
    added: Added

    def __str__(self) -> str:
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        return f"{at} {self.state} {self.added.first} {self.added.last} {self.added.hash}"


class Heads:
    """The file of heads of one database; written by all processes of an installation, each line whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, head: Added) -> None:
        """Begin the file with the head of the chain as it is now, unless somebody has begun it already."""
        self._append(HeadLine(datetime.now(UTC), "begun", Added(min(1, head.last), head.last, head.hash)), first=True)

    @property
    def begun(self) -> bool:
        """Say whether there is a file with something in it."""
        return self.path.exists() and self.path.stat().st_size > 0

    def announce(self, added: Added) -> None:
        """Say what a click is about to add.

        Raises:
            OSError: If it cannot be written; the click must then not be saved.
        """
        self._append(HeadLine(datetime.now(UTC), "saving", added))

    def confirm(self, added: Added) -> None:
        """Say that a click has been saved; if that cannot be written, the announcement has to do."""
        try:
            self._append(HeadLine(datetime.now(UTC), "saved", added))
        except OSError as error:
            _log.error("the head of the audit trail cannot be confirmed in %s: %s", self.path, error)

    def lines(self) -> list[HeadLine | str]:
        """Read all lines, oldest first; one that is not ours comes as it is.

        A last line without its end is left out: power was lost while it was written, so nobody relied on it.
        """
        if not self.path.exists():
            return []
        return [_parsed(line) for line in _text(self.path).split("\n")[:-1]]

    def _append(self, line: HeadLine, *, first: bool = False) -> None:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            size = os.fstat(descriptor).st_size
            if first and size:
                return
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            words = ("\n" if torn else "") + str(line) + "\n"
            if os.write(descriptor, words.encode()) != len(words):
                raise OSError(f"the disk of {self.path} is full")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def heads_of(url: URL, data: Path | None) -> Heads | None:
    """Give the file of heads of a database: beside it for SQLite, in the data folder for PostgreSQL.

    None where there is no place for one: PostgreSQL, and no data folder named.
    """
    if url.get_backend_name() == "sqlite":
        return Heads(Path(url.database or "").resolve().with_suffix(_SUFFIX))
    return Heads(data / f"{url.database}{_SUFFIX}") if data else None


def until(before: list[HeadLine | str], after: list[HeadLine | str], last: int) -> list[HeadLine | str]:
    """Give the lines that belong to a copy of the database which ends with event `last`.

    `before` and `after` were read on either side of making the copy: of what came meanwhile, only the lines
    up to its last event count.
    """
    meanwhile = after[len(before) :]
    return before + [line for line in meanwhile if isinstance(line, str) or line.added.last <= last]


def as_bytes(lines: Iterable[HeadLine | str]) -> bytes:
    """Write lines as they stand in the file."""
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def _text(path: Path) -> str:
    # Strange bytes are to be reported as a strange line, not to stop the reading.
    return path.read_bytes().decode(errors="surrogateescape")


def _parsed(line: str) -> HeadLine | str:
    words = line.split(" ")
    try:
        at, state, first, last, last_hash = words
        added = Added(int(first), int(last), last_hash)
        if not _HASH.fullmatch(last_hash) or not 0 <= added.first <= added.last:
            return line
        return HeadLine(datetime.fromisoformat(at), _state(state), added)
    except ValueError:
        return line


def _state(word: str) -> State:
    for state in get_args(State):
        if word == state:
            found: State = state
            return found
    raise ValueError(f"no state of a line: {word!r}")
