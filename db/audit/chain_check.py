"""Follow the hash chain event by event, and report where it is broken."""

from array import array
from dataclasses import dataclass

from db.audit.chain import GENESIS, Link
from db.audit.kept_events import KeptEvents
from db.values.audit import AuditFinding


@dataclass(frozen=True, slots=True)
class CheckedEvent:
    """One event as stored: its fields, its stored hash, and the hash computed from its fields."""

    link: Link
    hash: str
    computed: str

    @property
    def agrees(self) -> bool:
        """Return whether the stored hash matches the fields."""
        return self.hash == self.computed

    @property
    def number(self) -> int:
        """The event's number."""
        return self.link.number


class ChainCheck:
    """Follows the chain from its beginning; add every event in the order of their numbers.

    An event that follows one further back shows that the events in between do not belong to the chain. If it
    follows no stored event, a gap in the numbers means that events are missing; otherwise one of the two was changed.
    """

    def __init__(self) -> None:
        self.events = KeptEvents()
        self._last: CheckedEvent | None = None
        self._computed: dict[int, str] = {}  # of the events whose stored hash is another, by their places
        # Of the event with this hash, among those already checked; made when an event first does not follow the last.
        self._places: dict[str, int] | None = None
        self._findings: list[AuditFinding] = []
        self._broken: list[tuple[int, AuditFinding]] = []  # the place of the event that follows nothing

    def add(self, event: CheckedEvent) -> None:
        """Check the event after the last one."""
        here = len(self.events)
        if not event.agrees:
            words = "its hash does not match its contents"
            self._findings.append(AuditFinding("changed", max(0, event.number), max(0, event.number), words))
            self._computed[here] = event.computed
        origin = self._origin(event.link.previous_hash)
        if origin is not None and origin < here - 1:
            self._findings.append(_inserted(self.events.numbers[origin + 1 : here]))
            self._broken = [(at, finding) for at, finding in self._broken if not origin < at < here]
        elif origin is None and (finding := _break(self._last, event)):
            self._broken.append((here, finding))
        self.events.add(event.number, event.hash, event.link.action)
        if self._places is not None:
            self._places[event.hash] = self._places[event.computed] = here
        self._last = event

    def findings(self) -> list[AuditFinding]:
        """Return what was found, in the order of the events."""
        found = [*self._findings, *(finding for _, finding in self._broken)]
        return sorted(found, key=lambda finding: (finding.first, finding.last))

    def _origin(self, previous_hash: str) -> int | None:
        """Return the place of the last event with this hash, -1 for the beginning; None if there is none."""
        last = self._last
        if last is None:
            return -1 if previous_hash == GENESIS else None
        if previous_hash in (last.hash, last.computed):
            return len(self.events) - 1
        if self._places is None:
            self._places = self._find_places()
        return self._places.get(previous_hash)

    def _find_places(self) -> dict[str, int]:
        places = {GENESIS: -1}
        for place in range(len(self.events)):
            places[self.events.hashes[place]] = place
            if place in self._computed:
                places[self._computed[place]] = place
        return places


def _break(before: CheckedEvent | None, event: CheckedEvent) -> AuditFinding | None:
    last = before.number if before else 0
    if event.number > last + 1:
        return AuditFinding(
            "missing", last + 1, event.number - 1, "the next event does not continue from what is before the gap"
        )
    if not event.agrees or (before and not before.agrees):
        return None  # reported already
    if before is None or last < 1:
        return AuditFinding("changed", max(0, event.number), max(0, event.number), "it does not begin the chain")
    return AuditFinding(
        "changed", last, event.number, "one of the two was changed: the second does not follow the first"
    )


def _inserted(numbers: "array[int]") -> AuditFinding:
    stored_as = f" (stored as number {numbers[0]})" if numbers[0] < 1 else ""
    words = f"not part of the chain: the next event continues from an earlier one{stored_as}"
    return AuditFinding("inserted", max(0, min(numbers)), max(0, *numbers), words)
