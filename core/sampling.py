"""Draws training patches: patients evenly, benign and malignant in turn, or generated tissue."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from core.augmentation import random_patch
from core.card import StainTarget
from core.datasets import LabelledImage
from core.demo import demo_image
from core.fit_config import FitConfig, Generated
from core.images import decode_image
from core.labels import Malignancy
from core.results import Patches, RgbImage
from core.stain import stain_normaliser

_KINDS: tuple[Malignancy, Malignancy] = ("benign", "malignant")
# Far from the seeds of the demonstration case, so that its images are not ones seen in training.
_FIRST_GENERATED_SEED = 1000

Examples = tuple[Patches, list[int]]  # patches, and 1 for each malignant one


class PatientPatches:
    """The images of patients, in memory, and an endless draw of changed patches from them."""

    def __init__(self, train: Sequence[LabelledImage], size: int, config: FitConfig, rng: np.random.Generator) -> None:
        self._config = config
        self._images = [load_image(image, config) for image in train]
        self._malignant = [int(image.malignancy == "malignant") for image in train]
        self._rng = rng
        self._draws = even_draws(train, size, rng)

    def draw(self) -> Examples:
        """Draw one batch."""
        chosen = next(self._draws)
        policy, how = self._config.input_policy, self._config.augmentation
        patches = [random_patch(self._images[i], policy, how, self._rng) for i in chosen]
        return np.stack(patches), [self._malignant[i] for i in chosen]


class GeneratedPatches:
    """A pool of generated tissue, half of it malignant, and an endless draw of changed patches from it."""

    def __init__(self, generated: Generated, size: int, config: FitConfig, rng: np.random.Generator) -> None:
        self._generated = generated
        self._size = size
        self._config = config
        self._rng = rng
        self._images = _generated_tissue(generated.images, config.stain)

    def draw(self) -> Examples:
        """Draw one batch."""
        kinds = [place % 2 for place in range(self._size)]
        return np.stack([self._patch(self._images[kind]) for kind in kinds]), kinds

    def _patch(self, images: Sequence[RgbImage]) -> RgbImage:
        image = images[int(self._rng.integers(len(images)))]
        return random_patch(image, self._config.input_policy, self._generated.augmentation, self._rng)


@lru_cache(maxsize=1)  # every fold and every member draws from the same pool, and one takes a minute to make
def _generated_tissue(images: int, stain: StainTarget | None) -> tuple[tuple[RgbImage, ...], ...]:
    normalise = stain_normaliser(stain)
    seeds = range(_FIRST_GENERATED_SEED, _FIRST_GENERATED_SEED + images // 2)
    return tuple(tuple(normalise(demo_image(seed, kind)) for seed in seeds) for kind in _KINDS)


def load_image(image: LabelledImage, config: FitConfig) -> RgbImage:
    """Decode an image and bring its stain to the target, as in serving."""
    return stain_normaliser(config.stain)(decode_image(image.path.read_bytes()).pixels)


def even_draws(train: Sequence[LabelledImage], size: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Draw batches: benign and malignant in turn, then a patient, then one of the patient's images.

    A patient with sixteen images weighs no more than one with a single image.

    Raises:
        ValueError: If there is nothing benign or nothing malignant to draw.
    """
    sides = []
    for side in ("benign", "malignant"):
        patients = sorted({image.patient_id for image in train if image.malignancy == side})
        if not patients:
            raise ValueError(f"there are no {side} images to train on")
        sides.append([[i for i, m in enumerate(train) if m.patient_id == p and m.malignancy == side] for p in patients])
    while True:
        patients_drawn = [sides[place % 2][rng.integers(len(sides[place % 2]))] for place in range(size)]
        yield [rows[rng.integers(len(rows))] for rows in patients_drawn]
