"""Intake of images: check, strip metadata, store and queue them; one bad file does not stop the others."""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from core.card import Card
from core.imaging.decode import decode_image
from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png, make_thumbnail
from core.imaging.limits import MAX_BYTES, UnreadableImageError
from core.imaging.quality import assess_quality
from core.labels import Malignancy
from core.natural_order import make_natural_key
from core.pipeline import check_image
from core.reading.identifying_words import find_identifying_reasons
from core.results import Quality
from db import store
from db.database import Sessions
from db.files import Files
from db.values.reading import StoredImage

_PREVIEW_SIDE = 120  # px
_MOST_PREVIEWED = 8_000_000  # bytes; decoding more would hold up the page
_DEMO_IMAGES = 3
_EITHER: tuple[Malignancy, ...] = ("benign", "malignant")


class FolderNotAllowedError(Exception):
    """A folder that may not be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class CasePlan:
    """How a set of images becomes cases: all images in one case, or one case per image."""

    account_id: int
    magnification: str | None
    accession: str | None = None  # None or empty: numbered automatically
    one_case: bool = True
    demonstration: bool = False
    card: Card | None = None  # of the checkpoint in service: its quality limits and patch size

    def __post_init__(self) -> None:
        if self.accession and not self.one_case:
            raise ValueError("several cases cannot share one case number")


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """The result for one file: `image_id` if it was added, else the reason in `already_in` or `message`.

    A `message` together with an `image_id` is a note, for example that only the first page was used.
    """

    name: str  # shown to the uploader, never stored: a file name may contain the diagnosis
    image_id: int | None = None
    width: int | None = None
    height: int | None = None
    quality: Quality | None = None
    message: str | None = None
    already_in: str | None = None
    case_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Checked:
    stored: StoredImage
    note: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    """A chosen image before it is stored: a thumbnail as PNG, or why there is none."""

    thumbnail: bytes | None
    problem: str = ""


def make_preview(data: bytes) -> Preview:
    """Make the thumbnail of an image that was chosen; one that cannot be read would be refused when it is stored."""
    if len(data) > _MOST_PREVIEWED:
        return Preview(None, "large image, no preview")
    try:
        return Preview(encode_png(make_thumbnail(decode_image(data).pixels, _PREVIEW_SIDE)))
    except UnreadableImageError as error:
        return Preview(None, str(error))


def add_images(
    sessions: Sessions, files: Files, plan: CasePlan, images: Iterable[tuple[str, bytes | IntakeResult]]
) -> Iterator[IntakeResult]:
    """Check named images and add them to new cases, one by one.

    A case is created together with its first image, so that no empty case remains if none of the files is an image.

    Raises:
        ValueError: If the case number is already in use or invalid; nothing has been saved then.
    """
    case_id: int | None = None
    for name, data in images:
        intake = data if isinstance(data, IntakeResult) else _take_in(sessions, files, plan, case_id, (name, data))
        if plan.one_case and intake.case_id is not None:
            case_id = intake.case_id
        yield intake


def add_folder(
    sessions: Sessions, files: Files, plan: CasePlan, folder: Path, import_root: Path | None
) -> Iterator[IntakeResult]:
    """Add the images in one folder on the server, in natural order; one Intake for each of `list_folder`.

    Raises:
        FolderNotAllowedError: If the folder is not inside the import root.
        ValueError: If the case number is already in use or invalid; nothing has been saved then.
    """
    root = _require_import_root(import_root)
    named = ((path.name, _read(path, root)) for path in list_folder(folder, root))
    yield from add_images(sessions, files, plan, named)


def list_folder(folder: Path, import_root: Path | None) -> list[Path]:
    """List the files in a folder on the server, in natural order: image 2 comes before image 10.

    A relative path starts at the import root.

    Raises:
        FolderNotAllowedError: If the folder is not inside the import root.
    """
    root = _require_import_root(import_root).resolve()
    try:
        path = (root / folder).resolve()
        if not path.is_relative_to(root):
            raise FolderNotAllowedError(f"{folder} is not inside {root}, the only folder that may be read")
        return sorted(path.iterdir(), key=lambda path: make_natural_key(path.name))
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: circular links. ValueError: a NUL character in the name.
        raise FolderNotAllowedError(f"the folder {folder} cannot be read: {_describe(error)}") from error


def warn_of_identifying_names(names: Iterable[str]) -> str | None:
    """Return a warning that file names may identify a person, without repeating any; None if none of them does."""
    reasons_by_name = [find_identifying_reasons(name) for name in names]
    suspicious = [reasons for reasons in reasons_by_name if reasons]
    if not suspicious:
        return None
    kinds = ", ".join(dict.fromkeys(reason for reasons in suspicious for reason in reasons))
    if len(suspicious) == 1:
        subject = "1 file name contains"
    else:
        subject = f"{len(suspicious)} of {len(reasons_by_name)} file names contain"
    return f"{subject} {kinds}. File names are not stored, but please rename the files at their source."


def add_demo_case(sessions: Sessions, files: Files, account_id: int) -> int:
    """Create a case of newly generated images, at random benign or malignant, and return its id."""
    malignancy = secrets.choice(_EITHER)
    plan = CasePlan(account_id, magnification=None, demonstration=True)
    images: list[tuple[str, bytes | IntakeResult]] = [
        (f"generated {n}", encode_png(generate_tissue(secrets.randbelow(2**31), malignancy)))
        for n in range(1, _DEMO_IMAGES + 1)
    ]
    case_ids = [intake.case_id for intake in add_images(sessions, files, plan, images) if intake.case_id is not None]
    if not case_ids:
        raise RuntimeError("none of the generated images could be added")
    return case_ids[0]


def _take_in(
    sessions: Sessions, files: Files, plan: CasePlan, case_id: int | None, named: tuple[str, bytes]
) -> IntakeResult:
    """Check one named image and add it to the case, or to a new case according to the plan."""
    name, _ = named
    checked = _check(sessions, files, plan.card, named)
    if isinstance(checked, IntakeResult):
        return checked
    stored = checked.stored
    with sessions.begin() as session:
        # Checked again in the transaction that writes: no case may be created for an image that is already in another.
        known = store.cases.known_image(session, stored.source_sha256)
        if known:
            return IntakeResult(name, already_in=known)
        if case_id is None:
            case_id = _add_case(session, plan)
        added = store.cases.add_image(session, case_id, stored)
    if added.already_in:
        return IntakeResult(name, already_in=added.already_in)
    return IntakeResult(
        name, added.image_id, stored.width, stored.height, stored.quality, checked.note, case_id=case_id
    )


def _add_case(session: Session, plan: CasePlan) -> int:
    return store.cases.add_case(
        session,
        plan.account_id,
        accession=plan.accession or None,
        magnification=plan.magnification,
        demonstration=plan.demonstration,
    )


def _check(sessions: Sessions, files: Files, card: Card | None, named: tuple[str, bytes]) -> _Checked | IntakeResult:
    """Recognise, decode, assess and store one image; return an Intake if it cannot be added."""
    name, data = named
    source_sha256 = hashlib.sha256(data).hexdigest()
    with sessions.read() as session:
        known = store.cases.known_image(session, source_sha256)
    if known:
        return IntakeResult(name, already_in=known)
    try:
        decoded = decode_image(data)
        file_sha256 = files.put(encode_png(decoded.pixels))
    except UnreadableImageError as error:
        return IntakeResult(name, message=str(error))
    except OSError as error:
        return IntakeResult(name, message=f"could not be stored: {_describe(error)}")
    height, width = decoded.pixels.shape[:2]
    quality = check_image(decoded.pixels, card) if card else assess_quality(decoded.pixels)
    stored = StoredImage(source_sha256, file_sha256, height, width, quality)
    return _Checked(stored, "; ".join(decoded.notes) or None)


def _read(path: Path, import_root: Path) -> bytes | IntakeResult:
    """Read one file of a folder; return an Intake with the reason if it is skipped."""
    try:
        reason = _reason_to_skip(path, import_root.resolve())
        return IntakeResult(path.name, message=f"skipped: {reason}") if reason else path.read_bytes()
    except (OSError, RuntimeError) as error:
        return IntakeResult(path.name, message=f"could not be read: {_describe(error)}")


def _reason_to_skip(path: Path, import_root: Path) -> str | None:
    if path.name.startswith("."):
        return "hidden file"
    if not path.resolve().is_relative_to(import_root):
        return "link to a location outside the import folder"
    if not path.is_file():
        return "folder" if path.is_dir() else "not a file"
    if path.stat().st_size > MAX_BYTES:
        return f"larger than {MAX_BYTES // 1_000_000} MB"
    return None


def _require_import_root(import_root: Path | None) -> Path:
    if import_root is None:
        raise FolderNotAllowedError(
            "importing folders from the server is disabled; set SECOND_READ_IMPORT_ROOT to the folder that may be read"
        )
    return import_root


def _describe(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
