"""Takes images in: checked, stripped of metadata, stored and queued; one bad file does not stop the others."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from core.card import Card
from core.imaging.decode import decode_image
from core.imaging.demo import demo_image
from core.imaging.heatmaps import encode_png
from core.imaging.limits import MAX_BYTES, UnreadableImageError
from core.imaging.quality import assess_quality
from core.labels import Malignancy
from core.pipeline import judge_image
from core.reading.identifying_words import identifying
from core.results import Quality
from db import store
from db.database import Sessions
from db.files import Files
from db.values.reading import StoredImage

_DEMO_IMAGES = 3
_EITHER: tuple[Malignancy, ...] = ("benign", "malignant")


class FolderNotAllowedError(Exception):
    """A folder that may not be read; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class CasePlan:
    """How a set of images becomes cases: all in one, or one each."""

    account_id: int
    magnification: str | None
    accession: str | None = None  # None or empty: numbered automatically
    one_case: bool = True
    demonstration: bool = False
    card: Card | None = None  # of the checkpoint in service: its limits, and whether its patches fit

    def __post_init__(self) -> None:
        if self.accession and not self.one_case:
            raise ValueError("one case number cannot name several cases")


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of one file: `image_id` if it was taken in, else `already_in` or `message` says why not.

    `message` beside an `image_id` is a note, such as that only the first page was taken.
    """

    name: str  # shown to the one who brought the file, never stored: file names can hold the diagnosis
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


def take_in_all(
    sessions: Sessions, files: Files, plan: CasePlan, images: Iterable[tuple[str, bytes | Intake]]
) -> Iterator[Intake]:
    """Check named images and add them to new cases, one after the other.

    A case is made together with its first image, so files of which none is an image leave no empty case.

    Raises:
        ValueError: If the case number is taken or unusable; nothing was saved then.
    """
    case_id: int | None = None
    for name, data in images:
        intake = data if isinstance(data, Intake) else _take_in(sessions, files, plan, case_id, (name, data))
        if plan.one_case and intake.case_id is not None:
            case_id = intake.case_id
        yield intake


def take_in_folder(
    sessions: Sessions, files: Files, plan: CasePlan, folder: Path, import_root: Path | None
) -> Iterator[Intake]:
    """Take in what lies in one folder on the server, in natural order; one Intake for each of `folder_files`.

    Raises:
        FolderNotAllowedError: If the folder does not lie in the import root.
        ValueError: If the case number is taken or unusable; nothing was saved then.
    """
    root = _required(import_root)
    named = ((path.name, _read(path, root)) for path in folder_files(folder, root))
    yield from take_in_all(sessions, files, plan, named)


def folder_files(folder: Path, import_root: Path | None) -> list[Path]:
    """List what lies in a folder on the server, in natural order: image 2 comes before image 10.

    A relative folder is meant from the import root.

    Raises:
        FolderNotAllowedError: If the folder does not lie in the import root.
    """
    root = _required(import_root).resolve()
    try:
        inside = (root / folder).resolve()
        if not inside.is_relative_to(root):
            raise FolderNotAllowedError(f"{folder} is not inside {root}, the only folder that may be read here")
        return sorted(inside.iterdir(), key=_natural)
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: links in a circle. ValueError: a NUL in the name.
        raise FolderNotAllowedError(f"the folder {folder} cannot be read: {_words(error)}") from error


def name_warning(names: Iterable[str]) -> str | None:
    """Say that names of files look as if they identified a person, repeating none of them; None where none does."""
    every = [identifying(name) for name in names]
    found = [reasons for reasons in every if reasons]
    if not found:
        return None
    kinds = ", ".join(dict.fromkeys(reason for reasons in found for reason in reasons))
    what = "1 file name holds" if len(found) == 1 else f"{len(found)} of {len(every)} file names hold"
    return f"{what} {kinds}. Names are not kept; rename at the source all the same."


def add_demo_case(sessions: Sessions, files: Files, account_id: int) -> int:
    """Make a case of generated images, new ones each time, benign or malignant as chance has it."""
    malignancy = secrets.choice(_EITHER)
    plan = CasePlan(account_id, magnification=None, demonstration=True)
    images: list[tuple[str, bytes | Intake]] = [
        (f"generated {n}", encode_png(demo_image(secrets.randbelow(2**31), malignancy)))
        for n in range(1, _DEMO_IMAGES + 1)
    ]
    taken = [intake.case_id for intake in take_in_all(sessions, files, plan, images) if intake.case_id is not None]
    if not taken:
        raise RuntimeError("none of the generated images was taken in")
    return taken[0]


def _take_in(sessions: Sessions, files: Files, plan: CasePlan, case_id: int | None, named: tuple[str, bytes]) -> Intake:
    """Check one named image and add it to the case, or to a new one after the plan."""
    name, _ = named
    checked = _check(sessions, files, plan.card, named)
    if isinstance(checked, Intake):
        return checked
    stored = checked.stored
    with sessions.begin() as session:
        # Asked again where nobody can come between: a case must not be made for an image that is elsewhere.
        known = store.cases.known_image(session, stored.source_sha256)
        if known:
            return Intake(name, already_in=known)
        if case_id is None:
            case_id = _add_case(session, plan)
        added = store.cases.add_image(session, case_id, stored)
    if added.already_in:
        return Intake(name, already_in=added.already_in)
    return Intake(name, added.image_id, stored.width, stored.height, stored.quality, checked.note, case_id=case_id)


def _add_case(session: Session, plan: CasePlan) -> int:
    return store.cases.add_case(
        session,
        plan.account_id,
        accession=plan.accession or None,
        magnification=plan.magnification,
        demonstration=plan.demonstration,
    )


def _check(sessions: Sessions, files: Files, card: Card | None, named: tuple[str, bytes]) -> _Checked | Intake:
    """Recognise, decode, judge and store one image; an Intake when it ends here."""
    name, data = named
    source_sha256 = hashlib.sha256(data).hexdigest()
    with sessions.read() as session:
        known = store.cases.known_image(session, source_sha256)
    if known:
        return Intake(name, already_in=known)
    try:
        decoded = decode_image(data)
        file_sha256 = files.put(encode_png(decoded.pixels))
    except UnreadableImageError as error:
        return Intake(name, message=str(error))
    except OSError as error:
        return Intake(name, message=f"it could not be stored: {_words(error)}")
    height, width = decoded.pixels.shape[:2]
    quality = judge_image(decoded.pixels, card) if card else assess_quality(decoded.pixels)
    stored = StoredImage(source_sha256, file_sha256, height, width, quality)
    return _Checked(stored, "; ".join(decoded.notes) or None)


def _read(path: Path, import_root: Path) -> bytes | Intake:
    """Read one file of a folder; an Intake that says why when it is left out."""
    try:
        reason = _reason_to_skip(path, import_root.resolve())
        return Intake(path.name, message=f"skipped: {reason}") if reason else path.read_bytes()
    except (OSError, RuntimeError) as error:
        return Intake(path.name, message=f"it could not be read: {_words(error)}")


def _reason_to_skip(path: Path, import_root: Path) -> str | None:
    if path.name.startswith("."):
        return "a hidden file"
    if not path.resolve().is_relative_to(import_root):
        return "a link to somewhere outside the import folder"
    if not path.is_file():
        return "a folder" if path.is_dir() else "not a file"
    if path.stat().st_size > MAX_BYTES:
        return f"larger than {MAX_BYTES // 1_000_000} MB"
    return None


def _required(import_root: Path | None) -> Path:
    if import_root is None:
        raise FolderNotAllowedError(
            "reading folders on the server is switched off; set SECOND_READ_IMPORT_ROOT to the folder they lie in"
        )
    return import_root


def _natural(path: Path) -> list[tuple[int, str]]:
    pieces = re.split(r"(\d+)", path.name.casefold())
    return [(int(piece), "") if odd % 2 else (0, piece) for odd, piece in enumerate(pieces)]


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
