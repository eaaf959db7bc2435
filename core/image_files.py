"""Which of the named files and folders are images, and what their results are called."""

import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core.files import file_key, readable_path
from core.imaging.kinds import HEAD_BYTES, is_named_like_an_image, recognise
from core.imaging.limits import MAX_BYTES, UnreadableImageError

_LONGEST_NAME = 255 - len(".tmp")  # bytes, of a file that is being written
_NOT_A_FILE = "not a regular file"
# Where a network storage keeps smaller copies, and where systems keep what was deleted or belongs to other files.
_OF_SYSTEMS = ("@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "__macosx")


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One file to analyse, or one that cannot be and why; `root` is the argument it was found under."""

    root: Path
    path: Path
    problem: str | None = None

    @property
    def relative(self) -> PurePosixPath:
        """Its place below the folder that was named, or its name, as text that can be printed."""
        inside = self.path.relative_to(self.root) if self.path != self.root else Path(self.path.name)
        return PurePosixPath(readable_path(inside))


@dataclass(frozen=True, slots=True)
class FoundImages:
    """What was found under one argument: files to analyse or to name as left out, and what is no image at all."""

    root: Path
    files: tuple[ImageFile, ...]
    others: tuple[Path, ...] = ()


def find_images(root: Path, results: Path | None = None) -> FoundImages:
    """Return a file whatever it is, or all files of a folder, told apart by their content.

    Nothing of a folder is dropped without a word: what may be an image and cannot be read is among the files, with
    the reason. `results` is a folder for results; if it lies in `root`, it is no input. A file with several names
    counts once.
    """
    if not root.is_dir():
        return FoundImages(root, (ImageFile(root, root),))
    files, others = [], []
    first: dict[tuple[int, int], Path] = {}
    for path, problem in _walk(root, results and results.resolve()):
        if problem is None and not _may_be_image(path):
            others.append(path)
        else:
            files.append(ImageFile(root, path, problem or _find_first(path, root, first)))
    return FoundImages(root, tuple(files), tuple(others))


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or a folder that systems keep for themselves."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def read_image_file(path: Path) -> bytes:
    """Read a file that may be an image.

    Raises:
        UnreadableImageError: If it cannot be read, or is larger than any image may be; the message says why.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableImageError(f"this is {_NOT_A_FILE}.")
        if found.st_size > MAX_BYTES:
            raise UnreadableImageError(
                f"the file is {found.st_size / 1e6:,.0f} MB; the limit is {MAX_BYTES // 1_000_000} MB. "
                "Export a smaller field of view."
            )
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"the file cannot be read: {error.strerror}.") from error


def output_names(files: Sequence[ImageFile], endings: Sequence[str] = ("",)) -> list[str]:
    """Return a name for the results of each file, no two of which are the same on any disk with any of the endings.

    The shortest way that tells all files apart is taken for all of them: without and with their suffix,
    then below the name of the folder that was named, then with a number and, if it is too long, cut.
    """
    longest = _LONGEST_NAME - max(len(ending) for ending in endings)
    ways = (
        lambda file: file.relative.with_suffix(""),
        lambda file: file.relative,
        lambda file: _below_root(file).with_suffix(""),
        _below_root,
    )
    for way in ways:
        names = [str(way(file)) for file in files]
        if any(len(part.encode()) > longest for name in names for part in PurePosixPath(name).parts):
            continue
        if len({_comparable(name + ending) for name in names for ending in endings}) == len(names) * len(endings):
            return names
    return [_cut(f"{number}-{file.relative.name}", longest) for number, file in enumerate(files, start=1)]


def _cut(name: str, longest: int) -> str:
    return name.encode()[:longest].decode("utf-8", "ignore")


def _below_root(file: ImageFile) -> PurePosixPath:
    folder = file.root.resolve().parent if file.path == file.root else file.root.resolve()
    return PurePosixPath(readable_path(Path(folder.name))) / file.relative


def _comparable(name: str) -> str:
    """Return what a disk that knows no capitals, or only composed letters, makes of a name."""
    return unicodedata.normalize("NFC", name).casefold()


def _walk(root: Path, results: Path | None) -> Iterator[tuple[Path, str | None]]:
    """Yield all that lies in a folder, in order, with the reason if it cannot be read."""
    try:
        inside = sorted(root.iterdir())
    except OSError as error:
        yield root, f"the folder cannot be read: {error.strerror}."
        return
    for path in inside:
        if path.is_dir() and not path.is_symlink() and not is_hidden(path.name) and path.resolve() != results:
            yield from _walk(path, results)
        else:
            yield path, _find_problem(path)


def _find_problem(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a link to a file that is not there."
    except OSError as error:
        return f"it cannot be read: {error.strerror}."
    if stat.S_ISDIR(mode):
        return "a link to a folder: name that folder itself." if path.is_symlink() else None
    if not stat.S_ISREG(mode):
        return f"{_NOT_A_FILE}."
    return "a hidden file." if path.name.startswith(".") and _may_be_image(path) else None


def _find_first(path: Path, root: Path, first: dict[tuple[int, int], Path]) -> str | None:
    """Remember a file; return that it is one that is known already, by a link or under a second name."""
    known = first.setdefault(file_key(path), path)
    return None if known is path else f"the same file as {readable_path(known.relative_to(root))}."


def _may_be_image(path: Path) -> bool:
    """Return whether something is a picture by its content or its name; if it cannot be read, its name decides."""
    named = is_named_like_an_image(path.name)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return named
    kind = recognise(head)
    if kind is not None and kind.kind != "document":
        return True
    if path.name.startswith("."):
        return False  # what systems keep for themselves also bears the names of images
    # A name without an ending may be that of any format, but not of text.
    return named or (kind is None and not path.suffix and (not head or b"\0" in head))
