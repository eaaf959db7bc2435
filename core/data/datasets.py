"""Find the labelled images of public datasets on disk, and check them against the official counts."""

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.labels import BACH, BINARY, BREAKHIS, IDC, LabelSet, Malignancy

_LABEL_SETS = {known.name: known for known in (BINARY, BREAKHIS, BACH, IDC)}

# Spanhol et al., IEEE TBME 2016: SOB_<B|M>_<subtype>-<year>-<slide>-<magnification>-<sequence>.png
_BREAKHIS_NAME = re.compile(
    r"SOB_(?P<malignancy>[BM])_(?P<code>A|F|PT|TA|DC|LC|MC|PC)"
    r"-(?P<slide>\d\d-(?P<patient>\d+)[A-Z]*)-(?P<magnification>40|100|200|400)-\d+\.png"
)
_BREAKHIS_CODES = dict(zip(("A", "F", "PT", "TA", "DC", "LC", "MC", "PC"), BREAKHIS.classes, strict=True))

DatasetName = Literal["breakhis", "bach", "idc", "folder"]

_BACH_FOLDERS = dict(zip(("Normal", "Benign", "InSitu", "Invasive"), BACH.classes, strict=True))
# BACH calls itself 200x, but the pixels of BreaKHis' 200X are a quarter as large; the size of a pixel cannot mislead.
_BACH_PIXEL = "0.42 um/px"
_IDC_NAME = re.compile(r"(?P<patient>\d+)_idx\d+_x\d+_y\d+_class(?P<label>[01])\.png")
_IDC_PIXEL = "4 um/px"  # Cruz-Roa et al., SPIE Medical Imaging 2014: slides of 0.25 um/px, made 16 times smaller
_IDC_FOLDER = "IDC_regular_ps50_idx5"
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a public dataset; `patient_id` is the unit of every split."""

    path: Path
    label: str
    patient_id: str
    magnification: str  # "40X" as BreaKHis writes it, or the size of a pixel
    dataset: str  # the name of the label set

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

    @property
    def slide_id(self) -> str:
        """The slide, letters and all ("14-22549AB"); the patient where names tell no more."""
        match = _BREAKHIS_NAME.fullmatch(self.path.name) if self.dataset == BREAKHIS.name else None
        return match["slide"] if match else self.patient_id

    def class_in(self, label_set: LabelSet) -> int:
        """Give the position of this image's class among a network's outputs.

        Raises:
            ValueError: If the label set is neither benign / malignant nor this image's own.
        """
        if label_set == BINARY:
            return BINARY.classes.index(self.malignancy)
        if label_set != self.label_set:
            raise ValueError(
                f"{self.path.name} is labelled as in {self.dataset}, which has no {label_set.name} classes"
            )
        return label_set.classes.index(self.label)


def breakhis_image(path: Path) -> LabelledImage | None:
    """Read everything from a BreaKHis file name, whether there is such a file or not; None if it breaks the rule."""
    match = _BREAKHIS_NAME.fullmatch(path.name)
    if match is None:
        return None
    label = _BREAKHIS_CODES[match["code"]]
    if BREAKHIS.malignancy(label)[0].upper() != match["malignancy"]:
        return None
    return LabelledImage(path, label, match["patient"], f"{match['magnification']}X", BREAKHIS.name)


def label_set_with(labels: set[str]) -> LabelSet:
    """Find the first known label set, beginning with benign / malignant, that has all of these classes.

    Raises:
        ValueError: If none has; it shows them.
    """
    for label_set in _LABEL_SETS.values():
        if labels <= set(label_set.classes):
            return label_set
    known = "; ".join(f"{name}: {', '.join(label_set.classes)}" for name, label_set in _LABEL_SETS.items())
    raise ValueError(f"no known label set has all of {', '.join(sorted(labels))} ({known})")


@dataclass(frozen=True, slots=True)
class OfficialCounts:
    """The counts of one release; `magnifications` and `patients` are empty or 0 where a release does not tell them."""

    classes: tuple[tuple[str, int], ...]
    magnifications: tuple[tuple[str, int], ...] = ()
    patients: int = 0

    def __post_init__(self) -> None:
        if self.magnifications and sum(count for _, count in self.magnifications) != self.images:
            raise ValueError("the counts by class and by magnification add up to different numbers of images")

    @property
    def images(self) -> int:
        """Images of the whole release."""
        return sum(count for _, count in self.classes)


# Spanhol et al., IEEE TBME 2016, tables 1 and 2. The 82 patients named there carry 70 numbers (README, Decisions).
_BREAKHIS = OfficialCounts(
    tuple(zip(BREAKHIS.classes, (444, 1014, 453, 569, 3451, 626, 792, 560), strict=True)),
    (("40X", 1995), ("100X", 2081), ("200X", 2013), ("400X", 1820)),
    patients=70,
)
# Aresta et al., MedIA 2019: 100 images of each class.
_BACH = OfficialCounts(tuple((label, 100) for label in BACH.classes))
# Janowczyk and Madabhushi, J Pathol Inform 2016; the release holds 279 folders of patients.
_IDC = OfficialCounts(tuple(zip(IDC.classes, (198_738, 78_786), strict=True)), patients=279)

OFFICIAL_COUNTS = {BREAKHIS.name: _BREAKHIS, BACH.name: _BACH, IDC.name: _IDC}


class UnknownNameError(ValueError):
    """Files of a dataset whose names do not follow its rule, so that their label is not known."""


def load_dataset(name: DatasetName, root: Path) -> list[LabelledImage]:
    """List the images of a dataset below a folder, in the order of their names.

    Raises:
        FileNotFoundError: If there is no such folder, or no image of the dataset in it.
        UnknownNameError: If the label of a file there is not known; it names them.
        ValueError: If what a table says cannot be right.
    """
    loaders: Mapping[DatasetName, Callable[[Path], list[LabelledImage]]] = {
        "breakhis": breakhis,
        "bach": bach,
        "idc": idc,
        "folder": listed,
    }
    return loaders[name](root)


def breakhis(root: Path) -> list[LabelledImage]:
    """List the BreaKHis images below a folder, in the order of their names.

    Everything is read from the file names, so the folder may be the dataset's tree, the folder
    above it, or a flat one. Letters of a slide mark parts of one accession and are left out of the
    patient: 22549AB and 22549CD are one, and so is 13412, which appears as two subtypes.

    Raises:
        FileNotFoundError: If there is no such folder, or no PNG file in it.
        UnknownNameError: If a PNG file's name does not follow the dataset's rule; it names them.
    """
    paths = _files(root, ".png")
    return _known([(path, breakhis_image(path)) for path in paths], root, "BreaKHis")


def bach(root: Path) -> list[LabelledImage]:
    """List the BACH microscopy images (`Photos/<class>/*.tif`) below a folder, in the order of their names.

    The label is that of the folder and of `microscopy_ground_truth.csv`, of either if the other is not there.
    The release does not say which images are of one patient: without a `patients.csv` (`file,patient_id`, no
    header needed) below the folder, every image counts as a patient of its own, and intervals come out too narrow.

    Raises:
        FileNotFoundError: If there is no such folder, or no TIFF file in it.
        UnknownNameError: If neither tells the label of a TIFF file; it names them.
        ValueError: If folder and table disagree, or `patients.csv` leaves images out.
    """
    paths = _files(root, ".tif")
    told = _pairs_below(root, "microscopy_ground_truth.csv")
    patients = _pairs_below(root, "patients.csv")
    if patients and (left_out := [path.name for path in paths if path.name not in patients]):
        raise ValueError(f"patients.csv leaves out {len(left_out)} of {len(paths)} images: {_shown(left_out)}")
    found: list[tuple[Path, LabelledImage | None]] = []
    for path in paths:
        folder, table = path.parent.name, told.get(path.name, path.parent.name)
        if folder in _BACH_FOLDERS and table != folder:
            raise ValueError(f"{path.name} lies in {folder}, but microscopy_ground_truth.csv calls it {table}")
        label, patient = _BACH_FOLDERS.get(table), patients.get(path.name, path.stem)
        found.append((path, LabelledImage(path, label, patient, _BACH_PIXEL, BACH.name) if label else None))
    return _known(found, root, "BACH")


def idc(root: Path) -> list[LabelledImage]:
    """List the IDC patches (`<patient>/<0|1>/*.png`) below a folder, in the order of their names.

    One copy in circulation holds all patients twice, the second time in a folder named as the release; where there is
    such a folder, only what lies in it is listed. No file is opened: 277,524 patches take seconds.

    Raises:
        FileNotFoundError: If there is no such folder, or no PNG file in it.
        UnknownNameError: If a file's name does not follow the rule, or is at odds with its folder; it names them.
    """
    paths = _files(root, ".png")
    inside = [path for path in paths if _IDC_FOLDER in path.parts]
    return _known([(path, _idc_image(path)) for path in inside or paths], root, "IDC")


def _idc_image(path: Path) -> LabelledImage | None:
    match = _IDC_NAME.fullmatch(path.name)
    if match is None or (path.parent.name in ("0", "1") and path.parent.name != match["label"]):
        return None
    return LabelledImage(path, IDC.classes[int(match["label"])], match["patient"], _IDC_PIXEL, IDC.name)


def listed(root: Path) -> list[LabelledImage]:
    """List the images that `labels.csv` in a folder names: file, label, patient_id and perhaps magnification.

    The labels say which known label set they are from: the first, beginning with benign / malignant, that has them all.

    Raises:
        FileNotFoundError: If there is no `labels.csv`, or an image it names is not there.
        ValueError: If a column is missing, a file is named twice, or the labels fit no known set.
    """
    table = root / "labels.csv"
    if not table.is_file():
        raise FileNotFoundError(f"there is no {table}: it names the images, with columns file, label, patient_id")
    with table.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        if missing := {"file", "label", "patient_id"} - set(reader.fieldnames or ()):
            raise ValueError(f"{table} has no column {', '.join(sorted(missing))}")
        rows = list(reader)
    if not rows:
        raise FileNotFoundError(f"{table} names no images")
    repeated = [file for file, times in Counter(row["file"] for row in rows).items() if times > 1]
    if repeated:
        raise ValueError(f"{table} names files more than once: {_shown(repeated)}")
    if absent := [row["file"] for row in rows if not (root / row["file"]).is_file()]:
        raise FileNotFoundError(f"{len(absent)} of {len(rows)} images of {table} are not there: {_shown(absent)}")
    dataset = label_set_with({row["label"] for row in rows}).name
    return [
        LabelledImage(root / row["file"], row["label"], row["patient_id"], row.get("magnification") or "", dataset)
        for row in sorted(rows, key=lambda row: row["file"])
    ]


def shortfall(images: Sequence[LabelledImage], name: DatasetName) -> tuple[str, ...]:
    """Say in words what is missing, or too much, against the official release; () when complete.

    A folder of one's own has no official counts, so nothing is ever missing from it.
    """
    if name == "folder":
        return ()
    official = OFFICIAL_COUNTS[name]
    by_class = Counter(image.label for image in images)
    by_magnification = Counter(image.magnification for image in images)
    patients = len({image.patient_id for image in images})
    counts = [
        ("images", len(images), official.images),
        ("patients", patients if official.patients else 0, official.patients),
        *((f"{label} images", by_class[label], count) for label, count in official.classes),
        *((f"{word} images", by_magnification[word], count) for word, count in official.magnifications),
    ]
    return tuple(
        f"{what}: {there:,} of {due:,}, {abs(due - there):,} {'missing' if there < due else 'too many'}"
        for what, there, due in counts
        if there != due
    )


def _files(root: Path, suffix: str) -> list[Path]:
    """Find the files below a folder in the order of their names; hidden ones are other systems' litter."""
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    found = sorted(
        (name, folder)
        for folder, _, names in os.walk(root)
        for name in names
        if name.endswith(suffix) and not name.startswith(".")
    )
    if not found:
        raise FileNotFoundError(f"there are no {suffix[1:].upper()} images below {root}")
    return [Path(folder, name) for name, folder in found]


def _pairs_below(root: Path, table: str) -> dict[str, str]:
    """Read the first two columns of the tables of this name; a header is a pair that names no image."""
    rows = [row for path in sorted(root.rglob(table)) for row in csv.reader(path.open(encoding="utf-8-sig"))]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}


def _known(found: Sequence[tuple[Path, LabelledImage | None]], root: Path, dataset: str) -> list[LabelledImage]:
    if strange := [str(path.relative_to(root)) for path, image in found if image is None]:
        raise UnknownNameError(f"{len(strange)} of {len(found)} files are not named as in {dataset}: {_shown(strange)}")
    return [image for _, image in found if image is not None]


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
