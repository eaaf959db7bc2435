"""Lays out what was predicted of images as a table, and writes those of held-out images."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from core.card import Card
from core.documents import write_whole
from training.judged_images import JudgedImage

_KNOWN = ["file", "patient_id", "magnification", "dataset", "label", "split"]


def save_predictions(path: Path, judged: Sequence[JudgedImage], card: Card) -> None:
    """Write the predictions, after the temperature, as Parquet; images without one are left out."""
    answered = [image for image in judged if image.reason is None]
    table = predictions(answered, card, "validation")
    write_whole(path, table[[*_KNOWN, *_columns(card)]].to_parquet(index=False))


def predictions(images: Sequence[JudgedImage], card: Card, split: str) -> pd.DataFrame:
    """Give one row per image, those without a prediction too: they have a reason instead of probabilities."""
    rows = [
        {
            "file": image.file,
            "patient_id": image.patient_id,
            "magnification": image.magnification,
            "dataset": image.dataset,
            "label": image.label,
            "split": split if image.fold is None else f"fold {image.fold}",
            **dict(zip(_columns(card), image.probabilities or [math.nan] * len(_columns(card)), strict=True)),
            "malignant_probability": math.nan if image.reason else image.malignant_probability,
            "predicted": image.predicted,
            "quality": "; ".join(image.quality),
            "reason": image.reason or "",
            "sha256": image.sha256,
            "evidence_low": image.evidence_low,
            "evidence_high": image.evidence_high,
        }
        for image in images
    ]
    return pd.DataFrame(rows)


def _columns(card: Card) -> list[str]:
    return [f"p_{name}" for name in card.label_set.classes]
