"""Intake of images: check, strip metadata, store and queue them; one bad file does not stop the others.

`service/batches.py` does it in the server, so that it goes on when the browser tab is closed.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from core.card import Card
from core.files import readable_path
from core.imaging.decode import decode_image
from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from core.imaging.limits import MAX_BYTES, UnreadableImageError
from core.imaging.quality import assess_quality
from core.labels import Malignancy
from core.natural_order import make_natural_key
from core.pipeline import check_image
from core.reading.identifying_words import find_identifying_reasons
from core.results import Quality
from db import store
from db.database import Sessions
from db.errors import CaseChangedError
from db.files import Files
from db.values.reading import StoredImage
from db.values.scales import ChosenScale

_DEMO_IMAGES = 3
_EITHER: tuple[Malignancy, ...] = ("benign", "malignant")


class FolderNotAllowedError(Exception):
    """A folder that may not be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class CasePlan:
    """How a set of images becomes cases: all images in one case, new or already there, or one case per image."""

    account_id: int
    magnification: str | None
    accession: str | None = None  # None or empty: numbered automatically
    one_case: bool = True
    case_id: int | None = None  # of the case that they join
    demonstration: bool = False
    card: Card | None = None  # of the checkpoint in service: its quality limits and patch size
    scale: ChosenScale | None = None  # of the images whose files state none

    def __post_init__(self) -> None:
        if self.accession and not self.one_case:
            raise ValueError("several cases cannot share one case number")
        if self.case_id is not None and (self.accession or not self.one_case):
            raise ValueError("images added to a case cannot also form a new case")


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """The result for one file: `image_id` if it was added, else the reason in `already_in` or `message`."""

    name: str  # shown to the uploader, never stored: a file name may contain the diagnosis
    image_id: int | None = None
    width: int | None = None
    height: int | None = None
    quality: Quality | None = None
    message: str | None = None
    already_in: str | None = None
    case_id: int | None = None


Received = tuple[str, bytes | IntakeResult]
"""An image that was received: its name, and its bytes or why it has none."""


class _AlreadyStoredError(Exception):
    """The same file is already in a case."""

    def __init__(self, accession: str) -> None:
        super().__init__(accession)
        self.accession = accession


class Intake:
    """Takes the images of one batch in, one after the other, each in a transaction of its own.

    Their case is created together with its first image, so that no empty case remains if none of the files is an
    image. It is incomplete until `end`, unless it has only one image.
    """

    def __init__(self, sessions: Sessions, files: Files, plan: CasePlan, received: int) -> None:
        self._sessions, self._files, self._plan, self._received = sessions, files, plan, received
        self._case_id = plan.case_id
        self._intake_id: int | None = None

    @property
    def case_id(self) -> int | None:
        """The case of the images; None before its first image is stored, and if each has its own."""
        return self._case_id

    @property
    def id(self) -> int | None:
        """The id of the intake in the database; None before the first image is stored, and if there is only one."""
        return self._intake_id

    def take_in(self, position: int, received: Received) -> IntakeResult:
        """Check one image and add it to its case; if this fails, the same image can be taken in again.

        Raises:
            DatabaseBusyError: If the database is locked, full, read-only or unreachable, or the disk is full.
            ValueError: If the case number is already in use or invalid; nothing of the batch has been saved then.
        """
        name, data = received
        if isinstance(data, IntakeResult):
            return data
        stored = _check(self._sessions, self._files, self._plan, (name, data))
        if isinstance(stored, IntakeResult):
            return stored
        try:
            case_id, image_id = self._add(position, stored)
        except _AlreadyStoredError as error:
            return IntakeResult(name, already_in=error.accession)
        except CaseChangedError as error:
            return IntakeResult(name, message=f"not stored: {error}")
        return IntakeResult(name, image_id, stored.width, stored.height, stored.quality, case_id=case_id)

    def end(self) -> None:
        """Complete the case.

        Raises:
            DatabaseBusyError: If the database is locked, full, read-only or unreachable, or the disk is full.
        """
        if self._intake_id is not None:
            with self._sessions.begin() as session:
                store.intakes.end_intake(session, self._plan.account_id, self._intake_id)

    def _add(self, position: int, stored: StoredImage) -> tuple[int, int]:
        """Add an image, with its case if it is the first one; return the ids of both."""
        with self._sessions.begin() as session:
            case_id = _add_case(session, self._plan) if self._case_id is None else self._case_id
            intake_id = self._begin(session, case_id) if self._intake_id is None else self._intake_id
            added = store.cases.add_image(session, case_id, stored)
            if added.already_in:
                # Nothing is saved then: no case may be created for an image that is already in another.
                raise _AlreadyStoredError(added.already_in)
            if intake_id is not None:
                store.intakes.add_to_intake(session, intake_id, position, added.image_id)
        # Only what is committed is remembered.
        self._intake_id = intake_id
        if self._plan.one_case:
            self._case_id = case_id
        return case_id, added.image_id

    def _begin(self, session: Session, case_id: int) -> int | None:
        """Begin the intake with its first image; a new case of one image needs none, and is complete at once."""
        plan = self._plan
        if plan.case_id is None and self._received == 1:
            return None
        case = case_id if plan.one_case else None
        return store.intakes.begin_intake(session, plan.account_id, case, self._received)


