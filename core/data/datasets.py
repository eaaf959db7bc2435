"""List the labelled images of public datasets on disk, and compare them with the official counts."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations
from pathlib import Path, PurePosixPath
from typing import Literal

from core.data.folder_files import find_table, find_tables, list_pictures
from core.data.label_table import LabelledFile, find_label_table, read_labels
from core.identifiers import describe_loss, fold_identifier, fold_text, tidy_identifier, unify_identifiers
from core.imaging.scale import Scale
from core.labels import BACH, BINARY, BREAKHIS, IDC, LabelSet, Malignancy
from core.tables import read_table
from core.wording import join_first

_LABEL_SETS = {known.name: known for known in (BINARY, BREAKHIS, BACH, IDC)}

# Spanhol et al., IEEE TBME 2016: SOB_<B|M>_<subtype>-<year>-<slide>-<magnification>-<sequence>.png
_BREAKHIS_NAME = re.compile(
    r"SOB_(?P<malignancy>[BM])_(?P<code>A|F|PT|TA|DC|LC|MC|PC)"
    r"-(?P<slide>\d\d-(?P<patient>\d+)[A-Z]*)-(?P<magnification>40|100|200|400)-\d+"
)
# Computed from the published optics (Spanhol et al., 2016, table 1): camera pixels of 6.5 µm behind a relay of 3.3 and
# objectives of 4x to 40x. The "40X" of a file name is an objective of 4x times the eyepiece.
_BREAKHIS_UM_PER_PX = {"40": 0.49, "100": 0.20, "200": 0.10, "400": 0.05}
_BREAKHIS_CODES = dict(zip(("A", "F", "PT", "TA", "DC", "LC", "MC", "PC"), BREAKHIS.classes, strict=True))

DatasetName = Literal["breakhis", "bach", "idc", "folder"]
PATIENT_TABLE = "Table of the patients of BACH, if it is not in its folder or beside it."  # the help, likewise
OUTSIDE = "Let labels.csv name links and files outside its folder."  # the help of the option in every command

_BACH_LABELS = "microscopy_ground_truth"  # the name of the table, without the suffix
_PATIENTS = ("bach_patients", "patients")  # below the dataset's folder; beside it only the first is looked for
# BACH calls itself 200x, but the pixels of BreaKHis' 200X are a quarter as large; the pixel size is unambiguous.
_BACH_PIXEL, _BACH_UM_PER_PX = "0.42 um/px", 0.42
_IDC_NAME = re.compile(r"(?P<patient>\d+)_idx\d+_x\d+_y\d+_class(?P<label>[01])")
_IDC_PIXEL, _IDC_UM_PER_PX = (
    "4 um/px",
    4.0,
)  # Cruz-Roa et al., SPIE Medical Imaging 2014: slides of 0.25 um/px, reduced 16 times
_IDC_FOLDER = "IDC_regular_ps50_idx5"


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One image of a dataset; `patient_id` is the unit of every split.

    Within a dataset it has one spelling for each patient; `spelling` is what a table has for this image.
    """

    path: Path
    label: str
    patient_id: str
    magnification: str  # "40X" as BreaKHis writes it, or the size of a pixel
    dataset: str  # the name of the label set
    spelling: str = ""
    um_per_px: float | None = None  # micrometres per pixel; None: unknown, unless the file states it
    patient_known: bool = True  # otherwise nobody wrote the patient down, and this image counts as one of its own

    def __post_init__(self) -> None:
        if self.um_per_px is not None:
            Scale(self.um_per_px, "dataset")
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
    def written_patient(self) -> str:
        """The patient as this image's table has it."""
        return self.spelling or self.patient_id

    @property
    def malignancy(self) -> Malignancy:
        """The malignancy of this image's label."""
        return self.label_set.malignancy(self.label)

    @property
    def slide_id(self) -> str:
        """The slide with its letters ("14-22549AB"), or the patient if the file name does not contain a slide."""
        match = _BREAKHIS_NAME.fullmatch(self.path.stem) if self.dataset == BREAKHIS.name else None
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
    match = _BREAKHIS_NAME.fullmatch(path.stem)
    if match is None:
        return None
    label = _BREAKHIS_CODES[match["code"]]
    if BREAKHIS.malignancy(label)[0].upper() != match["malignancy"]:
        return None
    magnification = match["magnification"]
    scale = _BREAKHIS_UM_PER_PX[magnification]
    return LabelledImage(path, label, match["patient"], f"{magnification}X", BREAKHIS.name, um_per_px=scale)


