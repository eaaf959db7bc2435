"""Compares the audit trail with its anchor outside the database."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from db.audit_heads import HeadLine
from db.audit_values import Finding, Kind, TrailAction
from db.values import Action

_WRITTEN_BY_UPGRADES = (Action.CHAINED, TrailAction.SEALED)


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
