"""The scale of an image in micrometres per pixel, and who says so. It is never guessed from the number of pixels."""

import math
from dataclasses import dataclass
from typing import Literal

# Of fields of view of tissue. A resolution for screens or printers (72 to 2,400 dpi) is at least twice the largest.
LEAST_UM_PER_PX = 0.05  # an objective of 40x on a fine camera
MOST_UM_PER_PX = 5.0  # an overview; nuclei are a pixel or two wide
_ROUNDING = 1e-3  # files state the inverse, in whole numbers

ScaleSource = Literal["tiff", "imagej", "ome", "aperio", "png", "jpeg", "microscope", "typed", "dataset", "ruler"]


@dataclass(frozen=True, slots=True)
class Scale:
    """How wide a pixel is, and where that was stated."""

    um_per_px: float
    source: ScaleSource

    def __post_init__(self) -> None:
        if not is_plausible(self.um_per_px):
            raise ValueError(
                f"a pixel of {self.um_per_px:g} µm is not a plausible scale for a microscope image; "
                f"it must be between {LEAST_UM_PER_PX:g} and {MOST_UM_PER_PX:g} µm"
            )


def is_plausible(um_per_px: float) -> bool:
    """Return whether a pixel of tissue may be this wide; nan and infinity are not."""
    low, high = LEAST_UM_PER_PX * (1 - _ROUNDING), MOST_UM_PER_PX * (1 + _ROUNDING)
    return math.isfinite(um_per_px) and low <= um_per_px <= high


def known_um_per_px(given: float | None, stated: Scale | None) -> float | None:
    """Return the micrometres per pixel of an image: as they are given, else as its file states them, else None.

    Raises:
        ValueError: If what is given is no scale of a microscope image.
    """
    if given is not None:
        return Scale(given, "typed").um_per_px
    return stated.um_per_px if stated else None
