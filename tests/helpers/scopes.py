"""Small references of training images, fitted to generated tissue."""

from functools import cache
from itertools import cycle

import numpy as np

from core.card import ScopeReference
from core.imaging.demo import generate_tissue
from core.network.classifier import Classifier
from core.results import Evidence, JudgedScope, PatchFeatures, RgbImage, Scope, scope_level
from core.scope.reference import TrainingReference
from tests.helpers.networks import small_classifier
from training.scopes.fit import MeasuredImage, fit_scope, leave_one_out, measure_image

SIDE = 240


def tissue(patient: int, image: int = 0) -> RgbImage:
    """Generate an image of a patient, who has tissue of one kind."""
    return generate_tissue(100 * patient + image, "malignant" if patient % 2 else "benign", SIDE, SIDE)


def measure_tissue_of(classifier: Classifier, patients: int = 6, each: int = 2) -> list[MeasuredImage]:
    """Measure images of several patients."""
    measured = []
    for patient in range(patients):
        for number in range(each):
            one = measure_image(tissue(patient, number), f"patient {patient}", classifier)
            assert not isinstance(one, str), one
            measured.append(one)
    return measured


@cache
def small_scope() -> tuple[TrainingReference, ScopeReference]:
    """Fit the scope of the small test network to generated tissue, once for all tests."""
    classifier = small_classifier()
    measured = measure_tissue_of(classifier)
    return fit_scope(measured, leave_one_out(measured), classifier.reference_widths, "generated tissue")


def scoped_classifier() -> Classifier:
    """Build the small test network with its scope."""
    reference, about = small_scope()
    return small_classifier(scope=about).with_scope(reference)


class FixedScope:
    """Gives images these scores in turn: unusual from 1 on, out of scope from 2; strange is the left of each patch."""

    def __init__(self, *scores: float) -> None:
        self.scores = cycle(scores)

    def judge(self, recorded: RgbImage, image: RgbImage, features: PatchFeatures) -> JudgedScope:
        """Return the next score."""
        del recorded, image
        score = next(self.scores)
        level = scope_level(score, 1.0, 2.0)
        reasons = () if level == "in" else ("it is a test",)
        places: Evidence = np.zeros(features.shape[:3], np.float32)
        places[..., 0] = score
        return JudgedScope(Scope(level, score, 1.0, 2.0, reasons), places)
