from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from core.list_on_disk import ListOnDisk


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Kept:
    """A value that counts how many of its kind are alive."""

    number: int
    words: str
    at: datetime
    inner: "Kept | None" = None
    alive: ClassVar[int] = 0
    most: ClassVar[int] = 0

    def __post_init__(self) -> None:
        Kept.alive += 1
        Kept.most = max(Kept.most, Kept.alive)

    def __del__(self) -> None:
        Kept.alive -= 1


def _kept(number: int) -> Kept:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Kept(number, "a long text " * 400, at, Kept(-number, "", at))


def test_a_list_on_the_disk_gives_back_what_it_was_given_and_keeps_none_of_it() -> None:
    numbers = ListOnDisk(_kept(number) for number in range(500))  # twice as much as stays in memory
    assert len(numbers) == 500
    assert [one.number for one in numbers] == list(range(500))
    assert numbers[123] == _kept(123)
    assert [one.number for one in (numbers[-1], numbers[7], *numbers[3:9:2])] == [499, 7, 3, 5, 7]
    with pytest.raises(IndexError):
        numbers[500]
    assert Kept.most <= 20
    assert not ListOnDisk(())


def test_a_list_on_the_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    words = ListOnDisk("a word" * 100_000 for _ in range(5))
    assert list(tmp_path.iterdir()) == []
    file = words._file
    del words
    assert file.closed
