"""One growing file of pixels that is filled once, mapped into memory, and survives a kill at any point."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import TypeAdapter, ValidationError

from core.results import RgbImage

Prepare = Callable[[Path, bytes], RgbImage]  # the pixels of a file, from its name and its bytes
Progress = Callable[[int, int], None]  # images ready, and images in all

_AT_ONCE = 32  # images written between two waits for the disk; a kill loses at most so many


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the index: a source file as it was when its pixels were made, and where they lie."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    offset: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.offset < 0 or min(self.height, self.width) < 1:
            raise ValueError(f"no pixels at {self.offset} of {self.width} x {self.height}")

    @property
    def end(self) -> int:
        """Byte of the pixel file after the last of this image."""
        return self.offset + self.height * self.width * 3

    def stands_for(self, source: "_Source") -> bool:
        """Say whether the source looks as it did, so that it need not be read again."""
        return (self.path, self.size, self.mtime_ns) == (str(source.path), source.size, source.mtime_ns)


@dataclass(frozen=True, slots=True)
class _Source:
    """A file on disk, as seen before it is read: a change in between is noticed the next time."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A source that was read, and its pixels unless its content has an entry already."""

    source: _Source
    sha256: str
    image: RgbImage


_ADAPTER = TypeAdapter(_Entry)
_NO_PIXELS: RgbImage = np.empty((0, 0, 3), dtype=np.uint8)


class PixelStore:
    """Images in one file, and beside it an index with a line for every source file.

    Pixels are on the disk before their line is written, and neither is ever changed, so a torn last line and
    pixels without a line are all that a kill can leave behind. Images are known by the sha256 of
    their file; a file of the same path, size and time of change is taken to be the same.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._pixels = folder / f"{name}.bin"
        self._index = folder / f"{name}.jsonl"
        self._guard = folder / f"{name}.lock"

    def fetch(self, paths: Sequence[Path], prepare: Prepare, progress: Progress) -> tuple[RgbImage, ...]:
        """Give read-only views of the images of files, making the pixels of those not seen before.

        A second process that asks meanwhile waits, and then finds them made.
        """
        self._pixels.parent.mkdir(parents=True, exist_ok=True)
        sources = [_Source(path, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in map(Path.absolute, paths)]
        with self._locked():
            known = _Known(self._read_index())
            new = list(dict.fromkeys(source for source in sources if not known.has(source)))
            ready = len(sources) - len(new)
            progress(ready, len(sources))
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders let go of the interpreter
                for start in range(0, len(new), _AT_ONCE):
                    batch = new[start : start + _AT_ONCE]
                    found = list(pool.map(lambda source: _find(source, known, prepare), batch))
                    self._append(found, known)
                    progress(ready + start + len(batch), len(sources))
        return self._views([known.by_path[str(source.path)] for source in sources])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._guard.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go of it when the process dies
            yield

    def _read_index(self) -> list[_Entry]:
        """Read the whole lines; cut off a torn last one, and all of them if pixels are gone."""
        data = self._index.read_bytes() if self._index.exists() else b""
        whole = data.rfind(b"\n") + 1
        entries = [entry for line in data[:whole].splitlines() if (entry := _parse(line))]
        length = self._pixels.stat().st_size if self._pixels.exists() else 0
        if any(entry.end > length for entry in entries):
            # Someone cut or removed the pixels. What is appended now would lie where these lines point.
            whole, entries = 0, []
        if whole < len(data):
            os.truncate(self._index, whole)
        return entries

    def _append(self, found: Sequence["_Found"], known: "_Known") -> None:
        entries = []
        # Always behind the end: what a kill left there without a line may be mapped by another process.
        with self._pixels.open("ab") as file:
            for one in found:
                entry = known.by_content.get(one.sha256)  # a copy of a file may lie in the same batch
                if entry is None:
                    entry = _Entry("", 0, 0, one.sha256, file.tell(), *one.image.shape[:2])
                    file.write(one.image.tobytes())
                source = one.source
                entries.append(replace(entry, path=str(source.path), size=source.size, mtime_ns=source.mtime_ns))
                known.add(entries[-1])
            _to_disk(file)
        with self._index.open("ab") as file:
            file.writelines(_ADAPTER.dump_json(entry) + b"\n" for entry in entries)
            _to_disk(file)

    def _views(self, entries: Sequence[_Entry]) -> tuple[RgbImage, ...]:
        if not entries:
            return ()
        pixels = np.asarray(np.memmap(self._pixels, dtype=np.uint8, mode="r"))
        return tuple(pixels[e.offset : e.end].reshape(e.height, e.width, 3) for e in entries)


class _Known:
    """The entries by their source's path, where the last one counts, and by content."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self.by_path = {entry.path: entry for entry in entries}
        self.by_content = {entry.sha256: entry for entry in entries}

    def has(self, source: _Source) -> bool:
        entry = self.by_path.get(str(source.path))
        return entry is not None and entry.stands_for(source)

    def add(self, entry: _Entry) -> None:
        self.by_path[entry.path] = entry
        self.by_content[entry.sha256] = entry


def _parse(line: bytes) -> _Entry | None:
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        return None  # a damaged line costs decoding its image again, no more


def _find(source: _Source, known: _Known, prepare: Prepare) -> _Found:
    data = source.path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return _Found(source, sha256, _NO_PIXELS if sha256 in known.by_content else prepare(source.path, data))


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
