"""Values of scales: how wide a pixel of an image is and who said so, and the objectives of the site's microscopes."""

from dataclasses import dataclass

from core.imaging.scale import Scale, ScaleSource

_WORDS: dict[ScaleSource, str] = {
    "tiff": "from the TIFF's tags",
    "imagej": "from ImageJ's description in the file",
    "ome": "from the OME description in the file",
    "aperio": "from the scanner's description in the file",
    "png": "from the PNG's resolution",
    "jpeg": "from the JPEG's resolution",
    "microscope": "from a microscope profile",
    "typed": "typed by hand",
    "dataset": "stated by the dataset",
    "ruler": "set with the ruler",
}


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective of a microscope of this site, with the width of its pixels."""

    id: int
    microscope: str
    objective: str
    um_per_px: float

    @property
    def name(self) -> str:
        """The microscope and its objective in words."""
        return f"{self.microscope}, {self.objective}"


@dataclass(frozen=True, slots=True)
class ChosenScale:
    """A scale to record; one from a microscope profile names its objective by id."""

    scale: Scale
    objective_id: int | None = None

    def __post_init__(self) -> None:
        if (self.scale.source == "microscope") != (self.objective_id is not None):
            raise ValueError("a scale names an objective if it comes from a microscope profile, and only then")


@dataclass(frozen=True, slots=True)
class ImageScale:
    """The scale of a stored image; `objective` names the microscope and the objective that it comes from, if any."""

    um_per_px: float
    source: ScaleSource
    objective: str = ""

    @property
    def source_words(self) -> str:
        """Who said so, in words."""
        return f"{_WORDS[self.source]} ({self.objective})" if self.objective else _WORDS[self.source]

    def __str__(self) -> str:
        return f"{write_um_per_px(self.um_per_px)} per pixel, {self.source_words}"


def write_um_per_px(um_per_px: float) -> str:
    """Write the width of a pixel with at most three digits that count."""
    return f"{um_per_px:.3g} µm"


def write_length(pixels: float, um_per_px: float | None) -> str:
    """Write a length in micrometres or millimetres, or in pixels if the scale is unknown."""
    if um_per_px is None:
        return f"{pixels:.0f} px"
    length = pixels * um_per_px
    return f"{length / 1000:.3g} mm" if length >= 999.5 else f"{length:.3g} µm"
