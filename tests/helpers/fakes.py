"""The fake classifier of the tests, which answers from colours, without a network; `programs.py` has a fake engine."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from core.card import Card, InputPolicy
from core.labels import BINARY
from core.pipeline import ScopeJudge
from core.results import NoResultError, Patches, PatchFindings, Probabilities, RgbImage

FAKE_CARD = Card(
    name="fake",
    label_set=BINARY,
    branches=("none",),
    head="additive",
    input_policy=InputPolicy("patches", input_side=32, patch_side=64, stride=64),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)


def nothing() -> None:
    """Let nothing happen."""


def give_no_number() -> None:
    """Fail as a network does whose output is not a number."""
    raise NoResultError("the network's output is not a finite number")


@dataclass(frozen=True, slots=True)
class FakeClassifier:
    """Says malignant as far as a patch is dark, or the same for all; `meanwhile` happens while it thinks."""

    card: Card = FAKE_CARD
    malignant: float | None = None
    meanwhile: Callable[[], None] = nothing
    magnified: Callable[[str | None], None] = lambda _: None
    scope: ScopeJudge | None = None

    def at(self, magnification: str | None) -> "FakeClassifier":
        """Note the magnification; the answers are the same at each."""
        self.magnified(magnification)
        return self

    def with_card(self, card: Card) -> "FakeClassifier":
        """Give the same answers by another card."""
        return replace(self, card=card)

    def normalise(self, image: RgbImage) -> RgbImage:
        """Leave the colours alone."""
        return image

    def examine(self, patches: Patches, *, evidence: bool) -> PatchFindings:
        """Mark the middle of every patch; its features and embeddings are the mean colours of its quarters."""
        marked = np.full(patches.shape[:3], -1, np.float32)
        marked[:, 8:24, 8:24] = 2
        half = patches.shape[1] // 2
        quarters = patches[:, : 2 * half, : 2 * half].reshape(len(patches), 2, half, 2, half, 3)
        features = quarters.mean(axis=(2, 4), dtype=np.float32)
        embeddings = features.reshape(len(patches), -1)
        return PatchFindings(self._classify(patches), features, marked if evidence else None, embeddings)

    def _classify(self, patches: Patches) -> Probabilities:
        """Give two probabilities to every patch."""
        self.meanwhile()
        darkness = 1 - patches.mean(axis=(1, 2, 3), dtype=np.float32) / 255
        malignant = darkness if self.malignant is None else np.full_like(darkness, self.malignant)
        return np.stack([1 - malignant, malignant], axis=1)
