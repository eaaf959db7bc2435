"""What a verification keeps of the events: a few bytes of each, so that very many fit into the memory."""

import re
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from db.values.audit import SHA256, Seal

_HASH_BYTES = 32
_KEY_BITS = 48  # of the number of a row; the bits above tell its table
_ABSENT = -1
_PLAIN_NUMBER = re.compile("0|[1-9][0-9]*")


class Hashes:
    """Hashes in 32 bytes each, in the order in which they were added; a text that is no hash is kept as it is."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self._odd: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._raw) // _HASH_BYTES

    def __getitem__(self, place: int) -> str:
        odd = self._odd.get(place)
        return self._raw[place * _HASH_BYTES : (place + 1) * _HASH_BYTES].hex() if odd is None else odd

    def append(self, text: str) -> None:
        """Add a hash."""
        if SHA256.fullmatch(text):
            self._raw += bytes.fromhex(text)
        else:
            self._odd[len(self)] = text
            self._raw += bytes(_HASH_BYTES)


class KeptEvents:
    """The numbers, hashes and actions of events, added in the order of their numbers."""

    def __init__(self) -> None:
        self.numbers = array("q")
        self.hashes = Hashes()
        self._actions: list[str] = []

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, number: int, stored_hash: str, action: str) -> None:
        """Add the event after the last one."""
        self.numbers.append(number)
        self.hashes.append(stored_hash)
        self._actions.append(sys.intern(action))

    def hash_of(self, number: int) -> str | None:
        """Return the stored hash of an event; None if it is not stored."""
        place = self._find(number)
        return None if place == _ABSENT else self.hashes[place]

    def action_of(self, number: int) -> str | None:
        """Return the action of an event; None if it is not stored."""
        place = self._find(number)
        return None if place == _ABSENT else self._actions[place]

    def _find(self, number: int) -> int:
        place = bisect_left(self.numbers, number)
        return place if place < len(self.numbers) and self.numbers[place] == number else _ABSENT


@dataclass(frozen=True, slots=True)
class EventSeal:
    """The seal of a row, and the number of the event that holds it."""

    seal: Seal
    event: int


class KeptSeals:
    """The seals that the events hold: added oldest first, then taken row by row.

    Those of rows of `tables` whose key is a number take few bytes each.
    """

    def __init__(self, tables: Iterable[str]) -> None:
        self._tables = {table: number for number, table in enumerate(tables)}
        self._rows, self._events, self._hashes = array("q"), array("q"), Hashes()
        self._odd: dict[str, list[EventSeal]] = {}  # of all other rows
        self._order: NDArray[np.intp] = np.array([], np.intp)
        self._ordered: NDArray[np.int64] = np.array([], np.int64)
        self._taken = bytearray()

    def add(self, seal: Seal, event: int) -> None:
        """Add the seal that an event holds."""
        row = self._number(seal.of)
        if row is None:
            self._odd.setdefault(seal.of, []).append(EventSeal(seal, event))
            return
        self._rows.append(row)
        self._events.append(event)
        self._hashes.append(seal.sha256)

    def order(self) -> None:
        """Bring those of a row together, after the last was added."""
        rows = np.array(self._rows, np.int64)
        self._order = np.argsort(rows, kind="stable")
        self._ordered = rows[self._order]
        self._taken = bytearray(len(rows))

    def take(self, of: str) -> Sequence[EventSeal]:
        """Return the seals of a row, oldest first, once."""
        row = self._number(of)
        if row is None:
            return self._odd.pop(of, [])
        first, end = np.searchsorted(self._ordered, (row, row + 1))
        places = [int(place) for place in self._order[first:end] if not self._taken[place]]
        for place in places:
            self._taken[place] = True
        return [EventSeal(Seal(of, self._hashes[place]), self._events[place]) for place in places]

    def take_rest(self) -> Iterator[tuple[str, Sequence[EventSeal]]]:
        """Yield the rows whose seals were not taken, and these, in the order of their first events."""
        rest: dict[str, Sequence[EventSeal]] = dict(self._odd)
        names = list(self._tables)
        for place, taken in enumerate(self._taken):
            if not taken:
                table, number = divmod(self._rows[place], 1 << _KEY_BITS)
                of = f"{names[table]} {number}"
                rest[of] = self.take(of)
        yield from sorted(rest.items(), key=lambda one: one[1][0].event)

    def _number(self, of: str) -> int | None:
        """Return a number that stands for a row; None if it is of another table, or its key is no plain number."""
        table, _, key = of.partition(" ")
        if table not in self._tables or not _PLAIN_NUMBER.fullmatch(key) or int(key) >> _KEY_BITS:
            return None
        return (self._tables[table] << _KEY_BITS) + int(key)
