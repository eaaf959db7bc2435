"""The images of a run, decoded once: stain-normalised, scaled, in memory or mapped from a file.

The file grows as it is filled, and a kill at any point leaves it valid."""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import imagecodecs
import numpy as np
import PIL
from pydantic import TypeAdapter, ValidationError

from core.card import InputPolicy, StainTarget
from core.data.datasets import LabelledImage
from core.fitting.config import FitConfig
from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from core.imaging.stain import stain_normaliser
from core.results import RgbImage

Prepare = Callable[[Path, bytes], RgbImage]  # the pixels of a file, from its name and its bytes
Progress = Callable[[int, int], None]  # images ready, and images in all

_AT_ONCE = 32  # images written between two waits for the disk; a kill loses at most so many

_FORMAT = 1  # raised when decoding, stain normalisation or scaling changes what is kept
# Another version of these may round another way.
_PIXEL_PACKAGES = (cv2.__version__, imagecodecs.__version__, PIL.__version__)


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


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Images ready to be cut, and the input policy in their pixels; the arrays cannot be written to."""

    images: Sequence[RgbImage]
    policy: InputPolicy


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What is done to an image before it is kept; a patch, or the whole image when squeezed, gets `side` px."""

    stain: StainTarget | None
    scaling: Literal["none", "squeezed", "shrunk"]
    side: int = 0
    patch_side: int = 0

    @property
    def name(self) -> str:
        """Name of the file that holds images made this way."""
        whole = json.dumps([_FORMAT, asdict(self), _PIXEL_PACKAGES])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def prepare(self, path: Path, data: bytes) -> RgbImage:
        """Decode a file's bytes and bring stain and size to what is kept.

        Raises:
            UnreadableImageError: If the bytes cannot be read; the message names the file.
        """
        try:
            pixels = decode_image(data).pixels
        except UnreadableImageError as error:
            raise UnreadableImageError(f"{path}: {error}") from error
        image = self._scaled(stain_normaliser(self.stain)(pixels))
        image.flags.writeable = False
        return image

    def _scaled(self, image: RgbImage) -> RgbImage:
        height, width = image.shape[:2]
        if self.scaling == "squeezed":  # never enlarged: that would cost bytes and add nothing
            size = (min(self.side, width), min(self.side, height))
        elif self.scaling == "shrunk":
            size = (round(width * self.side / self.patch_side), round(height * self.side / self.patch_side))
        else:
            return image
        if size == (width, height):
            return image
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(image.dtype, copy=False)


def open_pixels(
    images: Sequence[LabelledImage],
    config: FitConfig,
    folder: Path | None,
    progress: Progress = lambda ready, total: None,
) -> Pixels:
    """Give the pixels of images as a run wants them: decoded and stain-normalised as in serving, and scaled.

    A patch, or under `resize` the whole image, has `cache_side` px, or its own size if that is smaller.
    Without a folder they are arrays in memory. In a folder each is made once, ever, and mapped: read from disk as
    it is drawn, and given back by the system when memory runs short. Several processes may share it.

    Raises:
        UnreadableImageError: If a file cannot be read; the message names it.
        ValueError: If patches would be kept smaller than the network wants them.
    """
    recipe, policy = _recipe(config)
    if folder is not None:
        store = PixelStore(folder, recipe.name)
        return Pixels(store.fetch([image.path for image in images], recipe.prepare, progress), policy)
    made = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for pixels in pool.map(lambda image: recipe.prepare(image.path, image.path.read_bytes()), images):
            made.append(pixels)
            progress(len(made), len(images))
    return Pixels(tuple(made), policy)


def _recipe(config: FitConfig) -> tuple[_Recipe, InputPolicy]:
    """Say what is done to each image, and give the input policy in pixels of the outcome."""
    policy, side = config.input_policy, config.cache_side
    if not side:
        return _Recipe(config.stain, "none"), policy
    if side < policy.input_side:
        raise ValueError(
            f"cache_side {side} is smaller than the input side {policy.input_side}: "
            "the network would see enlarged images; make it at least as large, or 0 for the full size"
        )
    if policy.kind == "resize":
        return _Recipe(config.stain, "squeezed", side), policy
    if side >= policy.patch_side:
        return _Recipe(config.stain, "none"), policy
    stride = max(1, round(policy.stride * side / policy.patch_side))
    return _Recipe(config.stain, "shrunk", side, policy.patch_side), replace(policy, patch_side=side, stride=stride)
