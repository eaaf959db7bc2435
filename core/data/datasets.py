"""List the labelled images of public datasets on disk, and compare them with the official counts."""

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
# BACH calls itself 200x, but the pixels of BreaKHis' 200X are a quarter as large; the pixel size is unambiguous.
_BACH_PIXEL = "0.42 um/px"
_IDC_NAME = re.compile(r"(?P<patient>\d+)_idx\d+_x\d+_y\d+_class(?P<label>[01])\.png")
_IDC_PIXEL = "4 um/px"  # Cruz-Roa et al., SPIE Medical Imaging 2014: slides of 0.25 um/px, reduced 16 times
_IDC_FOLDER = "IDC_regular_ps50_idx5"
_NAMES_SHOWN = 5  # of the files in an error


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
            raise ValueError(f"{self.dataset!r} is not a known dataset; choose one of {', '.join(_LABEL_SETS)}")
        if self.label not in self.label_set.classes:
            raise ValueError(
                f"{self.label!r} is not a class of {self.dataset}; its classes are {', '.join(self.label_set.classes)}"
            )
        if not self.patient_id:
            raise ValueError(f"{self.path.name} has no patient_id")

    @property
    def label_set(self) -> LabelSet:
        """The label set that this image's label belongs to."""
        return _LABEL_SETS[self.dataset]

    @property
    def malignancy(self) -> Malignancy:
        """The malignancy of this image's label."""
        return self.label_set.malignancy(self.label)

    @property
    def slide_id(self) -> str:
        """The slide with its letters ("14-22549AB"), or the patient if the file name does not contain a slide."""
        match = _BREAKHIS_NAME.fullmatch(self.path.name) if self.dataset == BREAKHIS.name else None
        return match["slide"] if match else self.patient_id

    def class_in(self, label_set: LabelSet) -> int:
        """Return the index of this image's class among a network's outputs.

        Raises:
            ValueError: If the label set is neither benign / malignant nor that of this image.
        """
        if label_set == BINARY:
            return BINARY.classes.index(self.malignancy)
        if label_set != self.label_set:
            raise ValueError(f"{self.path.name} has a label of {self.dataset}, which has no {label_set.name} classes")
        return label_set.classes.index(self.label)


def parse_breakhis_name(path: Path) -> LabelledImage | None:
    """Read label, patient and magnification from a BreaKHis file name; None if it does not follow the naming rule."""
    match = _BREAKHIS_NAME.fullmatch(path.name)
    if match is None:
        return None
    label = _BREAKHIS_CODES[match["code"]]
    if BREAKHIS.malignancy(label)[0].upper() != match["malignancy"]:
        return None
    return LabelledImage(path, label, match["patient"], f"{match['magnification']}X", BREAKHIS.name)


def find_label_set(labels: set[str]) -> LabelSet:
    """Return the first known label set, starting with benign / malignant, that has all of these classes.

    Raises:
        ValueError: If there is none; the message lists the known sets.
    """
    for label_set in _LABEL_SETS.values():
        if labels <= set(label_set.classes):
            return label_set
    known = "; ".join(f"{name}: {', '.join(label_set.classes)}" for name, label_set in _LABEL_SETS.items())
    raise ValueError(f"no known label set contains all of {', '.join(sorted(labels))}; known are {known}")


@dataclass(frozen=True, slots=True)
class OfficialCounts:
    """The image and patient counts of a release; `magnifications` is empty and `patients` 0 if not published."""

    classes: tuple[tuple[str, int], ...]
    magnifications: tuple[tuple[str, int], ...] = ()
    patients: int = 0

    def __post_init__(self) -> None:
        if self.magnifications and sum(count for _, count in self.magnifications) != self.images:
            raise ValueError("the counts by class and by magnification must add up to the same number of images")

    @property
    def images(self) -> int:
        """The number of images in the release."""
        return sum(count for _, count in self.classes)


# Spanhol et al., IEEE TBME 2016, tables 1 and 2. The 82 patients stated there have 70 numbers (README, Decisions).
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
    """File names of a dataset do not follow its naming rule, so the labels are unknown."""


def load_dataset(name: DatasetName, root: Path) -> list[LabelledImage]:
    """List the images of a dataset below a folder, in the order of their names.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no image of the dataset.
        UnknownNameError: If the label of a file is unknown; the message names the files.
        ValueError: If a table is inconsistent with the files or with itself.
    """
    loaders: Mapping[DatasetName, Callable[[Path], list[LabelledImage]]] = {
        "breakhis": list_breakhis,
        "bach": list_bach,
        "idc": list_idc,
        "folder": list_labelled_folder,
    }
    return loaders[name](root)


def list_breakhis(root: Path) -> list[LabelledImage]:
    """List the BreaKHis images below a folder, in the order of their names.

    Everything is read from the file names, so the folder may be the dataset's tree, the folder above it, or a flat
    one. The letters of a slide mark parts of one accession and are not part of the patient: 22549AB and 22549CD are
    one patient, and so is 13412, which appears with two subtypes.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no PNG file.
        UnknownNameError: If the name of a PNG file does not follow the dataset's rule; the message names the files.
    """
    paths = _list_files(root, ".png")
    return _require_known([(path, parse_breakhis_name(path)) for path in paths], root, "BreaKHis")


