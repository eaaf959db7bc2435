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
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import URL

from db.audit.chain import Added
from db.values.audit import Finding, Kind, TrailAction
from db.values.reading import Action

State = Literal["begun", "saving", "saved"]

_SUFFIX = ".audit_heads"
_HASH = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger("second_read.audit")

_WRITTEN_BY_UPGRADES = (Action.CHAINED, TrailAction.SEALED)


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


def anchor_findings(
    hashes: Mapping[int, str], actions: Mapping[int, str], lines: Sequence[HeadLine | str], *, complete: bool
) -> Iterator[Finding]:
    """Say where events are not those that were announced and confirmed.

    Args:
        hashes: Of the stored events, by their number.
        actions: Likewise.
        lines: Of the file of heads.
        complete: Whether the file is the one in use; an older copy cannot know the events after it.
    """
    heads = [line for line in lines if isinstance(line, HeadLine)]
    for number, line in enumerate(lines, 1):
        if isinstance(line, str):
            yield Finding("unanchored", 0, 0, f"line {number} of the file of heads is none that the program writes")
    if not heads:
        yield Finding(
            "unanchored", 0, 0, "the file of heads is missing or empty, so a cut of the end could not be seen"
        )
        return
    yield from _beginnings(heads, actions)
    yield from _merged(_rewritten(heads, hashes))
    yield from _merged(_unannounced(heads, hashes, complete=complete))


def _beginnings(heads: Sequence[HeadLine], actions: Mapping[int, str]) -> Iterator[Finding]:
    """Ask that the file began with the first event, or with the last of those that an upgrade wrote."""
    if heads[0].state != "begun":
        yield Finding("unanchored", 0, 0, "the beginning of the file of heads is missing")
    for place, line in enumerate(heads):
        last = line.added.last
        if line.state == "begun" and (place > 0 or (last > 0 and actions.get(last) not in _WRITTEN_BY_UPGRADES)):
            words = f"the file of heads was begun anew on {line.at:%Y-%m-%d %H:%M:%S} UTC; before, nothing is anchored"
            yield Finding("unanchored", min(1, last), last, words)


def _rewritten(heads: Sequence[HeadLine], hashes: Mapping[int, str]) -> Iterator[Finding]:
    announced: dict[int, set[str]] = defaultdict(set)
    confirmed: dict[int, set[str]] = defaultdict(set)
    first: dict[int, int] = {}
    for line in heads:
        first.setdefault(line.added.last, line.added.first)
        announced[line.added.last].add(line.added.hash)
        if line.state != "saving" and line.added.last:
            confirmed[line.added.last].add(line.added.hash)
    held = _held(heads, hashes)
    for number in sorted(announced):
        stored = hashes.get(number)
        wanted = confirmed.get(number) or announced[number]
        if stored is None and number in confirmed:
            yield Finding("missing", first[number], number, "confirmed in the file of heads, and not in the database")
        elif stored is not None and number not in confirmed and number in held:
            continue
        elif stored is not None and (stored not in wanted or len(confirmed[number]) > 1):
            yield Finding("changed", first[number], number, "the file of heads confirms another hash")


def _held(heads: Iterable[HeadLine], hashes: Mapping[int, str]) -> set[int]:
    """Give the numbers before the end of a click that is stored as it was announced: the chain holds those.

    A click that a kill cut off may have announced one of them as its own last; the next one took its numbers.
    """
    found: set[int] = set()
    for line in heads:
        if hashes.get(line.added.last) == line.added.hash:
            found.update(range(line.added.first, line.added.last))
    return found


def _unannounced(heads: Iterable[HeadLine], hashes: Mapping[int, str], *, complete: bool) -> Iterator[Finding]:
    announced: set[int] = set()
    for line in heads:
        announced.update(range(line.added.first, line.added.last + 1))
    known = max(announced, default=0)
    for number in sorted(hashes):
        if number > 0 and number not in announced and (complete or number < known):
            yield Finding("inserted", number, number, "never announced in the file of heads")


def _merged(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Tell a run of neighbouring events once."""
    kind: Kind | None = None
    first, last, words = 0, 0, ""
    for finding in findings:
        if finding.kind == kind and finding.first <= last + 1:
            last = max(last, finding.last)
            continue
        if kind:
            yield Finding(kind, first, last, words)
        kind, first, last, words = finding.kind, finding.first, finding.last, finding.words
    if kind:
        yield Finding(kind, first, last, words)
