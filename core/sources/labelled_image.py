"""One labelled image of a public dataset, and how a BreaKHis file name says what it is."""

import re
from dataclasses import dataclass
from pathlib import Path

from core.labels import BACH, BINARY, BREAKHIS, IDC, LabelSet, Malignancy

_LABEL_SETS = {known.name: known for known in (BINARY, BREAKHIS, BACH, IDC)}

# Spanhol et al., IEEE TBME 2016: SOB_<B|M>_<subtype>-<year>-<slide>-<magnification>-<sequence>.png
_BREAKHIS_NAME = re.compile(
    r"SOB_(?P<malignancy>[BM])_(?P<code>A|F|PT|TA|DC|LC|MC|PC)"
    r"-(?P<slide>\d\d-(?P<patient>\d+)[A-Z]*)-(?P<magnification>40|100|200|400)-\d+\.png"
)
_BREAKHIS_CODES = dict(zip(("A", "F", "PT", "TA", "DC", "LC", "MC", "PC"), BREAKHIS.classes, strict=True))


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
