"""The table that `python -m core predict` writes: one row for each image, as CSV or as a workbook."""

from collections.abc import Iterator, Sequence

from core.commands.outcomes import Outcome
from core.files import csv_bytes

_COLUMNS = (
    ("file", "path of the image"),
    ("label", "class with the highest probability; empty without an opinion"),
    ("malignant_probability", "probability of malignancy, 0 to 1"),
    ("threshold", "malignant_probability at or above which an image counts as malignant"),
    ("benign_patches", "patches whose probability of malignancy is below the threshold"),
    ("malignant_patches", "patches whose probability of malignancy reaches the threshold"),
    ("scope", "whether the image is like the training images: in, unusual or out"),
    ("scope_score", "distance from the training images; compare it with the limits on the card of the model"),
    ("warnings", "what makes the image hard to assess, such as blur"),
    ("notes", "how the file was read, if anything was left out or changed"),
    ("reason", "why there is no opinion"),
    ("um_per_px", "micrometres per pixel; empty if not known"),
    ("um_per_px_source", "where the micrometres per pixel are from"),
    ("model_version", "first twelve digits of the sha256 of the checkpoint"),
    ("seconds", "time for this image"),
)


def to_csv(outcomes: Sequence[Outcome], version: str) -> bytes:
    """Return a CSV file with one row per image, those without a prediction with the reason, safe in a spreadsheet."""
    return csv_bytes([name for name, _ in _COLUMNS], _rows(outcomes, version))


def to_workbook(outcomes: Sequence[Outcome], version: str) -> bytes:
    """Return the same table as XLSX, with a sheet that explains its columns."""
    # Importing takes a quarter of a second.
    from core.workbook import write_workbook  # noqa: PLC0415

    return write_workbook(_COLUMNS, _rows(outcomes, version))


def _rows(outcomes: Sequence[Outcome], version: str) -> Iterator[tuple[object, ...]]:
    return (_to_row(outcome, version) for outcome in outcomes)


def _to_row(outcome: Outcome, version: str) -> tuple[object, ...]:
    analysis = outcome.analysis
    prediction, scope = (analysis.prediction, analysis.scope) if analysis else (None, None)
    return (
        outcome.name,
        prediction.label if prediction else None,
        round(prediction.malignant_probability, 6) if prediction else None,
        prediction.threshold if prediction else None,
        prediction.benign_patches if prediction else None,
        prediction.malignant_patches if prediction else None,
        scope.level if scope else None,
        round(scope.score, 4) if scope else None,
        "; ".join(analysis.quality.problems) if analysis else None,
        "; ".join(analysis.quality.notes) if analysis else None,
        outcome.error or (analysis.reason if analysis else None),
        round(outcome.scale.um_per_px, 6) if outcome.scale else None,
        outcome.scale.source if outcome.scale else None,
        version,
        round(outcome.seconds, 3),
    )
