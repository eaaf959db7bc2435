"""The anchor of the audit trail: a file outside the database that records the newest event of every transaction.

Before a transaction commits, the events it adds are announced here ("saving"); afterwards they are confirmed
("saved"). Each line is on disk before the program continues.

What it proves: a change to the database without a matching change to this file is detected and located. A
confirmed event that is gone was cut off; an event that was never announced was not written by this program; an
event with another hash was rewritten, even if every later hash was recomputed.

What it does not prove: anyone who can write both the database and this file can make them agree again, because
the chain has no secret. To guard against that, regularly copy the file to a place they cannot write to, and pass
the copy to `python -m db audit verify --heads`. Nor does it prove that an event was true when it was written.
"""

import fcntl
import logging
import os
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from errno import ENOSPC
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import URL

from db.audit.chain import AddedEvents
from db.audit.kept_events import KeptEvents
from db.values.audit import Action, AuditFinding, Kind, TrailAction

State = Literal["begun", "saving", "saved"]

_SUFFIX = ".audit_heads"
_LONGEST_LINE = 4096  # bytes; far more than any line has
_HASH = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger("second_read.audit")

_WRITTEN_BY_UPGRADES = (Action.CHAINED, TrailAction.SEALED)


@dataclass(frozen=True, slots=True)
class AnchorLine:
    """One line of the file: which events were announced or confirmed, and when; "begun" covers all earlier events."""

    at: datetime
    state: State
    added: AddedEvents

    def __str__(self) -> str:
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        return f"{at} {self.state} {self.added.first} {self.added.last} {self.added.hash}"


