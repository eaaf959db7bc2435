"""How many images, of which classes, magnifications and patients, the official releases hold."""

from dataclasses import dataclass

from core.labels import BACH, BREAKHIS, IDC


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
