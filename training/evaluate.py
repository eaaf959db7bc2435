"""Evaluate a checkpoint on labelled images with the code that serves readers, and write a report for reviewers.

python -m training.evaluate models/starter.safetensors --dataset breakhis --data BREAKHIS
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from core.card import UnusableCheckpointError
from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions
from core.data.datasets import OUTSIDE, PATIENT_TABLE, DatasetName
from core.labels import BINARY, LabelSet
from core.settings import Settings
from core.statistics.evaluation import Evaluation
from core.wording import bounds_words, count_words
from db import store
from db.database import open_database
from db.errors import DatabaseBusyError, UnusableDatabaseError
from db.files import Files
from db.values.evaluations import EvaluatedImage, NewEvaluation
from training.evaluation.chosen_images import SplitPart
from training.evaluation.evaluate_checkpoint import EvaluationRequest, evaluate
from training.evaluation.predictions import JudgedImage, probabilities_in
from training.evaluation.report import format_number

_console = PlainConsole(stderr=True)  # stdout carries results and nothing else


def run(  # noqa: PLR0913 - a command line has as many options as there are things to choose
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) to evaluate.")],
    dataset: Annotated[DatasetName, typer.Option(help="Dataset whose file and folder names give the labels.")],
    data: Annotated[
        list[Path],
        typer.Option(help="Folder of the dataset; repeat the option for several. A `folder` has a labels.csv."),
    ],
    split: Annotated[
        SplitPart, typer.Option(help="Part of the run's split; out-of-fold uses the networks of the folds.")
    ] = "all",
    run_folder: Annotated[
        Path | None, typer.Option("--run", help="Folder of the run; by default the folder of the checkpoint.")
    ] = None,
    lists: Annotated[Path | None, typer.Option(help="Lists of the official folds, for out-of-fold.")] = None,
    threshold: Annotated[str, typer.Option(help="card or 0.5; never fitted to the evaluated images.")] = "card",
    *,
    patients: Annotated[Path | None, typer.Option(help=PATIENT_TABLE)] = None,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also compare views, stain and quality control.")
    ] = False,
    beyond_scope: Annotated[
        bool, typer.Option("--beyond-scope", help="Also measure images on which readers get no opinion.")
    ] = False,
    outside: Annotated[bool, typer.Option("--outside", help=OUTSIDE)] = False,
    maps: Annotated[bool, typer.Option(help="Store a heat map for every image.")] = True,
    out: Annotated[Path, typer.Option(help="Folder for the evaluations.")] = Path("evaluations"),
    database: Annotated[str | None, typer.Option(help="URL of the database; the app's by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the evaluation as JSON.")] = False,
) -> None:
    """Evaluate a checkpoint on labelled images without fitting. Research use only; no output is a diagnosis."""
    settings = Settings.from_environment()
    request = EvaluationRequest(
        checkpoint,
        dataset,
        data[0],
        split,
        run_folder,
        lists,
        threshold,
        ablation,
        maps,
        out,
        settings.device,
        outside,
        patients,
        tuple(data[1:]),
        beyond_scope,
    )
    try:
        sessions = open_database(database or settings.database)
        finished = evaluate(request, Files(settings.files))
    except (UnusableCheckpointError, UnusableDatabaseError, OSError, ValueError) as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    evaluation = finished.evaluation
    row = NewEvaluation(
        evaluation.model_name,
        evaluation.model_version,
        evaluation.dataset,
        evaluation.split,
        str(finished.folder.resolve()),
        evaluation.to_json(),
    )
    with sessions.begin() as session:
        number = store.evaluations.add_evaluation(session, row, stored_images(finished.images, evaluation.label_set))
        shared = store.evaluations.overlap(session, None, number)
    if as_json:
        print(evaluation.to_json())
    else:
        PlainConsole().print(figure_table(evaluation), soft_wrap=False)
        if evaluation.ablation:
            PlainConsole().print(ablation_table(evaluation), soft_wrap=False)
    print_cautions(_console, evaluation.warnings)
    for note, images in Counter(note.note for note in evaluation.notes).items():
        _console.print(f"Note: {count_words(images, 'image')}: {note}")
    if shared.images:
        _console.print(f"Caution: {shared.words}", style="yellow")
    if evaluation.scope:
        _console.print(f"Scope: {evaluation.scope.words}.")
    _console.print(
        f"{count_words(len(evaluation.excluded), 'image')} without a result. Nothing was fitted. "
        f"Report: {finished.folder}"
    )
    end_if_left_out(evaluation.warnings)


def figure_table(evaluation: Evaluation) -> Table:
    """Return a table of the figures with their intervals."""
    title = f"{evaluation.model_name} {evaluation.model_version} on {evaluation.dataset}, {evaluation.split}"
    table = Table("figure", "by", "n", "value", "95% interval", title=title)
    for figure in evaluation.figures:
        table.add_row(figure.name, figure.unit, str(figure.n), format_number(figure.value), bounds_words(figure))
    return table


def ablation_table(evaluation: Evaluation) -> Table:
    """Return a table of what views, stain normalisation and quality control change."""
    table = Table("views", "stain", "quality control", "n", "AUC", "change", "95% interval", title="ablation")
    for row in evaluation.ablation:
        change = (
            ("reference (as in the card)", "")
            if row.change is None
            else (format_number(row.change.value), bounds_words(row.change))
        )
        control = "on" if row.quality_control else "off"
        table.add_row(row.views, row.stain, control, str(row.images), format_number(row.auc.value), *change)
    return table


def stored_images(images: Sequence[JudgedImage], label_set: LabelSet) -> list[EvaluatedImage]:
    """Return the rows for the database: the predictions, in the classes that model and images share."""
    predicted = [image for image in images if image.reason is None]
    return [
        EvaluatedImage(
            position=position,
            name=image.file,
            patient_id=image.patient_id,
            magnification=image.magnification,
            label=image.label,
            predicted=image.predicted if label_set != BINARY else BINARY.classes[image.called_malignant],
            malignant=image.malignant,
            called_malignant=image.called_malignant,
            malignant_probability=image.malignant_probability,
            probabilities=probabilities_in(image, label_set),
            preview_sha256=image.preview_sha256,
            heatmap_sha256=image.heatmap_sha256,
            source_sha256=image.sha256,
            file_sha256=image.pixels_sha256,
        )
        for position, image in enumerate(predicted, start=1)
    ]


app = make_app(
    run,
    "python -m training.evaluate models/starter.safetensors --dataset breakhis --data BREAKHIS",
    OSError,
    ValueError,
    DatabaseBusyError,
)

if __name__ == "__main__":
    run_app(app)