def list_bach(root: Path) -> list[LabelledImage]:
    """List the BACH microscopy images (`Photos/<class>/*.tif`) below a folder, in the order of their names.

    The label comes from the folder and from `microscopy_ground_truth.csv`; one of them is enough.
    The release does not state which images belong to one patient: without a `patients.csv` (`file,patient_id`, no
    header needed) below the folder, every image counts as a separate patient, and intervals are too narrow.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no TIFF file.
        UnknownNameError: If neither gives the label of a TIFF file; the message names the files.
        ValueError: If folder and table disagree, or images are missing from `patients.csv`.
    """
    paths = _list_files(root, ".tif")
    table_labels = _read_pairs(root, "microscopy_ground_truth.csv")
    patients = _read_pairs(root, "patients.csv")
    if patients and (missing := [path.name for path in paths if path.name not in patients]):
        raise ValueError(
            f"patients.csv lacks {len(missing)} of {len(paths)} images; add a line for each: {_join_first(missing)}"
        )
    images: list[tuple[Path, LabelledImage | None]] = []
    for path in paths:
        folder, table = path.parent.name, table_labels.get(path.name, path.parent.name)
        if folder in _BACH_FOLDERS and table != folder:
            raise ValueError(
                f"{path.name} is in the folder {folder}, but microscopy_ground_truth.csv labels it {table}"
            )
        label, patient = _BACH_FOLDERS.get(table), patients.get(path.name, path.stem)
        images.append((path, LabelledImage(path, label, patient, _BACH_PIXEL, BACH.name) if label else None))
    return _require_known(images, root, "BACH")


def list_idc(root: Path) -> list[LabelledImage]:
    """List the IDC patches (`<patient>/<0|1>/*.png`) below a folder, in the order of their names.

    One copy in circulation contains all patients twice, the second time in a folder named after the release; if this
    folder exists, only its files are listed. No file is opened: listing 277,524 patches takes seconds.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no PNG file.
        UnknownNameError: If file names do not follow the rule or contradict their folder; the message names them.
    """
    paths = _list_files(root, ".png")
    inside = [path for path in paths if _IDC_FOLDER in path.parts]
    return _require_known([(path, _idc_image(path)) for path in inside or paths], root, "IDC")


def _idc_image(path: Path) -> LabelledImage | None:
    match = _IDC_NAME.fullmatch(path.name)
    if match is None or (path.parent.name in ("0", "1") and path.parent.name != match["label"]):
        return None
    return LabelledImage(path, IDC.classes[int(match["label"])], match["patient"], _IDC_PIXEL, IDC.name)


def list_labelled_folder(root: Path) -> list[LabelledImage]:
    """List the images in `labels.csv` of a folder, with columns file, label, patient_id and optionally magnification.

    The labels determine the label set: the first one, starting with benign / malignant, that has them all.

    Raises:
        FileNotFoundError: If `labels.csv` or an image listed in it does not exist.
        ValueError: If a column is missing, a file is listed twice, or the labels fit no known set.
    """
    table = root / "labels.csv"
    if not table.is_file():
        raise FileNotFoundError(
            f"there is no {table}; it must list the images in the columns file, label and patient_id"
        )
    with table.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        if missing := {"file", "label", "patient_id"} - set(reader.fieldnames or ()):
            raise ValueError(f"{table} has no column {', '.join(sorted(missing))}")
        rows = list(reader)
    if not rows:
        raise FileNotFoundError(f"there are no images in {table}")
    repeated = [file for file, times in Counter(row["file"] for row in rows).items() if times > 1]
    if repeated:
        raise ValueError(f"{table} lists files more than once: {_join_first(repeated)}")
    if absent := [row["file"] for row in rows if not (root / row["file"]).is_file()]:
        raise FileNotFoundError(f"{len(absent)} of {len(rows)} images in {table} do not exist: {_join_first(absent)}")
    dataset = find_label_set({row["label"] for row in rows}).name
    return [
        LabelledImage(root / row["file"], row["label"], row["patient_id"], row.get("magnification") or "", dataset)
        for row in sorted(rows, key=lambda row: row["file"])
    ]


def describe_shortfall(images: Sequence[LabelledImage], name: DatasetName) -> tuple[str, ...]:
    """Return what is missing or surplus compared with the official release, as text; () when complete.

    A user's own folder has no official counts, so it is always complete.
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
        f"{noun}: {actual:,} of {due:,}, {abs(due - actual):,} {'missing' if actual < due else 'too many'}"
        for noun, actual, due in counts
        if actual != due
    )


def _list_files(root: Path, suffix: str) -> list[Path]:
    """Return the files below a folder in the order of their names; hidden files are ignored."""
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}")
    files = sorted(
        (name, folder)
        for folder, _, names in os.walk(root)
        for name in names
        if name.endswith(suffix) and not name.startswith(".")
    )
    if not files:
        raise FileNotFoundError(f"there are no {suffix[1:].upper()} images below {root}")
    return [Path(folder, name) for name, folder in files]


def _read_pairs(root: Path, table: str) -> dict[str, str]:
    """Read the first two columns of the tables of this name; a header is a harmless pair without an image."""
    rows = [row for path in sorted(root.rglob(table)) for row in csv.reader(path.open(encoding="utf-8-sig"))]
    return {row[0].strip(): row[1].strip() for row in rows if len(row) > 1}


def _require_known(
    images: Sequence[tuple[Path, LabelledImage | None]], root: Path, dataset: str
) -> list[LabelledImage]:
    if unknown := [str(path.relative_to(root)) for path, image in images if image is None]:
        raise UnknownNameError(
            f"{len(unknown)} of {len(images)} files do not follow the naming rule of {dataset}: {_join_first(unknown)}"
        )
    return [image for _, image in images if image is not None]


def _join_first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
