"""Damaged and malicious files: no crash, no hang, no error but ours, bounded memory."""

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.images.odd_modes import ODD_MODES

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 5.0  # of processor time for one file; the watchdog allows for a busy machine
_MEGABYTES = 1000.0
_MUTANTS = 600


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one file went in the child process."""

    word: str
    seconds: float
    megabytes: float


class Child:
    """One process that decodes file after file, watched from outside."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.hostile.decode_in_a_child"]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def decode(self, file: Path) -> Outcome:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{file}\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=12 * _SECONDS)
        except queue.Empty:
            self.close()
            return Outcome("hangs", float("inf"), 0)
        if not line:
            return Outcome(f"the process died with {self._process.wait()}", 0, 0)
        return Outcome(*json.loads(line))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def judge(files: list[Path]) -> Counter[str]:
    """Decode all files in a child and fail with the names of those that did anything but decode or be refused."""
    child, faults, words = Child(), [], Counter[str]()
    try:
        for file in files:
            outcome = child.decode(file)
            words[outcome.word] += 1
            if outcome.word not in ("accepted", "refused"):
                faults.append(f"{file}: {outcome.word}")
                child.close()
                child = Child()
            elif outcome.seconds > _SECONDS or outcome.megabytes > _MEGABYTES:
                faults.append(f"{file}: {outcome.seconds:.1f} s, {outcome.megabytes:.0f} MB")
    finally:
        child.close()
    assert not faults, "\n".join(faults)
    return words


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Cut, flip, edit and splice files of known pixels."""
    random = np.random.default_rng(seed)
    whole = [make()[0] for make in ODD_MODES.values()]
    for number in range(count):
        data = bytearray(whole[random.integers(len(whole))])
        kind = number % 4
        if kind == 0:
            del data[int(random.integers(len(data))) :]
        elif kind == 1:
            for at in random.integers(len(data), size=random.integers(1, 30)):
                data[at] ^= 1 << int(random.integers(8))
        elif kind == 2:
            _edit_header(data, random)
        else:
            other = whole[random.integers(len(whole))]
            data[int(random.integers(len(data))) :] = other[int(random.integers(len(other))) :]
        yield bytes(data)


def _edit_header(data: bytearray, random: np.random.Generator) -> None:
    """Write extreme numbers where sizes, counts and offsets stand: at either end of the file."""
    for _ in range(int(random.integers(1, 6))):
        at = int(random.integers(min(200, len(data) - 4)))
        if random.random() < 0.4:
            at = max(0, len(data) - 5 - at)
        extreme = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\x27\x10", b"\x10\x27\0\0"]
        data[at : at + 4] = extreme[random.integers(len(extreme))]


@pytest.mark.slow
@pytest.mark.data
def test_no_file_of_the_hostile_collection_does_harm(shared_data: Path) -> None:
    folder = shared_data / "hostile_images"
    if not folder.is_dir():
        pytest.skip(f"no hostile images at {folder}")
    words = judge(sorted(file for file in folder.rglob("*") if file.is_file()))
    assert words["accepted"] > 0
    assert words["refused"] > 0


@pytest.mark.slow
def test_no_mutant_does_harm(tmp_path: Path) -> None:
    files = []
    for number, data in enumerate(mutants(_MUTANTS, seed=20)):
        files.append(tmp_path / f"mutant_{number:03d}")
        files[-1].write_bytes(data)
    words = judge(files)
    assert words["refused"] > _MUTANTS // 3
