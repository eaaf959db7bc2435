"""The label sets that networks predict, and which of their classes are malignant."""

from dataclasses import dataclass
from typing import Literal

from core.identifiers import fold_word

Malignancy = Literal["benign", "malignant"]


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Ordered class names; the order is the order of a network's outputs."""

    name: str
    classes: tuple[str, ...]
    malignant: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{self.name}: needs at least two different classes, got {self.classes}")
        unknown = set(self.malignant) - set(self.classes)
        if unknown:
            raise ValueError(f"{self.name}: malignant classes {sorted(unknown)} are not among its classes")
        if not 0 < len(set(self.malignant)) < len(self.classes):
            raise ValueError(f"{self.name}: needs at least one malignant and one benign class")

    def malignancy(self, label: str) -> Malignancy:
        """Return whether a class of this set is benign or malignant."""
        if label not in self.classes:
            raise ValueError(f"{label!r} is not a class of {self.name}: {', '.join(self.classes)}")
        return "malignant" if label in self.malignant else "benign"

    def find(self, word: str) -> str | None:
        """Return the class that a word names, whatever its case and blanks: "In situ" is in_situ; None if none."""
        return next((label for label in self.classes if fold_word(label) == fold_word(word)), None)

    @property
    def malignant_indices(self) -> tuple[int, ...]:
        """Output positions of the malignant classes."""
        return tuple(i for i, label in enumerate(self.classes) if label in self.malignant)


BINARY = LabelSet("binary", ("benign", "malignant"), ("malignant",))

# Spanhol et al., "A Dataset for Breast Cancer Histopathological Image Classification", IEEE TBME 2016.
BREAKHIS = LabelSet(
    "breakhis",
    (
        "adenosis",
        "fibroadenoma",
        "phyllodes_tumor",
        "tubular_adenoma",
        "ductal_carcinoma",
        "lobular_carcinoma",
        "mucinous_carcinoma",
        "papillary_carcinoma",
    ),
    ("ductal_carcinoma", "lobular_carcinoma", "mucinous_carcinoma", "papillary_carcinoma"),
)

# Aresta et al., "BACH: Grand challenge on breast cancer histology images", MedIA 2019.
BACH = LabelSet("bach", ("normal", "benign", "in_situ", "invasive"), ("in_situ", "invasive"))

# Cruz-Roa et al., SPIE Medical Imaging 2014: patches without and with invasive ductal carcinoma.
IDC = LabelSet("idc", ("no_idc", "idc"), ("idc",))

# BreaKHis's own words (eyepiece times objective); a network that uses the magnification numbers them in this order.
MAGNIFICATIONS = ("40X", "100X", "200X", "400X")


def magnification_index(word: str | None) -> int:
    """Return the index of a magnification; len(MAGNIFICATIONS) stands for unknown and for any other word."""
    return MAGNIFICATIONS.index(word) if word in MAGNIFICATIONS else len(MAGNIFICATIONS)
