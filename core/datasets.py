"""Finds the labelled images of public datasets on disk and says what their names tell."""

import re
from dataclasses import dataclass
from pathlib import Path

from core.labels import BACH, BREAKHIS, IDC, LabelSet, Malignancy

_LABEL_SETS = {known.name: known for known in (BREAKHIS, BACH, IDC)}

# Spanhol et al., IEEE TBME 2016: SOB_<B|M>_<subtype>-<year>-<slide>-<magnification>-<sequence>.png
_BREAKHIS_NAME = re.compile(
    r"SOB_(?P<malignancy>[BM])_(?P<code>A|F|PT|TA|DC|LC|MC|PC)"
    r"-\d\d-(?P<patient>\d+)[A-Z]*-(?P<magnification>40|100|200|400)-\d+\.png"
)
_BREAKHIS_CODES = dict(zip(("A", "F", "PT", "TA", "DC", "LC", "MC", "PC"), BREAKHIS.classes, strict=True))
_NAMES_SHOWN = 5


class UnknownNameError(ValueError):
    """Files of a dataset whose names do not follow its rule, so that their label is not known."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a public dataset; `patient_id` is the unit of every split."""

    path: Path
    label: str
    patient_id: str
    magnification: str  # the dataset's own word: "40X"
    dataset: str

    def __post_init__(self) -> None:
        if self.dataset not in _LABEL_SETS:
            raise ValueError(f"{self.dataset!r} is not a known dataset: {', '.join(_LABEL_SETS)}")
        if self.label not in self.label_set.classes:
            raise ValueError(f"{self.label!r} is not a class of {self.dataset}")
        if not self.patient_id:
            raise ValueError(f"{self.path.name} has no patient_id")

    @property
    def label_set(self) -> LabelSet:
        """The classes that this image's label is one of."""
        return _LABEL_SETS[self.dataset]

    @property
    def malignancy(self) -> Malignancy:
        """Benign or malignant."""
        return self.label_set.malignancy(self.label)


def breakhis(root: Path) -> list[LabelledImage]:
    """List the BreaKHis images below a folder, in the order of their names.

    Everything is read from the file names, so the folder may be the dataset's tree, the folder
    above it, or a flat one. Letters of a slide mark parts of one accession and are left out of the
    patient: 22549AB and 22549CD are one, and so is 13412, which appears as two subtypes.

    Raises:
        FileNotFoundError: If there is no such folder, or no PNG file in it.
        UnknownNameError: If a PNG file's name does not follow the dataset's rule; it names them.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    paths = sorted(root.rglob("*.png"), key=lambda path: (path.name, path))
    if not paths:
        raise FileNotFoundError(f"there are no PNG images below {root}")
    found = [(path, _read_breakhis_name(path)) for path in paths]
    if strange := [str(path.relative_to(root)) for path, image in found if image is None]:
        shown = ", ".join(strange[:_NAMES_SHOWN]) + (", ..." if len(strange) > _NAMES_SHOWN else "")
        raise UnknownNameError(f"{len(strange)} of {len(paths)} PNG files are not named as in BreaKHis: {shown}")
    return [image for _, image in found if image is not None]


def _read_breakhis_name(path: Path) -> LabelledImage | None:
    match = _BREAKHIS_NAME.fullmatch(path.name)
    if match is None:
        return None
    label = _BREAKHIS_CODES[match["code"]]
    if BREAKHIS.malignancy(label)[0].upper() != match["malignancy"]:
        return None
    return LabelledImage(path, label, match["patient"], f"{match['magnification']}X", BREAKHIS.name)
