"""Audit splits for leaks: patients, files or pictures on both sides, and pictures with two labels."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Literal

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.data.datasets import LabelledImage
from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from core.labels import BREAKHIS

# Of the 28,680 pairs of 240 BreaKHis images, two of one patient each differ by 4 and 6 bits, all others by 16 or more.
NEAR_BITS = 6
# A perceptual hash reads a picture at 32 x 32 pixels; of anything as small as an IDC patch it would tell noise.
_SMALLEST_SIDE = 64
_BATCH = 256
_ROWS_AT_ONCE = 1024

LeakKind = Literal["slide", "patient", "identical picture", "near-identical picture"]
ConflictKind = Literal["slide", "patient", "identical picture", "near-identical picture"]
_UNSPLIT = "patient by patient"


@dataclass(frozen=True, slots=True)
class PictureHash:
    """What two files of one picture have in common, however they are compressed.

    `pixels` is the sha256 of size and 8-bit RGB pixels, `outline` the 64-bit perceptual hash (the signs of the lowest
    frequencies, imagehash.phash); None for pictures too small for one. A turned or mirrored copy has another outline.
    """

    pixels: str
    outline: int | None


def hash_picture(path: Path) -> PictureHash:
    """Decode an image file and hash its pixels.

    Raises:
        UnreadableImageError: If it is not an image that can be read.
    """
    pixels = decode_image(path.read_bytes()).pixels
    height, width = pixels.shape[:2]
    sha256 = hashlib.sha256(f"{height} x {width}".encode() + pixels.tobytes()).hexdigest()
    if min(height, width) < _SMALLEST_SIDE:
        return PictureHash(sha256, None)
    return PictureHash(sha256, int(str(imagehash.phash(Image.fromarray(pixels))), 16))


def hash_pictures(
    paths: Sequence[Path], progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[Path, PictureHash | str]:
    """Hash many files, several at a time; an unreadable one gives the reason instead."""
    found: dict[Path, PictureHash | str] = {}
    with ThreadPoolExecutor() as pool:  # decoders leave Python's lock alone
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            found.update(zip(batch, pool.map(_hash_or_reason, batch), strict=True))
            progress(len(found), len(paths))
    return found


def _hash_or_reason(path: Path) -> PictureHash | str:
    try:
        return hash_picture(path)
    except (UnreadableImageError, OSError) as error:
        return str(error)


def near_pairs(outlines: Sequence[int], bits: int = NEAR_BITS) -> list[tuple[int, int, int]]:
    """Find the positions of all pairs that differ in at most so many of 64 bits, with that number.

    Two hashes that differ in `bits` places agree in one of `bits` + 1 bands, so only those that share a band are
    compared: not every pair of 8,000 pictures.
    """
    values = np.array(outlines, np.uint64)
    edges = np.linspace(0, 64, bits + 2).astype(int)
    found: dict[tuple[int, int], int] = {}
    for low, high in pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            _add_near(found, values, group, bits)
    return [(first, second, distance) for (first, second), distance in sorted(found.items())]


def _add_near(
    found: dict[tuple[int, int], int], values: NDArray[np.uint64], group: NDArray[np.int64], bits: int
) -> None:
    for start in range(0, len(group), _ROWS_AT_ONCE):
        rows = group[start : start + _ROWS_AT_ONCE]
        distances = np.bitwise_count(values[rows, None] ^ values[group])
        for row, column in np.argwhere(distances <= bits):
            if rows[row] < group[column]:
                found[int(rows[row]), int(group[column])] = int(distances[row, column])


@dataclass(frozen=True, slots=True)
class Placed:
    """An image and where a split puts it; `side` is "" where nothing has been split."""

    image: LabelledImage
    split: str = ""
    side: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """Images of one slide and label on one side that share something with others; `files` are the first few."""

    side: str
    slide_id: str
    label: str
    images: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that is on more than one side of a split.

    `slide`: one slide. `patient`: one number under different letters, so most likely parts of one accession.
    Of a set that is not split every patient is a side, because any split by patients could part them.
    """

    split: str
    kind: LeakKind
    key: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something with more than one label.

    A slide or a picture with two is an error of the dataset; a patient may truly have two lesions (`contradictory`).
    """

    kind: ConflictKind
    key: str
    members: tuple[Member, ...]

    @property
    def contradictory(self) -> bool:
        """Say whether one of the labels must be wrong."""
        return self.kind != "patient"


@dataclass(frozen=True, slots=True)
class Count:
    """How many images and patients of one class and magnification are on one side; split and side are "" for all."""

    split: str
    side: str
    label: str
    magnification: str
    images: int
    patients: int


@dataclass(frozen=True, slots=True)
class Audit:
    """All that was found; `pictures` were compared, `unreadable` could not be."""

    images: int
    patients: int
    slides: int
    pictures: int
    unreadable: tuple[str, ...]
    counts: tuple[Count, ...]
    leaks: tuple[Leak, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def clean(self) -> bool:
        """Say that nothing leaks and no label contradicts another."""
        return not self.leaks and not any(conflict.contradictory for conflict in self.conflicts)


def audit(placed: Sequence[Placed], pictures: Mapping[Path, PictureHash | str] | None = None) -> Audit:
    """Look for what is on both sides of each split, and for what has two labels.

    Args:
        placed: Every image once for each split that it is in; they need not exist on disk.
        pictures: What `hash_pictures` found; without it, only names are compared.
    """
    hashes = {path: found for path, found in (pictures or {}).items() if isinstance(found, PictureHash)}
    distinct = list({one.image.path: one.image for one in placed}.values())
    groups = _pictures(distinct, hashes)
    splits: dict[str, list[Placed]] = defaultdict(list)
    for one in placed:
        splits[one.split or _UNSPLIT].append(one if one.side else Placed(one.image, _UNSPLIT, one.image.patient_id))
    return Audit(
        images=len(distinct),
        patients=len({image.patient_id for image in distinct}),
        slides=len({(image.slide_id, image.label) for image in distinct} if _by_slide(distinct) else ()),
        pictures=len(hashes),
        unreadable=tuple(f"{path}: {found}" for path, found in (pictures or {}).items() if isinstance(found, str)),
        counts=(*_counts(Placed(image) for image in distinct), *_counts(one for one in placed if one.side)),
        leaks=tuple(leak for name, images in splits.items() for leak in _leaks(name, images, groups)),
        conflicts=(*_named_conflicts(distinct), *_picture_conflicts(groups)),
    )


@dataclass(frozen=True, slots=True)
class _Alike:
    """Images of one picture, or of two that are nearly one."""

    kind: Literal["identical picture", "near-identical picture"]
    key: str
    images: tuple[LabelledImage, ...]


def _pictures(images: Iterable[LabelledImage], hashes: Mapping[Path, PictureHash]) -> list[_Alike]:
    same: dict[PictureHash, list[LabelledImage]] = defaultdict(list)
    for image in images:
        if image.path in hashes:
            same[hashes[image.path]].append(image)
    groups = [_Alike("identical picture", h.pixels[:12], tuple(alike)) for h, alike in same.items() if len(alike) > 1]
    outlined = [(h.outline, alike) for h, alike in same.items() if h.outline is not None]
    for first, second, bits in near_pairs([outline for outline, _ in outlined]):
        key = f"{bits} of 64 bits differ (at most {NEAR_BITS} count as near)"
        groups.append(_Alike("near-identical picture", key, (*outlined[first][1], *outlined[second][1])))
    return groups


def _leaks(split: str, placed: Sequence[Placed], groups: Sequence[_Alike]) -> Iterable[Leak]:
    patients: dict[str, list[Placed]] = defaultdict(list)
    places: dict[Path, list[Placed]] = defaultdict(list)
    for one in placed:
        patients[one.image.patient_id].append(one)
        places[one.image.path].append(one)
    for patient, images in sorted(patients.items()):
        if len({one.side for one in images}) > 1:
            on = {(one.side, one.image.slide_id) for one in images}
            shared = sorted({slide for (_, slide) in on if sum(slide == other for _, other in on) > 1})
            yield Leak(split, "slide" if shared else "patient", ", ".join(shared) or patient, _members(images))
    for group in groups:
        images = [one for image in group.images for one in places[image.path]]
        if len({one.side for one in images}) > 1:
            yield Leak(split, group.kind, group.key, _members(images))


def _named_conflicts(images: Sequence[LabelledImage]) -> Iterable[Conflict]:
    # Only BreaKHis labels slides; elsewhere a patient has patches of several classes as a matter of course.
    patients: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        if image.dataset == BREAKHIS.name:
            patients[image.patient_id].append(image)
    for patient, found in sorted(patients.items()):
        if len({image.label for image in found}) > 1:
            labelled = {(image.slide_id, image.label) for image in found}
            twice = sorted({a[0] for a, b in combinations(sorted(labelled), 2) if a[0] == b[0]})
            yield Conflict("slide" if twice else "patient", ", ".join(twice) or patient, _unplaced(found))


def _picture_conflicts(groups: Iterable[_Alike]) -> Iterable[Conflict]:
    for group in groups:
        if len({image.label for image in group.images}) > 1:
            yield Conflict(group.kind, group.key, _unplaced(group.images))


def _unplaced(images: Iterable[LabelledImage]) -> tuple[Member, ...]:
    return _members([Placed(image) for image in images])


def _members(placed: Iterable[Placed]) -> tuple[Member, ...]:
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in placed:
        found[one.side, one.image.slide_id, one.image.label].append(one.image.path.name)
    return tuple(Member(*key, len(files), tuple(sorted(files)[:3])) for key, files in sorted(found.items()))


def _counts(placed: Iterable[Placed]) -> Iterable[Count]:
    found: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for one in placed:
        found[one.split, one.side, one.image.label, one.image.magnification].append(one.image.patient_id)
    for key, patients in sorted(found.items()):
        yield Count(*key, len(patients), len(set(patients)))


def _by_slide(images: Sequence[LabelledImage]) -> bool:
    return any(image.dataset == BREAKHIS.name for image in images)