def unify_patients(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Return the images with one spelling of each patient, so that equal patients are equal as text."""
    patients = unify_identifiers([image.patient_id for image in images])
    return [
        image if image.patient_id == patient else replace(image, patient_id=patient, spelling=image.written_patient)
        for image, patient in zip(images, patients, strict=True)
    ]


def find_label_set(labels: set[str]) -> LabelSet:
    """Return the first known label set, starting with benign / malignant, that has all of these classes.

    Case and blanks do not matter: "In situ" is in_situ.

    Raises:
        ValueError: If there is none; the message lists the known sets.
    """
    for label_set in _LABEL_SETS.values():
        if all(label_set.find(label) for label in labels):
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


def load_dataset(
    name: DatasetName, root: Path, *, outside: bool = False, patients: Path | None = None
) -> list[LabelledImage]:
    """List the images of a dataset below a folder, in the order of their names.

    Args:
        name: The dataset, or `folder` for images of one's own.
        root: The folder.
        outside: Whether `labels.csv` may name links and files outside the folder.
        patients: A table of the patients of BACH, if it is not in its folder or beside it.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no image of the dataset.
        UnknownNameError: If the label of a file is unknown; the message names the files.
        ValueError: If a table is inconsistent with the files or with itself, or patients are given for another dataset.
    """
    if patients is not None and name != "bach":
        raise ValueError(f"a table of patients is for BACH only: {name} states the patients of its images itself")
    loaders: Mapping[DatasetName, Callable[[Path], list[LabelledImage]]] = {
        "breakhis": list_breakhis,
        "bach": partial(list_bach, patients=patients),
        "idc": list_idc,
        "folder": partial(list_labelled_folder, outside=outside),
    }
    return loaders[name](root)


def load_folders(
    name: DatasetName, roots: Sequence[Path], *, outside: bool = False, patients: Path | None = None
) -> list[LabelledImage]:
    """List the images of a dataset that lies in several folders, folder by folder, with one spelling of each patient.

    Raises:
        FileNotFoundError: If a folder does not exist or contains no image of the dataset.
        UnknownNameError: If the label of a file is unknown; the message names the files.
        ValueError: If one folder contains another, or as in `load_dataset`.
    """
    for inner, outer in permutations([root.resolve() for root in roots], 2):
        if inner.is_relative_to(outer):
            raise ValueError(f"{inner} is in {outer}: its images would be listed twice")
    images = [image for root in roots for image in load_dataset(name, root, outside=outside, patients=patients)]
    return unify_patients(images) if len(roots) > 1 else images


def list_breakhis(root: Path) -> list[LabelledImage]:
    """List the BreaKHis images below a folder, in the order of their names.

    Everything is read from the file names, so the folder may be the dataset's tree, the folder above it, or a flat
    one. The letters of a slide mark parts of one accession and are not part of the patient: 22549AB and 22549CD are
    one patient, and so is 13412, which appears with two subtypes.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no PNG file.
        UnknownNameError: If the name of a PNG file does not follow the dataset's rule; the message names the files.
    """
    return _list_named(root, ".png", parse_breakhis_name, "BreaKHis")


def list_bach(root: Path, patients: Path | None = None) -> list[LabelledImage]:
    """List the BACH microscopy images (`Photos/<class>/*.tif`) below a folder, in the order of their names.

    The label comes from the folder and from `microscopy_ground_truth.csv`; one of them is enough.
    The organisers name the patients of some images only. Their table (`bach_patients.csv` or `patients.csv`, with a
    file and its patient in each line, no header needed) is `patients`, or is found below the folder or beside it. An
    image that it does not name counts as a patient of its own, whom the organisers take to be another person.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no TIFF file, or the table does not exist.
        UnknownNameError: If neither gives the label of a TIFF file; the message names the files.
        ValueError: If folder and table disagree, or the table of patients names none of the images.
    """
    labels = _read_pairs(find_tables(root, _BACH_LABELS), "label")
    tables = [patients] if patients else _find_patient_tables(root)
    patient_of = _read_pairs(tables, "patient_id")

    def parse(path: Path) -> LabelledImage | None:
        folder, table = BACH.find(path.parent.name), labels.get(fold_text(path.name))
        label = folder if table is None else BACH.find(table)
        if folder and table is not None and label != folder:
            raise ValueError(
                f"{path.name} is in the folder {path.parent.name}, but microscopy_ground_truth.csv labels it {table}"
            )
        if not label:
            return None
        spelling = patient_of.get(fold_text(path.name), "")
        return LabelledImage(
            path,
            label,
            tidy_identifier(spelling) or path.stem,
            _BACH_PIXEL,
            BACH.name,
            spelling,
            um_per_px=_BACH_UM_PER_PX,
            patient_known=bool(spelling),
        )

    images = _list_named(root, ".tif", parse, "BACH")
    if tables and not any(image.patient_known for image in images):
        named = join_first(str(table) for table in tables)
        raise ValueError(f"{named} names the patient of none of the {len(images)} images in {root}")
    return unify_patients(images)


def _find_patient_tables(root: Path) -> list[Path]:
    below = [table for name in _PATIENTS for table in find_tables(root, name)]
    beside = find_table(root.resolve().parent, _PATIENTS[0])
    return below or ([beside] if beside else [])


def list_idc(root: Path) -> list[LabelledImage]:
    """List the IDC patches (`<patient>/<0|1>/*.png`) below a folder, in the order of their names.

    One copy in circulation contains all patients twice, the second time in a folder named after the release; if this
    folder exists, only its files are listed. No PNG file is opened: listing 277,524 patches takes seconds.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no PNG file.
        UnknownNameError: If file names do not follow the rule or contradict their folder; the message names them.
    """
    return _list_named(root, ".png", parse_idc_name, "IDC", within=_IDC_FOLDER)


def parse_idc_name(path: Path) -> LabelledImage | None:
    """Read label and patient from the name of an IDC patch; None if it does not follow the rule or its folder."""
    match = _IDC_NAME.fullmatch(path.stem)
    if match is None or (path.parent.name in ("0", "1") and path.parent.name != match["label"]):
        return None
    label = IDC.classes[int(match["label"])]
    return LabelledImage(path, label, match["patient"], _IDC_PIXEL, IDC.name, um_per_px=_IDC_UM_PER_PX)


def list_labelled_folder(root: Path, *, outside: bool = False) -> list[LabelledImage]:
    """List the images in the table of labels of a folder, in the order of their names.

    `labels.csv`, or a workbook `labels.xlsx`, has the columns file, label, patient_id and optionally magnification and
    um_per_px.
    The labels determine the label set: the first one, starting with benign / malignant, that has them all.

    Args:
        root: The folder.
        outside: Whether the table may name links and files outside the folder.

    Raises:
        FileNotFoundError: If the table or an image listed in it does not exist.
        ValueError: If the table cannot be read, a file is listed twice or with two labels, or the labels fit no known
            set; the message names the line.
    """
    table = find_label_table(root)
    files = sorted(read_labels(table, outside=outside), key=lambda file: file.path.as_posix())
    label_set = _label_set_of(table, files)
    patients = [file.patient_id for file in files]
    return [
        LabelledImage(
            file.path, label, patient, file.magnification, label_set.name, file.patient_id, um_per_px=file.um_per_px
        )
        for file, patient in zip(files, unify_identifiers(patients), strict=True)
        if (label := label_set.find(file.label))
    ]


def _label_set_of(table: Path, files: Sequence[LabelledFile]) -> LabelSet:
    try:
        return find_label_set({file.label for file in files})
    except ValueError as error:
        unknown = [file for file in files if not any(known.find(file.label) for known in _LABEL_SETS.values())]
        where = f", {unknown[0].place}, column label" if unknown else ", column label"
        raise ValueError(f"{table}{where}: {error}") from error


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


def _list_named(
    root: Path, suffix: str, parse: Callable[[Path], LabelledImage | None], dataset: str, within: str = ""
) -> list[LabelledImage]:
    """List the pictures whose names or folders say what they are.

    A file with the dataset's own suffix must follow its rule; a picture of another kind is taken if it does, and if
    there is no file of its name with the dataset's suffix.
    """
    own, others = list_pictures(root, suffix)
    if inside := [path for path in own if within and within in path.parts]:
        own, others = inside, [path for path in others if within in path.parts]
    known = {path.with_suffix("") for path in own}
    more = [(path, image) for path in others if path.with_suffix("") not in known and (image := parse(path))]
    if not own and not more:
        raise FileNotFoundError(f"there are no {suffix[1:].upper()} images below {root}")
    images = _require_known([*((path, parse(path)) for path in own), *more], root, dataset)
    return sorted(images, key=lambda image: (image.path.name, image.path.parent))


def _read_pairs(tables: Iterable[Path], column: str) -> dict[str, str]:
    """Return what tables say of each file, by its folded name; no header is needed."""
    pairs: dict[str, str] = {}
    for table in tables:
        for row in read_table(table.read_bytes(), str(table), ("file", column), header=False):
            file = fold_text(PurePosixPath(row["file"].strip().replace("\\", "/")).name)
            said = row[column]
            if not file or not fold_text(said):
                raise ValueError(f"{table}, {row.place} has no {column if file else 'file'}; every line needs both")
            if loss := describe_loss(said):
                raise ValueError(f"{table}, {row.place}, column {column}: {said!r} {loss}")
            if fold_identifier(pairs.setdefault(file, said)) != fold_identifier(said):
                raise ValueError(f"{table}, {row.place}: {file} has another {column} in an earlier line")
    return pairs


def _require_known(
    images: Sequence[tuple[Path, LabelledImage | None]], root: Path, dataset: str
) -> list[LabelledImage]:
    if unknown := [str(path.relative_to(root)) for path, image in images if image is None]:
        raise UnknownNameError(
            f"{len(unknown)} of {len(images)} files do not follow the naming rule of {dataset}: {join_first(unknown)}"
        )
    return [image for _, image in images if image is not None]
