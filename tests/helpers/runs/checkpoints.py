"""Tiny checkpoints, tissue and a run's split on disk, for the tests that judge them."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from core.card import Card, InputPolicy, TrainingData
from core.labels import BREAKHIS
from tests.helpers.images.tissue import tissue_folder
from tests.helpers.networks import SMALL_CARD, small_checkpoint

TINY_CARD = replace(
    SMALL_CARD,
    name="tiny",
    input_policy=InputPolicy("patches", input_side=32, patch_side=48, stride=48),
    threshold=0.45,
    temperature=1.5,
    locked_on="patient-wise 2-fold, pooled out of fold",
    training_data=TrainingData("BreaKHis", 4, 2, ("1", "900")),
)
SUBTYPE_CARD = replace(TINY_CARD, name="tiny subtypes", label_set=BREAKHIS)
_BACH_CLASSES = {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}


def tissue_and_checkpoint(folder: Path, card: Card = TINY_CARD) -> Path:
    """Write tissue/ of four patients and a random checkpoint beside it; give the checkpoint's path."""
    tissue_folder(folder / "tissue")
    small_checkpoint(folder / "tiny.safetensors", card)
    return folder / "tiny.safetensors"


def bach_folder(folder: Path, each: int = 3) -> Path:
    """Write a tiny copy of the tree of BACH with made pixels."""
    rng = np.random.default_rng(3)
    for name, code in _BACH_CLASSES.items():
        (folder / "Photos" / name).mkdir(parents=True)
        for number in range(each):
            made = np.clip(rng.normal((200, 150, 190), 25, (48, 64, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / "Photos" / name / f"{code}{number + 1:03d}.tif"), made[..., ::-1])
    return folder


def write_split(run: Path, sides: dict[str, str]) -> Path:
    """Write the split of a run: file name -> side."""
    run.mkdir(parents=True, exist_ok=True)
    rows = [f"{file},1,fibroadenoma,{side}" for file, side in sides.items()]
    (run / "split.csv").write_text("\n".join(["file,patient_id,label,split_or_fold", *rows]) + "\n")
    return run
