"""Readings of made-up readers for the tests of agreement."""

from collections.abc import Sequence

import numpy as np

from core.labels import Malignancy
from core.results import Reading, ReadOpinion

_SIDES: tuple[Malignancy, Malignancy] = ("benign", "malignant")


def said(
    label: Malignancy | None, model: Malignancy | None = None, *, sure: int = 3, seconds: float = 20
) -> ReadOpinion:
    return ReadOpinion(label, sure if label else None, seconds, model)


def reading(
    case_id: int,
    first: Malignancy | None,
    final: Malignancy | None = None,
    model: Malignancy | None = None,
    *,
    reader: str = "dr. a",
    sure: int = 3,
    iteration: int = 1,
) -> Reading:
    """Make a reading; without `model` the reader was shown nothing, and without `final` did not finish."""
    saved = said(final, model, sure=sure) if final or model else None
    return Reading(
        case_id=case_id,
        accession=f"C-{case_id:04}",
        magnification="100X",
        demonstration=False,
        reader=reader,
        first=said(first, sure=sure),
        final=saved,
        standing=saved,
        iteration=iteration,
    )


def made_readings(cases: int, readers: Sequence[str] = ("dr. a", "dr. b", "dr. c"), seed: int = 0) -> list[Reading]:
    """Make readers who mostly see the same, of whom some follow the model."""
    rng = np.random.default_rng(seed)
    found = []
    for case_id in range(1, cases + 1):
        truth = int(rng.integers(2))
        model = _SIDES[truth ^ int(rng.random() < 0.2)]
        for reader in readers:
            first = _SIDES[truth ^ int(rng.random() < 0.25)]
            final = model if rng.random() < 0.3 else first
            found.append(reading(case_id, first, final, model, reader=reader, sure=int(rng.integers(1, 6))))
    return found
