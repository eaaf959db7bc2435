"""The images of a run, decoded once: stain-normalised, scaled, in memory or mapped from a file.

The file grows as images are added, and remains valid if the process is killed at any point.
"""

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
from core.imaging.stain import make_stain_normaliser
from core.imaging.working_scale import resample
from core.results import RgbImage

Prepare = Callable[["Wanted", bytes], RgbImage]  # returns the pixels of a file from its bytes
Progress = Callable[[int, int], None]  # images ready, total images
_Content = tuple[str, float]  # the sha256 of a file and how many times larger its image was made

_AT_ONCE = 32  # images written between two waits for the disk; a killed run loses at most as many
_FORMAT = 1  # to be increased when decoding, stain normalisation or scaling changes
# Other versions of these packages may round differently.
_PIXEL_PACKAGES = (cv2.__version__, imagecodecs.__version__, PIL.__version__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file whose pixels are wanted, at the working scale: its image made `factor` times larger."""

    path: Path
    factor: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Images ready to be cut, as read-only arrays, and the input policy in their pixels."""

    images: Sequence[RgbImage]
    policy: InputPolicy


def open_pixels(
    images: Sequence[LabelledImage],
    config: FitConfig,
    folder: Path | None,
    progress: Progress = lambda ready, total: None,
) -> Pixels:
    """Return the pixels of images as a run needs them: at the working scale and stain-normalised as in prediction.

    A patch, or under `resize` the whole image, has `cache_side` px, or its own size if that is smaller. Without a
    folder the images are arrays in memory. In a folder each image is prepared only once and mapped: it is read from
    disk when used and released by the system when memory runs short. Several processes may share the folder.

    Raises:
        UnreadableImageError: If a file cannot be read; the message names it.
        ValueError: If cached patches would be smaller than the input of the network.
    """
    recipe, policy = _plan_recipe(config)
    wanted = [Wanted(image.path, config.factor_of(image.um_per_px)) for image in images]
    if folder is not None:
        return Pixels(PixelStore(folder, recipe.name).fetch(wanted, recipe.prepare, progress), policy)
    prepared = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for pixels in pool.map(lambda one: recipe.prepare(one, one.path.read_bytes()), wanted):
            prepared.append(pixels)
            progress(len(prepared), len(images))
    return Pixels(tuple(prepared), policy)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """The preparation of an image before caching; a patch, or the whole image when squeezed, gets `side` px."""

    stain: StainTarget | None
    scaling: Literal["none", "squeezed", "shrunk"]
    side: int = 0
    patch_side: int = 0

    @property
    def name(self) -> str:
        """The name of the file of images prepared this way."""
        whole = json.dumps([_FORMAT, asdict(self), _PIXEL_PACKAGES])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def prepare(self, wanted: Wanted, data: bytes) -> RgbImage:
        """Decode the bytes of a file, bring the image to the working scale, normalise the stain, and scale it down.

        Raises:
            UnreadableImageError: If the bytes cannot be read; the message names the file.
        """
        try:
            pixels = decode_image(data).pixels
        except UnreadableImageError as error:
            raise UnreadableImageError(f"{wanted.path}: {error}") from error
        resampled = resample(pixels, wanted.factor)
        image = self._scaled(make_stain_normaliser(self.stain)(resampled))
        image.flags.writeable = False
        return image

    def _scaled(self, image: RgbImage) -> RgbImage:
        height, width = image.shape[:2]
        if self.scaling == "squeezed":  # never enlarged: that would take space and add no information
            size = (min(self.side, width), min(self.side, height))
        elif self.scaling == "shrunk":
            size = (round(width * self.side / self.patch_side), round(height * self.side / self.patch_side))
        else:
            return image
        if size == (width, height):
            return image
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(image.dtype, copy=False)


def _plan_recipe(config: FitConfig) -> tuple[_Recipe, InputPolicy]:
    """Return the preparation of each image, and the input policy in pixels of the prepared image."""
    policy, side = config.input_policy, config.cache_side
    if not side:
        return _Recipe(config.stain, "none"), policy
    if side < policy.input_side:
        raise ValueError(
            f"cache_side {side} is smaller than the input side {policy.input_side}: "
            "the network would see enlarged images; set it to at least the input side, or to 0 for the full size"
        )
    if policy.kind == "resize":
        return _Recipe(config.stain, "squeezed", side), policy
    if side >= policy.patch_side:
        return _Recipe(config.stain, "none"), policy
    stride = max(1, round(policy.stride * side / policy.patch_side))
    return _Recipe(config.stain, "shrunk", side, policy.patch_side), replace(policy, patch_side=side, stride=stride)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the index: a source file when its pixels were made, and the position of these pixels."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    offset: int
    height: int
    width: int
    factor: float = 1.0  # older lines have none: their images were left as they are

    def __post_init__(self) -> None:
        if self.offset < 0 or min(self.height, self.width) < 1:
            raise ValueError(
                f"an entry needs an offset of at least 0 and a size, got {self.offset} and {self.width} x {self.height}"
            )

    @property
    def end(self) -> int:
        """The offset after the last byte of this image in the pixel file."""
        return self.offset + self.height * self.width * 3

    def stands_for(self, source: "_Source") -> bool:
        """Return whether the source is unchanged by path, size and time, so that it need not be read again."""
        own = (self.path, self.size, self.mtime_ns, self.factor)
        return own == (str(source.path), source.size, source.mtime_ns, source.factor)

    @property
    def content(self) -> _Content:
        """What its pixels depend on."""
        return self.sha256, self.factor


@dataclass(frozen=True, slots=True)
class _Source:
    """A file on disk, as it was before reading; a change in between is noticed the next time."""

    path: Path
    size: int
    mtime_ns: int
    factor: float

    @property
    def wanted(self) -> Wanted:
        """The file and the scale that are wanted."""
        return Wanted(self.path, self.factor)


@dataclass(frozen=True, slots=True, eq=False)
class _ReadSource:
    """A source after reading, with its pixels unless its content already has an entry."""

    source: _Source
    sha256: str
    image: RgbImage


_ADAPTER = TypeAdapter(_Entry)
_NO_PIXELS: RgbImage = np.empty((0, 0, 3), dtype=np.uint8)


class PixelStore:
    """Images in one file, with an index next to it that has a line for every source file.

    Pixels are on disk before their line is written, and neither is ever changed, so a killed process can leave only an
    incomplete last line or pixels without a line. Images are identified by the sha256 of their file and by how much
    larger they were made; a file with the same path, size and modification time is assumed to be unchanged.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._pixels = folder / f"{name}.bin"
        self._index = folder / f"{name}.jsonl"
        self._guard = folder / f"{name}.lock"

    def fetch(self, images: Sequence[Wanted], prepare: Prepare, progress: Progress) -> tuple[RgbImage, ...]:
        """Return read-only views of the images of files, making the pixels of new files.

        A second process waits meanwhile and then reads what the first one made.
        """
        self._pixels.parent.mkdir(parents=True, exist_ok=True)
        sources = [_look_at(image) for image in images]
        with self._lock():
            index = _Index(self._read_index())
            new = list(dict.fromkeys(source for source in sources if not index.has(source)))
            ready = len(sources) - len(new)
            progress(ready, len(sources))
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoders release the interpreter lock
                for start in range(0, len(new), _AT_ONCE):
                    batch = new[start : start + _AT_ONCE]
                    read_sources = list(pool.map(lambda source: _read(source, index, prepare), batch))
                    self._append(read_sources, index)
                    progress(ready + start + len(batch), len(sources))
        return self._views([index.by_path[source.wanted] for source in sources])

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with self._guard.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the kernel releases it when the process dies
            yield

    def _read_index(self) -> list[_Entry]:
        """Read the complete lines; truncate an incomplete last one, or all of them if pixels are missing."""
        data = self._index.read_bytes() if self._index.exists() else b""
        whole = data.rfind(b"\n") + 1
        entries = [entry for line in data[:whole].splitlines() if (entry := _parse(line))]
        length = self._pixels.stat().st_size if self._pixels.exists() else 0
        if any(entry.end > length for entry in entries):
            # The pixel file was truncated or removed; new pixels would be written where these lines point.
            whole, entries = 0, []
        if whole < len(data):
            os.truncate(self._index, whole)
        return entries

    def _append(self, sources: Sequence["_ReadSource"], index: "_Index") -> None:
        entries = []
        # Always append: pixels without a line, left by a killed process, may be mapped by another process.
        with self._pixels.open("ab") as file:
            for read_source in sources:
                source = read_source.source
                # A copy of the file may be in the same batch.
                entry = index.by_content.get((read_source.sha256, source.factor))
                if entry is None:
                    height, width = read_source.image.shape[:2]
                    entry = _Entry("", 0, 0, read_source.sha256, file.tell(), height, width, source.factor)
                    file.write(read_source.image.tobytes())
                entries.append(replace(entry, path=str(source.path), size=source.size, mtime_ns=source.mtime_ns))
                index.add(entries[-1])
            _flush_to_disk(file)
        with self._index.open("ab") as file:
            file.writelines(_ADAPTER.dump_json(entry) + b"\n" for entry in entries)
            _flush_to_disk(file)

    def _views(self, entries: Sequence[_Entry]) -> tuple[RgbImage, ...]:
        if not entries:
            return ()
        pixels = np.asarray(np.memmap(self._pixels, dtype=np.uint8, mode="r"))
        return tuple(pixels[e.offset : e.end].reshape(e.height, e.width, 3) for e in entries)


class _Index:
    """The entries by source and scale (the last one counts) and by content."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self.by_path: dict[Wanted, _Entry] = {}
        self.by_content: dict[_Content, _Entry] = {}
        for entry in entries:
            self.add(entry)

    def has(self, source: _Source) -> bool:
        entry = self.by_path.get(source.wanted)
        return entry is not None and entry.stands_for(source)

    def add(self, entry: _Entry) -> None:
        self.by_path[Wanted(Path(entry.path), entry.factor)] = entry
        self.by_content[entry.content] = entry


def _look_at(image: Wanted) -> _Source:
    path = image.path.absolute()
    stat = path.stat()
    return _Source(path, stat.st_size, stat.st_mtime_ns, image.factor)


def _parse(line: bytes) -> _Entry | None:
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        return None  # a damaged line only means that its image is decoded again


def _read(source: _Source, index: _Index, prepare: Prepare) -> _ReadSource:
    data = source.path.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    known = (sha256, source.factor) in index.by_content
    return _ReadSource(source, sha256, _NO_PIXELS if known else prepare(source.wanted, data))


def _flush_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
