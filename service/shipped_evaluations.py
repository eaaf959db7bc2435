"""Evaluations that come with a checkpoint, in the folder beside it: read, never written to the database.

`models/starter.safetensors` has `models/starter.evaluations/`. Each folder in it holds an evaluation (`metrics.json` as
training.evaluate writes it, and its images) or a comparison of two image sets (`shift.json`). They are of one version
of the checkpoint: beside another version, what they say is not true, and they are not shown. The folder also holds what
was measured on the heat maps (`map_trust.json`), unless that was done here and lies in the data folder.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.statistics.evaluation import Evaluation
from core.statistics.map_trust import MapTrust
from core.statistics.shift import Shift
from db.values.evaluations import (
    EVALUATION_FILE,
    IMAGES_FILE,
    SHIFT_FILE,
    EvaluatedImage,
    EvaluationRow,
    ShiftRow,
    images_from_json,
    map_trust_files,
    shipped_folder,
)
from service.preview import Preview, make_preview

_THUMBNAIL_SIDE = 320  # px, as of the previews that training.evaluate stores


@dataclass(frozen=True, slots=True)
class ShippedEvaluation:
    """One evaluation that came with the checkpoint, with its images."""

    row: EvaluationRow
    images: tuple[EvaluatedImage, ...]


@dataclass(frozen=True, slots=True)
class Shipped:
    """All that came with a checkpoint; `problems` says which folders are not shown, and why."""

    evaluations: tuple[ShippedEvaluation, ...] = ()
    shifts: tuple[ShiftRow, ...] = ()
    problems: tuple[str, ...] = ()

    def find(self, number: int) -> ShippedEvaluation | None:
        """Return the evaluation of this number; None if none has it."""
        return next((one for one in self.evaluations if one.row.id == number), None)


NOTHING_SHIPPED = Shipped()


def read_shipped(checkpoint: Path, version: str) -> Shipped:
    """Read what came with a version of a checkpoint."""
    folder = shipped_folder(checkpoint)
    evaluations: list[ShippedEvaluation] = []
    shifts: list[ShiftRow] = []
    problems = []
    for part in sorted(folder.iterdir()) if folder.is_dir() else []:
        try:
            if (part / EVALUATION_FILE).is_file():
                evaluations.append(_read_evaluation(part, version, -len(evaluations) - 1))
            elif (part / SHIFT_FILE).is_file():
                shifts.append(_read_shift(part, version, -len(shifts) - 1))
        except (OSError, ValueError) as error:
            problems.append(f"{folder.name}/{part.name}: {error}")
    return Shipped(tuple(evaluations), tuple(shifts), tuple(problems))


@dataclass(frozen=True, slots=True)
class FoundMapTrust:
    """The measurement of a checkpoint's heat maps; `problems` says why one that is there is not shown."""

    trust: MapTrust | None = None
    problems: tuple[str, ...] = ()


def read_map_trust(checkpoint: Path, version: str, evaluations: Path) -> FoundMapTrust:
    """Read how far the heat maps of a version can be trusted: as measured here, or as it came with the checkpoint."""
    beside, here = map_trust_files(checkpoint, version, evaluations)
    problems = []
    for file in (here, beside):
        try:
            if file.is_file():
                trust = MapTrust.from_json(file.read_bytes())
                _check_version(trust.model_version, version)
                return FoundMapTrust(trust)
        except (OSError, ValueError) as error:
            problems.append(f"{file.parent.name}/{file.name}: {error}")
    return FoundMapTrust(problems=tuple(problems))


def find_picture(image: EvaluatedImage, root: Path) -> Preview | None:
    """Find an image in a folder of datasets, or in one of its folders, and return its thumbnail.

    Only the very file that was evaluated is shown; None if it is not there.
    """
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())) if root.is_dir() else ():
        path = (folder / image.name).resolve()
        if not (path.is_relative_to(root.resolve()) and path.is_file()):
            continue
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() == image.source_sha256:
            return make_preview(data, _THUMBNAIL_SIDE)
    return None


def _read_evaluation(folder: Path, version: str, number: int) -> ShippedEvaluation:
    document = (folder / EVALUATION_FILE).read_text(encoding="utf-8")
    evaluation = Evaluation.from_json(document)
    _check_version(evaluation.model_version, version)
    images = images_from_json((folder / IMAGES_FILE).read_bytes())
    row = EvaluationRow(
        id=number,
        at=_written(folder / EVALUATION_FILE),
        model_name=evaluation.model_name,
        model_version=evaluation.model_version,
        dataset=evaluation.dataset,
        split=evaluation.split,
        folder=str(folder),
        images=len(images),
        document=document,
        shipped=True,
    )
    return ShippedEvaluation(row, images)


def _read_shift(folder: Path, version: str, number: int) -> ShiftRow:
    document = (folder / SHIFT_FILE).read_text(encoding="utf-8")
    shift = Shift.from_json(document)
    _check_version(shift.model_version, version)
    written = _written(folder / SHIFT_FILE)
    return ShiftRow(number, written, shift.source, shift.target, shift.model_version, document, shipped=True)


def _check_version(measured: str, version: str) -> None:
    if measured != version:
        raise ValueError(f"it was measured with version {measured} of the model, not with {version}")


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
