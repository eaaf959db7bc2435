"""Fit what a checkpoint keeps of its training images, so that it gives no opinion on images that are unlike them.

python -m training.scope models/starter.safetensors --data BREAKHIS --data MORE --out models/starter.safetensors
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from core.card import UnusableCheckpointError
from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions, progress_bar
from core.data.datasets import OUTSIDE, DatasetName, LabelledImage, load_folders
from core.data.images import read_image
from core.data.left_out import dataset_cautions
from core.identifiers import fold_identifier
from core.imaging.scale import known_um_per_px
from core.network.checkpoint import add_scope, load_classifier
from core.network.classifier import Classifier
from training.evaluation.chosen_images import fold_patients
from training.runs.folder import RunFolder
from training.scopes.fit import HeldOut, MeasuredImage, fit_scope, leave_one_out, measure_image

_console = PlainConsole(stderr=True)


def run(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) whose scope is fitted.")],
    data: Annotated[list[Path], typer.Option(help="Folder of its training images; repeatable.")],
    out: Annotated[Path, typer.Option(help="The new checkpoint; the old one is left as it is.")],
    *,
    dataset: Annotated[DatasetName, typer.Option(help="Dataset in the folders.")] = "breakhis",
    run_folder: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Folder of its run: limits come from the folds' networks. Needed if more than a "
            "head was trained; without it, each patient is compared with all others by the same network.",
        ),
    ] = None,
    outside: Annotated[bool, typer.Option("--outside", help=OUTSIDE)] = False,
    device: Annotated[str, typer.Option(help="Device: cpu or cuda.")] = "cpu",
) -> None:
    """Fit the scope of a checkpoint by patient and write it with the network to a new file."""
    try:
        images = load_folders(dataset, data, outside=outside)
        cautions = dataset_cautions(dataset, data[0], images, *data[1:])
        print_cautions(_console, cautions)
        classifier = load_classifier(checkpoint, device)
        measured = _measure(images, classifier, "network")
        folds = [] if run_folder is None else list(_fold_networks(run_folder, device))
        held_out = _held_out_by_folds(images, folds) if folds else leave_one_out(measured)
        who = "the networks of the folds" if folds else "one patient left out at a time"
        protocol = f"{who}: {len(measured)} images of {len({image.patient_id for image in measured})} patients"
        reference, about = fit_scope(measured, held_out, classifier.reference_widths, protocol)
        sha256 = add_scope(checkpoint, out, reference, about)
    except (UnusableCheckpointError, OSError, ValueError) as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    print(
        f"Wrote {out} (version {sha256[:12]}). Out of scope: {about.false_alarms:.1%} of held-out training images, "
        f"every patient with the same weight; unusual or out: {about.unusual:.1%}. {about.protocol}."
    )
    end_if_left_out(cautions)


def _measure(images: Sequence[LabelledImage], classifier: Classifier, name: str) -> list[MeasuredImage]:
    measured = []
    with progress_bar() as bar:
        task = bar.add_task(name, total=len(images))
        for image in images:
            one = _measure_file(image, classifier)
            if isinstance(one, str):
                _console.print(f"left out: {image.path.name}: {one}")
            else:
                measured.append(one)
            bar.advance(task)
    return measured


def _measure_file(image: LabelledImage, classifier: Classifier) -> MeasuredImage | str:
    decoded = read_image(image)
    if isinstance(decoded, str):
        return decoded
    scale = known_um_per_px(image.um_per_px, decoded.scale)
    return measure_image(decoded.pixels, fold_identifier(image.patient_id), classifier, scale)


def _fold_networks(run_folder: Path, device: str) -> Iterable[Classifier]:
    paths = sorted((run_folder / "folds").glob("*.safetensors"))
    if not paths:
        raise ValueError(f"{run_folder} has no networks of folds")
    return [load_classifier(RunFolder(run_folder).fold(int(path.stem)), device) for path in paths]


def _held_out_by_folds(images: Sequence[LabelledImage], folds: Sequence[Classifier]) -> Iterable[HeldOut]:
    """Yield for each fold's network the patients it was not trained on; one that none was trained on comes once."""
    seen: set[str] = set()
    for number, classifier in enumerate(folds, start=1):
        trained = fold_patients(classifier.card.training_data)
        measured = _measure(images, classifier, f"fold {number}")
        known = tuple(image for image in measured if image.patient_id in trained)
        others = {image.patient_id for image in measured} - trained - seen
        seen |= others
        if others:
            yield HeldOut(known, tuple(image for image in measured if image.patient_id in others))


app = make_app(
    run,
    "python -m training.scope models/starter.safetensors --data BREAKHIS --out models/scoped.safetensors",
)

if __name__ == "__main__":
    run_app(app)
