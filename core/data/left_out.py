"""Say what a dataset's folder holds beside the images that are used, and which patients were taken as one."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.data.datasets import DatasetName, LabelledImage, parse_breakhis_name, parse_idc_name
from core.data.folder_files import recognise_file, walk_files
from core.files import readable_path
from core.identifiers import find_spellings, show_spellings
from core.imaging.kinds import is_named_like_an_image
from core.statistics.cautions import Caution

_RULES = {"breakhis": parse_breakhis_name, "idc": parse_idc_name}


@dataclass(frozen=True, slots=True)
class FileLeftOut:
    """A picture, or what is named like one, that is not among the images of a dataset; `file` starts from its root."""

    file: str
    reason: str

    @property
    def words(self) -> str:
        """The file and the reason."""
        return f"{self.file}: {self.reason}"


def find_left_out(name: DatasetName, root: Path, images: Sequence[LabelledImage]) -> tuple[FileLeftOut, ...]:
    """Return the pictures in a dataset's folder that are not used, with the reasons, in the order of their names.

    Of a public dataset, only folders with images are searched, and files named by its rule: the releases come with
    whole slides and thumbnails in folders of their own. Documents and hidden files are not counted.
    """
    used = {image.path for image in images}
    folders = {path.parent for path in used}
    stems = {path.with_suffix("") for path in used}
    reasons = dict.fromkeys(_links(root), "links to folders are not followed")
    for path in walk_files(root):
        if path not in used and (name == "folder" or path.parent in folders or _follows_rule(name, path)):
            if name == "folder":
                otherwise = "the table of labels does not list it"
            elif path.with_suffix("") in stems:
                otherwise = "an image of the same name is used instead"
            else:
                otherwise = "its name does not follow the naming rule"
            reasons[path] = _reason(path, otherwise)
    return _named(root, reasons)


def list_unlabelled(root: Path) -> tuple[tuple[Path, ...], tuple[FileLeftOut, ...]]:
    """List the images of a folder without labels by their content, and what is named like one but is left out."""
    files = sorted(walk_files(root))
    images = [path for path in files if (kind := recognise_file(path)) and kind.kind == "image"]
    reasons = dict.fromkeys(_links(root), "links to folders are not followed")
    found = set(images)
    reasons |= {path: _reason(path, "") for path in files if path not in found}
    return tuple(images), _named(root, reasons)


def describe_merged(images: Sequence[LabelledImage]) -> tuple[str, ...]:
    """Return which spellings were taken as one patient: 'P1', 'P1 ' and 'p1'."""
    return tuple(show_spellings(several) for several in find_spellings(image.written_patient for image in images))


def dataset_cautions(
    name: DatasetName, root: Path, images: Sequence[LabelledImage], *more: Path
) -> tuple[Caution, ...]:
    """Return what must be known of a listing: patients taken as one, and pictures that are not used.

    `more` are further folders of the dataset.
    """
    cautions = []
    if merged := describe_merged(images):
        count = f"{len(merged)} patients are each" if len(merged) > 1 else "1 patient is"
        others = ", ..." if len(merged) > 1 else ""
        cautions.append(
            Caution("patients merged", f"{count} spelled in several ways and treated as one", merged[0] + others)
        )
    left_out = [one for folder in (root, *more) for one in find_left_out(name, folder, images)]
    return (*cautions, *left_out_cautions(left_out))


def left_out_cautions(left_out: Sequence[FileLeftOut]) -> tuple[Caution, ...]:
    """Return how many pictures are left out for each reason, with the first of them."""
    cautions = []
    for reason, times in Counter(one.reason for one in left_out).most_common():
        first = next(one.file for one in left_out if one.reason == reason)
        pictures = f"{times} pictures in the folder are" if times > 1 else "1 picture in the folder is"
        subject = f"such as {first}" if times > 1 else first
        cautions.append(Caution("images left out", f"{pictures} not used: {reason}", subject))
    return tuple(cautions)


def _follows_rule(name: DatasetName, path: Path) -> bool:
    return name in _RULES and _RULES[name](path) is not None


def _reason(path: Path, otherwise: str) -> str:
    """Return why a file is not used, `otherwise` if it is an image; "" if it is no picture and not named like one."""
    named = is_named_like_an_image(path.name)
    if not path.exists():
        return "the link is broken" if named else ""
    kind = recognise_file(path)
    if kind is None or kind.kind == "document":
        what = kind.name if kind else "not a picture that can be recognised"
        return f"it is {what}" if named else ""
    return otherwise if kind.kind == "image" else f"it is {kind.name}, which is not supported"


def _named(root: Path, reasons: Mapping[Path, str]) -> tuple[FileLeftOut, ...]:
    named = [FileLeftOut(readable_path(path.relative_to(root)), reason) for path, reason in reasons.items() if reason]
    return tuple(sorted(named, key=lambda one: one.file))


def _links(root: Path) -> list[Path]:
    """Return the links to folders below a folder."""
    return [Path(at, name) for at, names, _ in os.walk(root) for name in names if Path(at, name).is_symlink()]
