"""One row of the table of a cohort: what was found on one image, or why nothing was; and how it is stored."""

import hashlib
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.cohort.listing import CohortFile
from core.image_files import read_image_file
from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from core.pipeline import PatchClassifier, analyse_image
from core.results import Analysis

_WORDS = pa.list_(pa.string())
# The columns in their order, with their type and what they mean, which is stored in the file.
COLUMNS: Final = (
    ("path", pa.string(), "the image, below the folder or as the table names it"),
    ("sha256", pa.string(), "of the bytes of the file; null if it could not be read"),
    ("label", pa.string(), "as the table states it; null if it states none"),
    ("probability", pa.float64(), "of malignancy, by the model; null without a prediction"),
    ("prediction", pa.string(), "the class that the model predicts at its threshold; not a diagnosis"),
    ("threshold", pa.float64(), "on the probability, from the card of the model"),
    ("benign_patches", pa.int64(), "patches below the threshold"),
    ("malignant_patches", pa.int64(), "patches at or above it"),
    ("scope", pa.string(), "in, unusual or out; null if the model cannot compare images with its training images"),
    ("scope_score", pa.float64(), "how unlike the training images it is; larger is less like them"),
    ("sharpness", pa.float64(), "variance of the Laplacian of the grey image"),
    ("tissue_fraction", pa.float64(), "share of the image that shows tissue, 0 to 1"),
    ("warnings", _WORDS, "about the quality, the size or the scale of the image"),
    ("notes", _WORDS, "how the file was read"),
    ("height", pa.int64(), "in pixels"),
    ("width", pa.int64(), "in pixels"),
    ("um_per_px", pa.float64(), "micrometres per pixel; null if unknown"),
    ("um_per_px_source", pa.string(), "where the scale comes from"),
    ("model_version", pa.string(), "the first 12 hex digits of the checkpoint's sha256"),
    ("seconds", pa.float64(), "taken by this image"),
    ("reason", pa.string(), "why an image that was read has no prediction: it is out of scope"),
    ("error", pa.string(), "why there is no result; null if there is one"),
    ("stated_um_per_px", pa.float64(), "the scale that the table states; null if it states none"),
    ("file_bytes", pa.int64(), "size of the file; shows, with the next column, whether the file has changed since"),
    ("file_modified_ns", pa.int64(), "when the file was last changed, in nanoseconds since 1970"),
)
_SCHEMA = pa.schema([pa.field(name, kind, metadata={"meaning": words}) for name, kind, words in COLUMNS])
_MADE_WITH = b"second_read"


@dataclass(frozen=True, slots=True)
class ScoredImage:
    """One row; the columns are explained in `COLUMNS`."""

    path: str
    model_version: str
    label: str | None = None
    sha256: str | None = None
    probability: float | None = None
    prediction: str | None = None
    threshold: float | None = None
    benign_patches: int | None = None
    malignant_patches: int | None = None
    scope: str | None = None
    scope_score: float | None = None
    sharpness: float | None = None
    tissue_fraction: float | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    height: int | None = None
    width: int | None = None
    um_per_px: float | None = None
    um_per_px_source: str | None = None
    seconds: float = 0.0
    reason: str | None = None
    error: str | None = None
    stated_um_per_px: float | None = None
    file_bytes: int | None = None
    file_modified_ns: int | None = None

    def __post_init__(self) -> None:
        if (self.probability is None) == (self.reason is None and self.error is None):
            raise ValueError("a row has either a probability or the reason why there is none")


def score_image(file: CohortFile, classifier: PatchClassifier, version: str) -> ScoredImage:
    """Analyse one image; whatever is wrong with it is the error of its row."""
    start = time.perf_counter()
    size, modified = file_state(file.path)
    stated = file.scale.um_per_px if file.scale else None
    row = ScoredImage(file.name, version, file.label, error="not analysed", stated_um_per_px=stated)
    row = replace(row, file_bytes=size, file_modified_ns=modified)
    if file.problem is not None:
        return replace(row, error=file.problem)
    try:
        data = read_image_file(file.path)
        row = replace(row, sha256=hashlib.sha256(data).hexdigest())
        image = decode_image(data)
        scale = file.scale or image.scale
        um_per_px = scale.um_per_px if scale else None
        analysis = analyse_image(image.pixels, classifier, heatmap=False, notes=image.notes, um_per_px=um_per_px)
    except UnreadableImageError as error:
        return replace(row, error=str(error))
    except (MemoryError, RuntimeError) as error:
        # torch has no other class for an image that does not fit into memory; the other images must not suffer.
        return replace(row, error=f"the analysis failed: {error or type(error).__name__}")
    row = replace(row, um_per_px=um_per_px, um_per_px_source=scale.source if scale else None)
    return replace(_with_analysis(row, analysis), seconds=round(time.perf_counter() - start, 3))


def _with_analysis(row: ScoredImage, analysis: Analysis) -> ScoredImage:
    quality, scope, prediction = analysis.quality, analysis.scope, analysis.prediction
    row = replace(
        row,
        scope=scope.level if scope else None,
        scope_score=scope.score if scope else None,
        sharpness=quality.sharpness,
        tissue_fraction=quality.tissue_fraction,
        warnings=quality.problems,
        notes=quality.notes,
        height=analysis.height,
        width=analysis.width,
    )
    if prediction is None:
        return replace(
            row,
            reason=analysis.reason if analysis.withheld else None,
            error=None if analysis.withheld else analysis.reason,
        )
    return replace(
        row,
        probability=prediction.malignant_probability,
        prediction=prediction.label,
        threshold=prediction.threshold,
        benign_patches=prediction.benign_patches,
        malignant_patches=prediction.malignant_patches,
        error=None,
    )


def file_state(path: Path) -> tuple[int | None, int | None]:
    """Return the size of a file and when it was last changed; twice None if it cannot be found."""
    try:
        found = path.stat()
    except OSError:
        return None, None
    return found.st_size, found.st_mtime_ns


def build_table(rows: Sequence[ScoredImage], made_with: str) -> pa.Table:
    """Return rows as a table; `made_with` names the model and the settings, and tells tables apart."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], _SCHEMA)
    return table.replace_schema_metadata({_MADE_WITH: made_with.encode()})


def encode_table(table: pa.Table) -> bytes:
    """Return the bytes of a Parquet file."""
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()


def read_rows(path: Path, made_with: str) -> pa.Table | None:
    """Return the rows of a file that was made with the same model and settings; None if it was not.

    Raises:
        ValueError: If the file is no table of a cohort.
    """
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a table of scores: {error}") from error
    made = (table.schema.metadata or {}).get(_MADE_WITH)
    if made is None:
        raise ValueError(f"{path} is not a table of scores")
    return table if made == made_with.encode() and table.schema.names == _SCHEMA.names else None