class AnchorFile:
    """The anchor file of one database; all processes of an installation append to it, one whole line at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, head: AddedEvents) -> None:
        """Begin the file with the newest event of the chain, unless another process has begun it already."""
        self._append(
            AnchorLine(datetime.now(UTC), "begun", AddedEvents(min(1, head.last), head.last, head.hash)), first=True
        )

    @property
    def begun(self) -> bool:
        """Return whether the file exists and is not empty."""
        return self.path.exists() and self.path.stat().st_size > 0

    def announce(self, added: AddedEvents) -> None:
        """Record which events a transaction is about to add.

        Raises:
            OSError: If the line cannot be written; the transaction must then not commit.
        """
        self._append(AnchorLine(datetime.now(UTC), "saving", added))

    def confirm(self, added: AddedEvents) -> None:
        """Record that a transaction has committed; if that cannot be written, the announcement remains."""
        try:
            self._append(AnchorLine(datetime.now(UTC), "saved", added))
        except OSError as error:
            _log.error("the newest audit event could not be confirmed in %s: %s", self.path, error)

    def mend(self) -> None:
        """Remove a last line that was only half written, because power was lost or the disk was full."""
        if self.begun:
            with self._locked() as descriptor:
                self._remove_torn_line(descriptor)

    def lines(self, start: int = 0) -> list[AnchorLine | str]:
        """Read all lines from one on, oldest first; a line that this program did not write is returned as text.

        An unfinished last line is left out: power was lost while it was written, so nothing relied on it.
        """
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            # Invalid bytes must be reported as a foreign line, not stop the check.
            return [
                _parse(line[:-1].decode(errors="surrogateescape"))
                for line in islice(file, start, None)
                if line.endswith(b"\n")
            ]

    def _append(self, line: AnchorLine, *, first: bool = False) -> None:
        with self._locked() as descriptor:
            self._remove_torn_line(descriptor)
            size = os.fstat(descriptor).st_size
            if first and size:
                return
            words = f"{line}\n".encode()
            try:
                if os.write(descriptor, words) != len(words):
                    raise OSError(ENOSPC, f"the disk of {self.path} is full")
                os.fsync(descriptor)
            except OSError:
                # Nothing relies on it: the transaction does not commit, or its announcement remains.
                os.ftruncate(descriptor, size)
                raise

    @contextmanager
    def _locked(self) -> Iterator[int]:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _remove_torn_line(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        start = max(0, size - _LONGEST_LINE)
        tail = os.pread(descriptor, size - start, start)
        whole = start + tail.rfind(b"\n") + 1
        # Longer than any line of this program: somebody else wrote it, and it must be reported, not removed.
        if whole < size and (start == 0 or whole > start):
            os.ftruncate(descriptor, whole)
            _log.warning("removed the last line of %s, which was only half written", self.path)
        elif whole < size:
            os.write(descriptor, b"\n")


def anchor_for(url: URL, data: Path | None) -> AnchorFile | None:
    """Return the anchor file of a database: beside it for SQLite, in the data folder for PostgreSQL.

    None for PostgreSQL without a data folder: there is nowhere to keep one.
    """
    if url.get_backend_name() == "sqlite":
        return AnchorFile(Path(url.database or "").resolve().with_suffix(_SUFFIX))
    return AnchorFile(data / f"{url.database}{_SUFFIX}") if data else None


def lines_until(
    before: list[AnchorLine | str], meanwhile: Iterable[AnchorLine | str], last: int
) -> list[AnchorLine | str]:
    """Return the lines that belong to a copy of the database whose last event is `last`.

    `before` was read before the copy was made, and `meanwhile` are the lines added until it was: of these, only those
    up to its last event count.
    """
    return before + [line for line in meanwhile if isinstance(line, str) or line.added.last <= last]


def encode_lines(lines: Iterable[AnchorLine | str]) -> bytes:
    """Encode lines as they are in the file."""
    return "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape")


def _parse(text: str) -> AnchorLine | str:
    fields = text.split(" ")
    try:
        at, state, first, last, last_hash = fields
        added = AddedEvents(int(first), int(last), last_hash)
        if not _HASH.fullmatch(last_hash) or not 0 <= added.first <= added.last:
            return text
        return AnchorLine(datetime.fromisoformat(at), _state(state), added)
    except ValueError:
        return text


def _state(word: str) -> State:
    for state in get_args(State):
        if word == state:
            known: State = state
            return known
    raise ValueError(f"unknown state of an anchor line: {word!r}")


def find_anchor_mismatches(
    stored: KeptEvents, lines: Sequence[AnchorLine | str], *, complete: bool
) -> Iterator[AuditFinding]:
    """Find the events that differ from those that were announced and confirmed.

    Args:
        stored: The stored events.
        lines: Lines of the anchor file.
        complete: Whether the file is the one in use; an older copy cannot know the events after it.
    """
    anchored = [line for line in lines if isinstance(line, AnchorLine)]
    for number, line in enumerate(lines, 1):
        if isinstance(line, str):
            yield AuditFinding("unanchored", 0, 0, f"line {number} of the anchor file was not written by this program")
    if not anchored:
        yield AuditFinding(
            "unanchored", 0, 0, "the anchor file is missing or empty, so events cut off the end cannot be detected"
        )
        return
    yield from _check_beginnings(anchored, stored)
    yield from _merge_neighbours(_find_rewritten(anchored, stored))
    yield from _merge_neighbours(_find_unannounced(anchored, stored, complete=complete))


def _check_beginnings(lines: Sequence[AnchorLine], stored: KeptEvents) -> Iterator[AuditFinding]:
    """Check that the file begins with the first event, or with the last one that an upgrade wrote."""
    if lines[0].state != "begun":
        yield AuditFinding("unanchored", 0, 0, "the beginning of the anchor file is missing")
    for place, line in enumerate(lines):
        last = line.added.last
        if line.state == "begun" and (place > 0 or (last > 0 and stored.action_of(last) not in _WRITTEN_BY_UPGRADES)):
            words = (
                f"the anchor file was started again at {line.at:%Y-%m-%d %H:%M:%S} UTC; earlier events are not anchored"
            )
            yield AuditFinding("unanchored", min(1, last), last, words)


def _find_rewritten(lines: Sequence[AnchorLine], events: KeptEvents) -> Iterator[AuditFinding]:
    # Only of these can a line say something other than the database.
    doubtful = {line.added.last for line in lines if events.hash_of(line.added.last) != line.added.hash}
    announced: dict[int, set[str]] = defaultdict(set)
    confirmed: dict[int, set[str]] = defaultdict(set)
    first: dict[int, int] = {}
    for line in lines:
        if line.added.last not in doubtful:
            continue
        first.setdefault(line.added.last, line.added.first)
        announced[line.added.last].add(line.added.hash)
        if line.state != "saving" and line.added.last:
            confirmed[line.added.last].add(line.added.hash)
    covered = _covered_by_chain(lines, events, sorted(doubtful))
    for number in sorted(announced):
        stored = events.hash_of(number)
        expected = confirmed.get(number) or announced[number]
        if stored is None and number in confirmed:
            yield AuditFinding(
                "missing", first[number], number, "confirmed in the anchor file, but not in the database"
            )
        elif stored is not None and number not in confirmed and number in covered:
            continue
        elif stored is not None and (stored not in expected or len(confirmed[number]) > 1):
            yield AuditFinding("changed", first[number], number, "the anchor file has a different hash")


def _covered_by_chain(lines: Iterable[AnchorLine], events: KeptEvents, doubtful: Sequence[int]) -> set[int]:
    """Return the doubtful events before the last one of a transaction stored as announced: the chain vouches for them.

    A transaction that was killed may have announced one of them as its own last; the next one reused its numbers.
    """
    covered: set[int] = set()
    for line in lines:
        added = line.added
        if doubtful and events.hash_of(added.last) == added.hash:
            covered.update(doubtful[bisect_left(doubtful, added.first) : bisect_left(doubtful, added.last)])
    return covered


def _find_unannounced(lines: Iterable[AnchorLine], events: KeptEvents, *, complete: bool) -> Iterator[AuditFinding]:
    announced = _announced_runs(lines)
    ends = [end for _, end in announced]
    newest = max(ends, default=0)
    for number in events.numbers:
        place = bisect_left(ends, number)
        is_announced = place < len(ends) and announced[place][0] <= number
        if number > 0 and not is_announced and (complete or number < newest):
            yield AuditFinding("inserted", number, number, "not recorded in the anchor file")


def _announced_runs(lines: Iterable[AnchorLine]) -> list[tuple[int, int]]:
    """Return the first and last numbers of the runs of announced events, in order."""
    # Joined as they come, because nearly all follow the one before: few runs are left to sort.
    return list(_join(sorted(_join((line.added.first, line.added.last) for line in lines))))


def _join(runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join each run of numbers with the one before, if that touches it."""
    joined: tuple[int, int] | None = None
    for first, last in runs:
        if joined and joined[0] <= first <= joined[1] + 1:
            joined = joined[0], max(joined[1], last)
            continue
        if joined:
            yield joined
        joined = first, last
    if joined:
        yield joined


def _merge_neighbours(findings: Iterable[AuditFinding]) -> Iterator[AuditFinding]:
    """Report a run of neighbouring events as one finding."""
    kind: Kind | None = None
    first, last, words = 0, 0, ""
    for finding in findings:
        if finding.kind == kind and finding.first <= last + 1:
            last = max(last, finding.last)
            continue
        if kind:
            yield AuditFinding(kind, first, last, words)
        kind, first, last, words = finding.kind, finding.first, finding.last, finding.words
    if kind:
        yield AuditFinding(kind, first, last, words)
