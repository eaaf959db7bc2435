"""The training images of a run, labelled ones followed by generated tissue, and augmented patches of both."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from core.card import StainTarget
from core.data.datasets import LabelledImage
from core.fitting.augmentation import random_patch, training_patch
from core.fitting.config import FitConfig
from core.fitting.pixel_cache import open_pixels
from core.fitting.sampling import COPIES, DRAWS, PATCHES, EpochDraws, Places, make_generator
from core.imaging.demo import generate_tissue
from core.imaging.stain import make_stain_normaliser
from core.labels import MAGNIFICATIONS, Malignancy, magnification_index
from core.results import Patches, RgbImage

UNKNOWN = len(MAGNIFICATIONS)  # as a magnification
# A network with the magnification as input must also work without it, because it may be unknown for a file.
_HIDDEN_SHARE = 0.2
_KINDS: tuple[Malignancy, Malignancy] = ("benign", "malignant")
# Far from the seeds of the demonstration case, so that its images do not occur in training.
_FIRST_GENERATED_SEED = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """One batch of all processes together: its images, the cached copy of each, and their magnifications."""

    first: int  # position of its first image in the epoch
    images: Places
    copies: Places
    magnifications: Places  # as input to the network; UNKNOWN where hidden or unknown

    def __len__(self) -> int:
        return len(self.images)


class TrainingImages:
    """Labelled images followed by generated ones in one numbering, also of `labels` and `magnifications`."""

    def __init__(
        self,
        train: Sequence[LabelledImage],
        config: FitConfig,
        folder: Path | None,
        pool: Sequence[LabelledImage] = (),
    ) -> None:
        """Open the pixels; without labelled images, whole batches are generated.

        `pool` is a larger list that provides the numbering, so that folds of one pool share cached features; only
        images of `train` are drawn.
        """
        self._config = config
        self._pool = pool or train
        number_of = {image: number for number, image in enumerate(self._pool)}
        self._train = np.array([number_of[image] for image in train], dtype=np.int64)
        self._pixels = open_pixels(self._pool, config, folder)
        self._share = round(config.generated.share * config.batch_size) if config.generated else 0
        if not train:
            self._share = config.batch_size
        self._own = len(self._pool)
        own = [image.class_in(config.label_set) for image in self._pool]
        self._generated: tuple[RgbImage, ...] = ()
        if config.generated and self._share:
            self._generated = _generated_tissue(config.generated.images // 2, config.stain)
        kinds = np.repeat((0, 1), len(self._generated) // 2)
        self.labels: Places = np.concatenate([own, kinds]).astype(np.int64)
        magnifications = [magnification_index(image.magnification) for image in self._pool]
        self.magnifications: Places = np.array([*magnifications, *(UNKNOWN for _ in kinds)], dtype=np.int64)
        patients = [image.patient_id for image in train]
        size = config.batch_size - self._share
        self._draws = EpochDraws(self.labels[self._train], patients, config.sampling, size) if train else None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def name(self) -> str:
        """A hash of these images and of what decides how their copies look, for a cache of features."""
        return hash_patch_list(f"train, seed {self._config.seed}", self._pool, self._config)

    @property
    def weighed_labels(self) -> Places:
        """The labels that determine class weights; generated tissue is balanced already."""
        return self.labels[self._train] if len(self._train) else self.labels

    def epoch(self, phase: int, number: int, copies: int) -> list[Draw]:
        """Return the random batches of one epoch of a phase; every call returns the same."""
        rng = make_generator(self._config.seed, DRAWS, phase, number)
        if self._draws:
            batches = self._draws.batches(rng)
        else:
            batches = [np.empty(0, np.int64) for _ in range(self._config.sampling.batches)]
        draws: list[Draw] = []
        first = 0
        for batch in batches:
            images = np.concatenate([self._train[batch], self._draw_generated(rng)])
            magnifications = self.magnifications[images]
            if self._config.magnification == "input":
                magnifications = np.where(rng.random(len(images)) < _HIDDEN_SHARE, UNKNOWN, magnifications)
            draws.append(Draw(first, images, rng.integers(max(1, copies), size=len(images)), magnifications))
            first += len(images)
        return draws

    def patches(self, draw: Draw, chosen: Places, phase: int, number: int) -> Patches:
        """Return an augmented patch for each of the chosen positions of a batch."""
        rngs = [make_generator(self._config.seed, PATCHES, phase, number, draw.first + int(place)) for place in chosen]
        return np.stack([self._patch(int(image), rng) for image, rng in zip(draw.images[chosen], rngs, strict=True)])

    def copy(self, image: int, number: int) -> RgbImage:
        """Return one of the augmented patches of an image whose features are cached.

        Its randomness depends on the file name, so that it is the same in any list of images.
        """
        key = _hash_name(self._pool[image].path.name) if image < self._own else image - self._own
        return self._patch(image, make_generator(self._config.seed, COPIES, key, number))

    def _draw_generated(self, rng: np.random.Generator) -> Places:
        """Draw benign and malignant images alternately."""
        half = len(self._generated) // 2
        kinds = np.arange(self._share) % 2
        return self._own + kinds * half + (rng.integers(half, size=self._share) if self._share else kinds)

    def _patch(self, image: int, rng: np.random.Generator) -> RgbImage:
        config = self._config
        if image < self._own:
            return training_patch(self._pixels.images[image], self._pixels.policy, config, rng)
        assert config.generated is not None  # noqa: S101 - otherwise no images follow the labelled ones
        return random_patch(self._generated[image - self._own], config.input_policy, config.generated.augmentation, rng)


def _hash_name(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


@lru_cache(maxsize=1)  # all folds and members draw from the same pool, which takes a minute to make
def _generated_tissue(each: int, stain: StainTarget | None) -> tuple[RgbImage, ...]:
    normalise = make_stain_normaliser(stain)
    seeds = range(_FIRST_GENERATED_SEED, _FIRST_GENERATED_SEED + each)
    return tuple(normalise(generate_tissue(seed, kind)) for kind in _KINDS for seed in seeds)


def hash_patch_list(kind: str, images: Sequence[LabelledImage], config: FitConfig) -> str:
    """Return a hash of the files of a list of patches and of the settings that decide how they look."""
    files = [(str(image.path.absolute()), (s := image.path.stat()).st_size, s.st_mtime_ns) for image in images]
    looks = (config.input_policy, config.stain, config.cache_side, config.augmentations, config.augmentation)
    factors = [config.factor_of(image.um_per_px) for image in images]
    text = repr((kind, files, looks, config.generated, *([factors] if config.working_um_per_px else [])))
    return hashlib.sha256(text.encode()).hexdigest()
