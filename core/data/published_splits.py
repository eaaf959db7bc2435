"""Splits of BreaKHis that benchmarks of others publish, so that they can be audited by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.data.datasets import LabelledImage
from core.data.leaks import PlacedImage

SplitName = Literal["eva", "thunder"]


@dataclass(frozen=True, slots=True)
class PublishedSplit:
    """The slides that are held out of the images of some classes at one magnification; all others are trained on."""

    name: SplitName
    held_out: str  # what the benchmark calls that side
    classes: tuple[str, ...]
    magnification: str
    slides: frozenset[str]  # without the year: "18842D"

    def place(self, images: Sequence[LabelledImage]) -> list[PlacedImage]:
        """Return the images that the benchmark uses, each with its side."""
        return [
            PlacedImage(image, self.name, self.held_out if self._holds_out(image) else "train")
            for image in images
            if image.label in self.classes and image.magnification == self.magnification
        ]

    def _holds_out(self, image: LabelledImage) -> bool:
        return image.slide_id.partition("-")[2] in self.slides


# eva (kaiko.ai), breakhis.py: slides are held out, as if every spelling of a number were another patient.
_CLASSES = ("tubular_adenoma", "mucinous_carcinoma", "fibroadenoma", "ductal_carcinoma")
_MUCINOUS, _DUCTAL = ("18842D", "19979"), ("15792", "16875", "3909", "5287", "16716", "2773", "5695")
_BENIGN = ("15275", "16184CD", "23060CD", "21998CD", "21998EF")
_SLIDES = frozenset((*_MUCINOUS, *_DUCTAL, *_BENIGN))

PUBLISHED_SPLITS: Mapping[SplitName, PublishedSplit] = {
    "eva": PublishedSplit("eva", "validation", _CLASSES, "40X", _SLIDES),
    # THUNDER (break_his.py) takes eva's slides as its test set, and its own validation from the others at random.
    "thunder": PublishedSplit("thunder", "test", _CLASSES, "40X", _SLIDES),
}


def without_shared_patients(placed: Sequence[PlacedImage]) -> list[PlacedImage]:
    """Return a split without the training images of held-out patients; the held-out images stay the published ones."""
    held_out = {one.image.patient_id for one in placed if one.side != "train"}
    return [one for one in placed if one.side != "train" or one.image.patient_id not in held_out]
