"""Audit splits for leaks (patients, slides or pictures on several sides) and for conflicting labels."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Literal

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.data.datasets import LabelledImage, unify_patients
from core.data.left_out import describe_merged
from core.data.near_identifiers import NearIdentifiers, find_near_identifiers
from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from core.labels import BREAKHIS

# Of the 28,680 pairs of 240 BreaKHis images, two pairs (one patient each) differ by 4 and 6 bits, all others by 16 or
# more.
NEAR_BITS = 6
# px; a perceptual hash reduces a picture to 32 x 32 pixels, so for a picture as small as an IDC patch it is noise.
_SMALLEST_SIDE = 64
_BATCH = 256  # files hashed between two reports of progress
_ROWS_AT_ONCE = 1024

LeakKind = Literal["slide", "patient", "identical picture", "near-identical picture"]
ConflictKind = Literal["slide", "patient", "identical picture", "near-identical picture"]
_UNSPLIT = "patient by patient"  # the split that images without one are audited under


@dataclass(frozen=True, slots=True)
class PictureHash:
    """Hashes that are equal for two files of one picture, however they are compressed.

    `pixels` is the sha256 of size and 8-bit RGB pixels, `outline` the 64-bit perceptual hash (the signs of the lowest
    frequencies, imagehash.phash), or None if the picture is too small. A rotated or mirrored copy has another outline.
    """

    pixels: str
    outline: int | None


def hash_picture(path: Path) -> PictureHash:
    """Decode an image file and hash its pixels.

    Raises:
        UnreadableImageError: If the file is not a readable image.
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
    """Hash many files, several at a time; an unreadable file has the reason instead of a hash."""
    hashes: dict[Path, PictureHash | str] = {}
    with ThreadPoolExecutor() as pool:  # decoders release Python's lock
        for start in range(0, len(paths), _BATCH):
            batch = paths[start : start + _BATCH]
            hashes.update(zip(batch, pool.map(_hash_or_reason, batch), strict=True))
            progress(len(hashes), len(paths))
    return hashes


def _hash_or_reason(path: Path) -> PictureHash | str:
    try:
        return hash_picture(path)
    except (UnreadableImageError, OSError) as error:
        return str(error)