def add_images(sessions: Sessions, files: Files, plan: CasePlan, images: Sequence[Received]) -> Iterator[IntakeResult]:
    """Check named images and add them to cases, one by one, which are complete when all were taken.

    Raises:
        ValueError: If the case number is already in use or invalid; nothing has been saved then.
    """
    intake = Intake(sessions, files, plan, len(images))
    for position, received in enumerate(images, start=1):
        yield intake.take_in(position, received)
    intake.end()


def read_folder(folder: Path, import_root: Path | None) -> Iterator[Received]:
    """Read the images in one folder on the server, in natural order; one for each of `list_folder`.

    Raises:
        FolderNotAllowedError: If the folder is not inside the import root.
    """
    root = _require_import_root(import_root)
    return ((_name(path), _read(path, root)) for path in list_folder(folder, root))


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
    images: list[Received] = [
        (f"generated {n}", encode_png(generate_tissue(secrets.randbelow(2**31), malignancy)))
        for n in range(1, _DEMO_IMAGES + 1)
    ]
    case_ids = [intake.case_id for intake in add_images(sessions, files, plan, images) if intake.case_id is not None]
    if not case_ids:
        raise RuntimeError("none of the generated images could be added")
    return case_ids[0]


def _add_case(session: Session, plan: CasePlan) -> int:
    return store.cases.add_case(
        session,
        plan.account_id,
        accession=plan.accession or None,
        magnification=plan.magnification,
        demonstration=plan.demonstration,
    )


def _check(sessions: Sessions, files: Files, plan: CasePlan, named: tuple[str, bytes]) -> StoredImage | IntakeResult:
    """Recognise, decode, assess and store one image; return an IntakeResult if it cannot be added."""
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
    scale = ChosenScale(decoded.scale) if decoded.scale else plan.scale
    um_per_px = scale.scale.um_per_px if scale else None
    quality = check_image(decoded.pixels, plan.card, um_per_px) if plan.card else assess_quality(decoded.pixels)
    return StoredImage(source_sha256, file_sha256, height, width, quality.with_notes(decoded.notes), scale)


def _read(path: Path, import_root: Path) -> bytes | IntakeResult:
    """Read one file of a folder; return an IntakeResult with the reason if it is skipped."""
    try:
        reason = _reason_to_skip(path, import_root.resolve())
        return IntakeResult(_name(path), message=f"skipped: {reason}") if reason else path.read_bytes()
    except (OSError, RuntimeError) as error:
        return IntakeResult(_name(path), message=f"could not be read: {_describe(error)}")


def _name(path: Path) -> str:
    return readable_path(Path(path.name))


def _reason_to_skip(path: Path, import_root: Path) -> str | None:
    if path.name.startswith("."):
        return "hidden file"
    if not path.resolve().is_relative_to(import_root):
        return "link to a location outside the import folder"
    if not path.is_file():
        return "folder" if path.is_dir() else "link to a file that is not there" if path.is_symlink() else "not a file"
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
