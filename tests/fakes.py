"""The one fake of the test suite: a classifier that answers from colours, without a network."""

from dataclasses import dataclass

import numpy as np

from core.card import Card, InputPolicy
from core.labels import BINARY
from core.results import Evidence, NoResultError, Patches, Probabilities, RgbImage

FAKE_CARD = Card(
    name="fake",
    label_set=BINARY,
    branches=("none",),
    head="additive",
    input_policy=InputPolicy("patches", input_side=32, patch_side=64, stride=64),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


@dataclass(frozen=True, slots=True)
class FakeClassifier:
    """Says malignant as far as a patch is dark; `broken` gives an output that is not a number."""

    card: Card = FAKE_CARD
    broken: bool = False

    def normalise(self, image: RgbImage) -> RgbImage:
        return image

    def classify(self, patches: Patches) -> Probabilities:
        if self.broken:
            raise NoResultError("the network gave an output that is not a finite number")
        malignant = 1 - patches.mean(axis=(1, 2, 3), dtype=np.float32) / 255
        return np.stack([1 - malignant, malignant], axis=1)

    def explain(self, patches: Patches) -> tuple[Probabilities, Evidence]:
        return self.classify(patches), (127.5 - patches.mean(axis=3, dtype=np.float32)) / 32
