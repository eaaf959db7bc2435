"""Make the evaluations that come with a checkpoint: the folder beside it that the app shows at its first start.

python -m training.ship_evaluations models/starter.safetensors --run RUN --data BREAKHIS --elsewhere folder=UCSB
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from core.card import UnusableCheckpointError
from core.command_line import make_app, run_app
from core.console import PlainConsole
from core.statistics.shift import Shift
from db.values.evaluations import (
    EVALUATION_FILE,
    IMAGES_FILE,
    MAP_TRUST_FILE,
    SHIFT_FILE,
    images_to_json,
    shipped_folder,
)
from training.evaluate import stored_images
from training.evaluation.evaluate_checkpoint import EvaluationRequest, FinishedEvaluation, evaluate
from training.map_trust import MapTrustRequest, measure_map_trust
from training.runs.folder import unused_folder
from training.shift import ShiftRequest, compare_sets
from training.shifts.sets import SetRequest

_console = PlainConsole(stderr=True)
_MAIN, _OTHER = "100X", "400X"  # magnifications of BreaKHis that are compared
_MOST = 50  # images per patient in a comparison, as training.shift draws them


@dataclass(frozen=True, slots=True)
class Shipment:
    """The checkpoint, what it was trained on with the run's held-out networks, and sets from elsewhere."""

    checkpoint: Path
    run: Path
    data: tuple[Path, ...]  # all folders that the run was trained on
    elsewhere: tuple[SetRequest, ...] = ()
    ablation: bool = True
    map_images: int = 2  # of each patient, on which heat maps are measured


def run(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) whose evaluations to make.")],
    run_folder: Annotated[Path, typer.Option("--run", help="Folder of its run, with the networks of the folds.")],
    data: Annotated[list[Path], typer.Option(help="Folder that contains BreaKHis_v1; repeat the option for several.")],
    elsewhere: Annotated[list[str] | None, typer.Option(help="NAME=ROOT of a set of another laboratory.")] = None,
    *,
    ablation: Annotated[bool, typer.Option(help="Also compare views, stain and quality control.")] = True,
    map_images: Annotated[int, typer.Option(min=1, help="Images per patient on which heat maps are measured.")] = 2,
) -> None:
    """Evaluate out of fold and elsewhere, compare sets, measure heat maps, and replace the folder beside the file."""
    try:
        sets = tuple(SetRequest.of([text], None, _MOST) for text in elsewhere or ())
        written = ship(Shipment(checkpoint, run_folder, tuple(data), sets, ablation, map_images))
    except (UnusableCheckpointError, OSError, ValueError) as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    for path in written:
        PlainConsole().print(f"{path} ({path.stat().st_size / 1000:.0f} kB)", soft_wrap=True)


def ship(shipment: Shipment) -> list[Path]:
    """Make everything, then replace the folder beside the checkpoint; return its files.

    The sets from elsewhere are evaluated and compared, never used to choose or fit anything.

    Raises:
        UnusableCheckpointError: If the checkpoint, or that of a fold, cannot be used.
        OSError: If a folder does not exist.
        ValueError: If there is nothing to evaluate or to compare; the message has the reason.
    """
    target = shipped_folder(shipment.checkpoint)
    with tempfile.TemporaryDirectory() as scratch:
        made = unused_folder(target.parent, f".{target.name}")
        try:
            for name, finished in _evaluations(shipment, Path(scratch)):
                _write(made / name / EVALUATION_FILE, finished.evaluation.to_json())
                _write(made / name / IMAGES_FILE, _images(finished))
            for name, shift in _shifts(shipment):
                _write(made / name / SHIFT_FILE, shift.to_json())
            maps = MapTrustRequest(shipment.checkpoint, "breakhis", shipment.data, shipment.map_images)
            _write(made / MAP_TRUST_FILE, measure_map_trust(maps).to_json())
            # The old folder stays until the new one is whole.
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return sorted(path for path in target.rglob("*") if path.is_file())


def _evaluations(shipment: Shipment, scratch: Path) -> Iterator[tuple[str, FinishedEvaluation]]:
    yield (
        "breakhis",
        evaluate(
            EvaluationRequest(
                shipment.checkpoint,
                "breakhis",
                shipment.data[0],
                "out-of-fold",
                shipment.run,
                ablation=shipment.ablation,
                maps=False,
                out=scratch,
                more=shipment.data[1:],
            )
        ),
    )
    for each in shipment.elsewhere:
        request = EvaluationRequest(
            shipment.checkpoint,
            each.dataset,
            each.root,
            ablation=shipment.ablation,
            maps=False,
            out=scratch,
            beyond_scope=True,
        )
        yield _name(each), evaluate(request)


def _shifts(shipment: Shipment) -> Iterator[tuple[str, Shift]]:
    root, *more = shipment.data
    source = SetRequest("breakhis", root, _MAIN, _MOST, more=tuple(more))
    targets: Sequence[tuple[str, SetRequest]] = [
        (_OTHER, replace(source, magnification=_OTHER)),
        *((_name(each), each) for each in shipment.elsewhere),
    ]
    for name, target in targets:
        yield f"breakhis-{_MAIN}-to-{name}", compare_sets(ShiftRequest(shipment.checkpoint, source, target))


def _name(chosen: SetRequest) -> str:
    return chosen.root.resolve().name if chosen.dataset == "folder" else chosen.dataset


def _images(finished: FinishedEvaluation) -> str:
    """Return the images with their predictions and hashes; neither pixels nor previews are shipped."""
    return images_to_json(stored_images(finished.images, finished.evaluation.label_set))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


app = make_app(run, "python -m training.ship_evaluations models/starter.safetensors --run RUN --data BREAKHIS")

if __name__ == "__main__":
    run_app(app)
