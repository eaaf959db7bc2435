"""Damaged and malicious files: no crash, no hang, no error but ours, bounded memory."""

import io
import json
import queue
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from tests.helpers.images.odd_modes import ODD_MODES, saved, smooth_colours, tiff
from tests.helpers.images.odd_tiffs import TILE_COUNTS, TILE_OFFSETS, odd_tiffs, with_numbers

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 5.0  # of processor time for one file; the watchdog allows for a busy machine
_MEGABYTES = 1000.0
_MUTANTS = 1_000


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
    whole = [*(make()[0] for make in ODD_MODES.values()), *odd_tiffs()]
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


def flat_png(width: int, height: int) -> bytes:
    """Return a PNG of one colour, about as small as a PNG of its size can be."""
    return saved(Image.new("RGB", (width, height), "pink"), "PNG", compress_level=9)


def test_a_small_file_cannot_cost_the_work_of_a_large_one() -> None:
    """The work is bounded for each byte of the file, beyond what any camera field takes."""
    assert decode_image(flat_png(2048, 1536)).pixels.shape == (1536, 2048, 3)
    wide = smooth_colours().repeat(60, axis=0).repeat(60, axis=1)
    bombs = [
        flat_png(8000, 8000),
        saved(Image.new("L", (10_000, 9_900), 128), "JPEG"),
        saved(Image.new("RGB", (6000, 6000), "pink"), "WEBP", lossless=True),
        tiff(np.full_like(wide, 200), photometric="rgb", compression="zstd"),
        shared_tile_tiff(),
    ]
    for bomb in bombs:
        with pytest.raises(UnreadableImageError, match="more than 200 times its size"):
            decode_image(bomb)
    assert decode_image(bombs[0], stored=True).pixels.shape == (8000, 8000, 3)


def test_pages_that_share_their_values_cost_no_more_than_pages(tmp_path: Path) -> None:
    pages, numbers = 990, 200_000
    size = 2 + 12 * 3 + 4
    values = 8 + pages * size
    data = bytearray(b"II*\0" + (8).to_bytes(4, "little"))
    for page in range(1, pages + 1):
        entries = b"".join(struct.pack("<HHII", tag, 4, numbers, values) for tag in (256, 257, 330))
        data += struct.pack("<H", 3) + entries + struct.pack("<I", 8 + page * size if page < pages else 0)
    file = tmp_path / "pages.tif"
    file.write_bytes(data + struct.pack("<I", 64) * numbers)
    assert judge([file]) == {"refused": 1}


def shared_tile_tiff() -> bytes:
    """Return a TIFF of 16 megapixels all of whose tiles lie at one place in the file."""
    tile = np.random.default_rng(1).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    data = tiff(tile, photometric="rgb", compression="jpeg", tile=(256, 256))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place, size = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
    for tag, value in ((TILE_OFFSETS, place), (TILE_COUNTS, size)):
        data += b"\0" * (len(data) % 2) + b"".join([value.to_bytes(4, "little")] * 256)
        at = data.index(tag.to_bytes(2, "little"), 8)
        entry = (
            tag.to_bytes(2, "little") + b"\4\0" + (256).to_bytes(4, "little") + (len(data) - 1024).to_bytes(4, "little")
        )
        data = data[:at] + entry + data[at + 12 :]
    for tag in (256, 257):
        data = with_numbers(data, tag, lambda _: [4096])
    return data