def find_near_pairs(outlines: Sequence[int], bits: int = NEAR_BITS) -> list[tuple[int, int, int]]:
    """Return the positions of all pairs that differ in at most `bits` of 64 bits, with the number of these bits.

    Two hashes that differ in `bits` bits agree in at least one of `bits` + 1 bands, so only hashes that share a band
    are compared, rather than every pair of 8,000 pictures.
    """
    values = np.array(outlines, np.uint64)
    edges = np.linspace(0, 64, bits + 2).astype(int)
    pairs: dict[tuple[int, int], int] = {}
    for low, high in pairwise(edges):
        band = (values >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            _add_near(pairs, values, group, bits)
    return [(first, second, distance) for (first, second), distance in sorted(pairs.items())]


def _add_near(
    pairs: dict[tuple[int, int], int], values: NDArray[np.uint64], group: NDArray[np.int64], bits: int
) -> None:
    for start in range(0, len(group), _ROWS_AT_ONCE):
        rows = group[start : start + _ROWS_AT_ONCE]
        distances = np.bitwise_count(values[rows, None] ^ values[group])
        for row, column in np.argwhere(distances <= bits):
            if rows[row] < group[column]:
                pairs[int(rows[row]), int(group[column])] = int(distances[row, column])


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """An image and its side of a split; `side` is "" if there is no split."""

    image: LabelledImage
    split: str = ""
    side: str = ""


@dataclass(frozen=True, slots=True)
class LeakMember:
    """The images of one slide and label on one side, within a leak or a conflict; `files` are the first few."""

    side: str
    slide_id: str
    label: str
    images: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leak:
    """A slide, patient or picture on more than one side of a split.

    `slide`: one slide. `patient`: one number with different letters, so most likely parts of one accession.
    In a set that is not split every patient is a side, because any split by patients could separate them.
    """

    split: str
    kind: LeakKind
    key: str
    members: tuple[LeakMember, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A slide, patient or picture with more than one label.

    A slide or picture with two labels is an error of the dataset (`contradictory`); a patient may have two lesions.
    """

    kind: ConflictKind
    key: str
    members: tuple[LeakMember, ...]

    @property
    def contradictory(self) -> bool:
        """Whether one of the labels must be wrong."""
        return self.kind != "patient"


@dataclass(frozen=True, slots=True)
class Count:
    """The images and patients of one class and magnification on one side; split and side are "" for all images."""

    split: str
    side: str
    label: str
    magnification: str
    images: int
    patients: int


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit; `pictures` is the number compared, `unreadable` gives the reasons for the others.

    `merged` says which spellings were taken as one patient, `near` which patients are written almost alike.
    """

    images: int
    patients: int
    slides: int
    pictures: int
    unreadable: tuple[str, ...]
    counts: tuple[Count, ...]
    leaks: tuple[Leak, ...]
    conflicts: tuple[Conflict, ...]
    merged: tuple[str, ...]
    near: NearIdentifiers

    @property
    def clean(self) -> bool:
        """Whether nothing leaks and no label contradicts another."""
        return not self.leaks and not any(conflict.contradictory for conflict in self.conflicts)


def audit_splits(placed: Sequence[PlacedImage], pictures: Mapping[Path, PictureHash | str] | None = None) -> Audit:
    """Find slides, patients and pictures on several sides of each split, and those with several labels.

    Args:
        placed: Every image once for each split that contains it; the files need not exist.
        pictures: The result of `hash_pictures`; without it, only names are compared.
    """
    unified = unify_patients([one.image for one in placed])
    placed = [replace(one, image=image) for one, image in zip(placed, unified, strict=True)]
    hashes = {path: value for path, value in (pictures or {}).items() if isinstance(value, PictureHash)}
    distinct = list({one.image.path: one.image for one in placed}.values())
    groups = _group_pictures(distinct, hashes)
    splits: dict[str, list[PlacedImage]] = defaultdict(list)
    for one in placed:
        splits[one.split or _UNSPLIT].append(
            one if one.side else PlacedImage(one.image, _UNSPLIT, one.image.patient_id)
        )
    return Audit(
        images=len(distinct),
        patients=len({image.patient_id for image in distinct}),
        slides=len({(image.slide_id, image.label) for image in distinct} if _by_slide(distinct) else ()),
        pictures=len(hashes),
        unreadable=tuple(f"{path}: {reason}" for path, reason in (pictures or {}).items() if isinstance(reason, str)),
        counts=(*_counts(PlacedImage(image) for image in distinct), *_counts(one for one in placed if one.side)),
        leaks=tuple(leak for name, images in splits.items() for leak in _find_leaks(name, images, groups)),
        conflicts=(*_named_conflicts(distinct), *_picture_conflicts(groups)),
        merged=describe_merged(distinct),
        near=find_near_identifiers(image.patient_id for image in distinct),
    )


@dataclass(frozen=True, slots=True)
class _SamePicture:
    """Images of one picture, or of two nearly identical pictures."""

    kind: Literal["identical picture", "near-identical picture"]
    key: str
    images: tuple[LabelledImage, ...]


def _group_pictures(images: Iterable[LabelledImage], hashes: Mapping[Path, PictureHash]) -> list[_SamePicture]:
    by_hash: dict[PictureHash, list[LabelledImage]] = defaultdict(list)
    for image in images:
        if image.path in hashes:
            by_hash[hashes[image.path]].append(image)
    groups = [
        _SamePicture("identical picture", h.pixels[:12], tuple(alike)) for h, alike in by_hash.items() if len(alike) > 1
    ]
    with_outline = [(h.outline, alike) for h, alike in by_hash.items() if h.outline is not None]
    for first, second, bits in find_near_pairs([outline for outline, _ in with_outline]):
        key = f"{bits} of 64 bits differ (at most {NEAR_BITS} count as near)"
        groups.append(_SamePicture("near-identical picture", key, (*with_outline[first][1], *with_outline[second][1])))
    return groups


def _find_leaks(split: str, placed: Sequence[PlacedImage], groups: Sequence[_SamePicture]) -> Iterable[Leak]:
    patients: dict[str, list[PlacedImage]] = defaultdict(list)
    places: dict[Path, list[PlacedImage]] = defaultdict(list)
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
    # Only BreaKHis labels slides; in other datasets a patient normally has patches of several classes.
    patients: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        if image.dataset == BREAKHIS.name:
            patients[image.patient_id].append(image)
    for patient, own in sorted(patients.items()):
        if len({image.label for image in own}) > 1:
            slide_labels = {(image.slide_id, image.label) for image in own}
            conflicting = sorted({a[0] for a, b in combinations(sorted(slide_labels), 2) if a[0] == b[0]})
            yield Conflict("slide" if conflicting else "patient", ", ".join(conflicting) or patient, _members_of(own))


def _picture_conflicts(groups: Iterable[_SamePicture]) -> Iterable[Conflict]:
    for group in groups:
        if len({image.label for image in group.images}) > 1:
            yield Conflict(group.kind, group.key, _members_of(group.images))


def _members_of(images: Iterable[LabelledImage]) -> tuple[LeakMember, ...]:
    return _members([PlacedImage(image) for image in images])


def _members(placed: Iterable[PlacedImage]) -> tuple[LeakMember, ...]:
    files_by_key: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in placed:
        files_by_key[one.side, one.image.slide_id, one.image.label].append(one.image.path.name)
    return tuple(LeakMember(*key, len(files), tuple(sorted(files)[:3])) for key, files in sorted(files_by_key.items()))


def _counts(placed: Iterable[PlacedImage]) -> Iterable[Count]:
    patients_by_key: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for one in placed:
        patients_by_key[one.split, one.side, one.image.label, one.image.magnification].append(one.image.patient_id)
    for key, patients in sorted(patients_by_key.items()):
        yield Count(*key, len(patients), len(set(patients)))


def _by_slide(images: Sequence[LabelledImage]) -> bool:
    return any(image.dataset == BREAKHIS.name for image in images)
