"""What a faster way to compute changes against torch in single precision, and whether it may therefore be used.

A way is checked once for a checkpoint, on images like those that it will see, by `python -m core check-precision`. The
record is in the data folder, under the hash of the checkpoint, the way, and what it depends on: the version of the
library and the processor.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import TypeAdapter

from core.computing import Backend
from core.files import read_document, write_whole
from core.pipeline import PatchClassifier, analyse_image
from core.results import Analysis, Heatmap, RgbImage

PROBABILITY_TOLERANCE = 0.005  # largest difference of the probability of an image
MAP_CORRELATION = 0.95  # lowest correlation of the heat maps of an image
# A precision that changes two labels in fifteen can pass on six images.
LEAST_IMAGES = 100
LEAST_OF_EACH = 10  # benign and malignant, by the exact network

_COMMAND = "python -m core check-precision IMAGES"


@dataclass(frozen=True, slots=True)
class Difference:
    """What another way to compute changes over a set of images, with trained weights."""

    images: int
    labels_changed: int  # an opinion that is withheld, or no longer withheld, included
    largest_difference: float  # of a probability
    lowest_correlation: float  # of heat maps
    benign: int = 0  # images, by the exact network
    malignant: int = 0

    @property
    def passed(self) -> bool:
        """Whether that way may be used: no label changes, and probabilities and heat maps are close."""
        close = self.largest_difference <= PROBABILITY_TOLERANCE and self.lowest_correlation >= MAP_CORRELATION
        return self.images > 0 and self.labels_changed == 0 and close

    @property
    def is_of_enough(self) -> bool:
        """Whether there were enough images to tell."""
        return self.images >= LEAST_IMAGES and min(self.benign, self.malignant) >= LEAST_OF_EACH

    def __str__(self) -> str:
        """Return the figures in words."""
        return (
            f"on {self.images:,} images, {self.labels_changed:,} labels changed, probabilities changed by up to "
            f"{self.largest_difference:.4f} (limit {PROBABILITY_TOLERANCE}), the lowest correlation of heat maps is "
            f"{self.lowest_correlation:.3f} (limit {MAP_CORRELATION})"
        )


def compare(
    exact: PatchClassifier, other: PatchClassifier, images: Iterable[tuple[RgbImage, float | None]]
) -> Difference:
    """Analyse every image, which comes with its scale if that is known, in both ways; return the differences.

    An image that cannot be analysed in either way says nothing.
    """
    pairs = [
        _compare_image(analyse_image(image, exact, um_per_px=scale), analyse_image(image, other, um_per_px=scale))
        for image, scale in images
    ]
    said = [pair for pair in pairs if pair is not None]
    return Difference(
        images=sum(pair.exact is not None for pair in said),
        labels_changed=sum(pair.changed for pair in said),
        largest_difference=max((pair.difference for pair in said), default=0.0),
        lowest_correlation=min((pair.correlation for pair in said), default=1.0),
        benign=sum(pair.exact == "benign" for pair in said),
        malignant=sum(pair.exact == "malignant" for pair in said),
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    exact: Literal["benign", "malignant"] | None
    changed: bool
    difference: float = 0.0
    correlation: float = 1.0


def _compare_image(one: Analysis, other: Analysis) -> _Pair | None:
    if one.prediction is None and other.prediction is None:
        return None
    if one.prediction is None or other.prediction is None:
        return _Pair(None, changed=True)
    gaps = np.subtract(one.prediction.probabilities, other.prediction.probabilities)
    has_maps = one.heatmap is not None and other.heatmap is not None
    return _Pair(
        one.prediction.malignancy,
        changed=one.prediction.label != other.prediction.label,
        difference=float(np.abs(gaps).max()),
        correlation=map_correlation(one.heatmap, other.heatmap) if has_maps else 1.0,  # type: ignore[arg-type]
    )


def map_correlation(one: Heatmap, other: Heatmap) -> float:
    """Return Pearson's correlation of two heat maps: 1 if both are flat, 0 if only one is."""
    flat = [float(np.ptp(heatmap)) == 0 for heatmap in (one, other)]
    if any(flat):
        return 1.0 if all(flat) else 0.0
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@dataclass(frozen=True, slots=True)
class CheckedWay:
    """A way to compute, and all that its results depend on beside the image."""

    checkpoint_sha256: str
    backend: Backend
    library: str  # with its version
    processor: str

    def path(self, folder: Path) -> Path:
        """Return where its record is, in the folder of records."""
        rest = hashlib.sha256(f"{self.library}\n{self.processor}".encode()).hexdigest()[:8]
        return folder / f"{self.checkpoint_sha256[:12]}-{self.backend}-{rest}.json"


@dataclass(frozen=True, slots=True)
class PrecisionRecord:
    """What was found of a way to compute."""

    way: CheckedWay
    difference: Difference

    def save(self, folder: Path) -> None:
        """Write it to the folder of records, in place of an earlier one."""
        write_whole(self.way.path(folder), _ADAPTER.dump_json(self, indent=1))


_ADAPTER = TypeAdapter(PrecisionRecord)


def find_objection(way: CheckedWay, folder: Path) -> str | None:
    """Return why a way may not be used; None if its record says that it may."""
    path = way.path(folder)
    if not path.is_file():
        return f"{way.backend} has not been checked for this checkpoint on this machine: {_COMMAND}"
    try:
        record = read_document(_ADAPTER, path.read_bytes(), "a record of a check")
    except (OSError, ValueError):
        return f"the record of the check of {way.backend}, {path.name}, cannot be read; check it again: {_COMMAND}"
    if record.way != way:
        return f"the record {path.name} is of another machine; check {way.backend} again: {_COMMAND}"
    found = record.difference
    if not found.is_of_enough:
        return f"{way.backend} was checked on too few images: {found}"
    return None if found.passed else f"{way.backend} changes the results too much: {found}"
