"""Evaluations that come with the checkpoint of a test's world, in the folder beside it."""

import hashlib
from dataclasses import replace
from pathlib import Path

from core.card import checkpoint_sha256, model_version
from core.labels import BINARY, LabelSet
from core.settings import Settings
from core.statistics.evaluation import Evaluation
from db.values.evaluations import (
    EVALUATION_FILE,
    IMAGES_FILE,
    SHIFT_FILE,
    EvaluatedImage,
    images_to_json,
    shipped_folder,
)
from tests.helpers.evaluations import made_evaluation, made_images
from tests.helpers.rows import sha256_of
from tests.helpers.shifts import shifted


def with_hashes(images: list[EvaluatedImage], pictures: dict[int, bytes] | None = None) -> list[EvaluatedImage]:
    """Give images the hashes of these pictures by position, and hashes of nothing where there is no picture."""
    known = {place: hashlib.sha256(data).hexdigest() for place, data in (pictures or {}).items()}
    return [
        replace(
            image,
            source_sha256=known.get(image.position, sha256_of(f"shipped {image.position}")),
            file_sha256=sha256_of(f"pixels {image.position}"),
        )
        for image in images
    ]


def ship(
    images: list[EvaluatedImage] | None = None, label_set: LabelSet = BINARY, version: str | None = None
) -> Evaluation:
    """Put an evaluation and a comparison beside the checkpoint of the settings, of its version unless one is given."""
    checkpoint = Settings.from_environment().checkpoint
    version = version or model_version(checkpoint_sha256(checkpoint))
    evaluation = replace(made_evaluation(label_set), model_version=version, split="out-of-fold")
    folder = shipped_folder(checkpoint)
    _write(folder / "breakhis" / EVALUATION_FILE, evaluation.to_json())
    _write(folder / "breakhis" / IMAGES_FILE, images_to_json(images or with_hashes(made_images(label_set))))
    _write(folder / "elsewhere" / SHIFT_FILE, replace(shifted(), model_version=version).to_json())
    return evaluation


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
