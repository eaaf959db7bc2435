"""Writes the predictions of held-out images as a table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from core.card import Card
from core.documents import write_whole
from training.judged_images import JudgedImage


def save_predictions(path: Path, judged: Sequence[JudgedImage], card: Card) -> None:
    """Write the predictions, after the temperature, as Parquet; images without one are left out."""
    rows = [
        {
            "file": image.file,
            "patient_id": image.patient_id,
            "magnification": image.magnification,
            "dataset": image.dataset,
            "label": image.label,
            "split": f"fold {image.fold}" if image.fold else "validation",
            **{f"p_{name}": p for name, p in zip(card.label_set.classes, image.probabilities, strict=True)},
        }
        for image in judged
        if image.reason is None
    ]
    write_whole(path, pd.DataFrame(rows).to_parquet(index=False))
