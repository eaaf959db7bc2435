"""A list that is too long for the memory."""

import io
import pickle
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from tempfile import SpooledTemporaryFile
from typing import TypeVar, overload
from weakref import finalize

T = TypeVar("T")

_IN_MEMORY = 1_000_000  # bytes; the rest is on the disk


class ListOnDisk(Sequence[T]):
    """A long list in a temporary file without a name; only the values in use are in memory. For one thread."""

    def __init__(self, values: Iterable[T]) -> None:
        file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - open as long as the list is
        finalize(self, file.close)
        self._file = file
        self._ends = array("q", [0])
        self._last: tuple[int, T] | None = None  # the place and value that were read last
        for value in values:
            written = io.BytesIO()
            _Pickler(written, pickle.HIGHEST_PROTOCOL).dump(value)
            file.write(written.getbuffer())
            self._ends.append(self._ends[-1] + written.tell())

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self[one] for one in range(len(self))[place]]
        place = range(len(self))[place]
        if self._last is None or self._last[0] != place:
            start, end = self._ends[place], self._ends[place + 1]
            self._file.seek(start)
            # Nobody but this process can write to the file.
            self._last = place, pickle.loads(self._file.read(end - start))  # noqa: S301
        return self._last[1]


class _Pickler(pickle.Pickler):
    """Writes a frozen dataclass as its fields, from which it is made anew in half the time of its state."""

    def reducer_override(self, value: object) -> tuple[type[object], tuple[object, ...]]:
        """Return how a value is made anew; of anything but a dataclass, what stands for the usual way."""
        if is_dataclass(value) and not isinstance(value, type):
            return type(value), tuple(getattr(value, name) for name in _field_names(type(value)))
        usual: tuple[type[object], tuple[object, ...]] = NotImplemented
        return usual


@cache
def _field_names(kind: type[object]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()
