"""Measure how far one image set lies from another for one network, and which steps recover its AUC.

python -m training.shift models/starter.safetensors --source breakhis=BREAKHIS --target bach=BACH
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from core.card import Card, UnusableCheckpointError
from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions, progress_bar
from core.data.datasets import OUTSIDE, PATIENT_TABLE
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.settings import Settings
from core.statistics.cautions import FEW_PATIENTS, Caution
from core.statistics.compare_sets import measure_shift
from core.statistics.shift import Shift, Step
from core.wording import count_words
from db import store
from db.database import open_database
from db.errors import DatabaseBusyError, UnusableDatabaseError
from training.evaluation.chosen_images import patients_caution
from training.evaluation.evaluate_checkpoint import create_folder
from training.evaluation.usable_images import refuse_unusable
from training.shifts.sets import (
    AnalysedSet,
    ChosenSet,
    SetRequest,
    analyse_set,
    choose_sets,
    count_training_patients,
)
from training.shifts.steps import auc_figure, build_tables, measure_drop, preparation_steps, scale_step

_console = PlainConsole(stderr=True)  # stdout carries results and nothing else


@dataclass(frozen=True, slots=True)
class ShiftRequest:
    """The two sets to compare and the checkpoint to compare them with."""

    checkpoint: Path
    source: SetRequest
    target: SetRequest


def run(  # noqa: PLR0913 - a command line has as many options as there are things to choose
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) to compare the sets with.")],
    source: Annotated[
        list[str], typer.Option(help="NAME=ROOT of the source set: breakhis, bach, idc or folder; repeatable.")
    ],
    target: Annotated[
        list[str], typer.Option(help="NAME=ROOT of the target set; a `folder` has a labels.csv; repeatable.")
    ],
    source_magnification: Annotated[str | None, typer.Option(help="Use only this magnification, such as 100X.")] = None,
    target_magnification: Annotated[str | None, typer.Option(help="Use only this magnification.")] = None,
    most: Annotated[int, typer.Option(min=1, help="Images per patient; if there are more, a random sample.")] = 50,
    *,
    patients: Annotated[Path | None, typer.Option(help=PATIENT_TABLE)] = None,
    outside: Annotated[bool, typer.Option("--outside", help=OUTSIDE)] = False,
    out: Annotated[Path, typer.Option(help="Folder for the comparisons.")] = Path("shifts"),
    database: Annotated[str | None, typer.Option(help="URL of the database; the app's by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Measure how far one image set lies from another. Research use only; no output is a diagnosis."""
    try:
        requests = (
            SetRequest.of(source, source_magnification, most, outside=outside, patients=patients),
            SetRequest.of(target, target_magnification, most, outside=outside, patients=patients),
        )
        sessions = open_database(database or Settings.from_environment().database)
        shift = compare_sets(ShiftRequest(checkpoint, *requests))
    except (UnusableCheckpointError, UnusableDatabaseError, OSError, ValueError) as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    folder = create_folder(out, shift.model_name, shift.model_version, shift.source, shift.target)
    (folder / "shift.json").write_text(shift.to_json(), encoding="utf-8")
    with sessions.begin() as session:
        store.evaluations.add_shift(session, shift.source, shift.target, shift.model_version, shift.to_json())
    if as_json:
        print(shift.to_json())
    else:
        PlainConsole().print(*build_tables(shift), sep="\n", soft_wrap=False)
    print_cautions(_console, shift.warnings)
    _console.print(f"Saved to {folder / 'shift.json'}; also shown on the Domain shift page.")
    end_if_left_out(shift.warnings)


def compare_sets(request: ShiftRequest) -> Shift:
    """Choose and analyse the images of both sets, and compare the sets.

    Raises:
        UnusableCheckpointError: If the checkpoint cannot be used.
        TooFewPatientsError: If a set has too few patients to be compared.
        OSError: If a dataset does not exist.
        ValueError: If there is nothing to compare; the message has the reason.
    """
    classifier = load_classifier(request.checkpoint)
    chosen = choose_sets(request.source, request.target)
    refuse_unusable_sets(chosen, classifier.card)
    with progress_bar() as bar:

        def begin(name: str, images: int) -> Callable[[], None]:
            # A bar is drawn when its work begins: one whose work is not done would stay at nothing.
            task = bar.add_task(name, total=images)
            return lambda: bar.advance(task)

        # The target first: it is the set whose images may turn out to be unusable.
        target = analyse_set(chosen[1], classifier, begin("target", len(chosen[1].images)))
        source = analyse_set(chosen[0], classifier, begin("source", len(chosen[0].images)))
        steps: tuple[Step, ...] = ()
        notes: tuple[Caution, ...] = (_no_auc(target),)
        if target.judgeable:
            steps = preparation_steps(target, classifier, begin("preparation", len(target.images)))
            scaled, notes = scale_step(source, target, classifier, lambda: begin("scale", len(target.images)))
            steps = (*steps, scaled) if scaled else steps
    return replace(
        measure_shift(source.measured, target.measured, (classifier.card.name, classifier.version)),
        steps=steps,
        source_auc=auc_figure(source),
        drop=measure_drop(source, target),
        trained_on=_trained_on(classifier.card, (source, target)),
        scope=(source.scope, target.scope),
        warnings=(*_cautions(classifier, chosen, (source, target)), *notes),
    )


def refuse_unusable_sets(chosen: Sequence[ChosenSet], card: Card) -> None:
    """Refuse sets of which the network can take no image; only the headers of files are read.

    Raises:
        ValueError: If it can take no image of one of them; the message names each.
    """
    problems = []
    for each in chosen:
        try:
            refuse_unusable(each.name, each.images, card)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(". ".join(problems))


def _trained_on(card: Card, sets: tuple[AnalysedSet, AnalysedSet]) -> tuple[int, int]:
    first, second = (count_training_patients(card, each.dataset, each.images) for each in sets)
    return first, second


def _no_auc(seen: AnalysedSet) -> Caution:
    few = f"{seen.measured.name} has fewer than two benign or two malignant images"
    return Caution("no AUC", f"{few}, so the effect of preparation steps cannot be measured")


def _cautions(
    classifier: Classifier, chosen: Sequence[ChosenSet], seen: tuple[AnalysedSet, AnalysedSet]
) -> tuple[Caution, ...]:
    """Return what a reviewer has to know about the sets, the most serious first."""
    collected = []
    for count, each in zip(_trained_on(classifier.card, seen), seen, strict=True):
        if count:
            patients, name = len(set(each.measured.patient_ids)), each.measured.name
            text = (
                f"the network was trained on {count} of {patients} patients of {name}: its AUC there is too optimistic"
            )
            collected.append(Caution("trained on", text))
    shared = set(seen[0].measured.patient_ids) & set(seen[1].measured.patient_ids)
    if shared:
        common = count_words(len(shared), "patient")
        text = f"both sets have {common} in common; resampling and random halves keep their images together"
        collected.append(Caution("shared patients", text))
    for selection, each in zip(chosen, seen, strict=True):
        if (few := len(set(each.measured.patient_ids))) < FEW_PATIENTS:
            text = f"{selection.name} has only {count_words(few, 'patient')}: only large differences can be detected"
            collected.append(Caution("few patients", text))
        if caution := patients_caution(selection.images, selection.name):
            collected.append(caution)
        if len(selection.images) < selection.found:
            text = f"{len(selection.images)} of {selection.found} images of {selection.name} were sampled (see --most)"
            collected.append(Caution("images drawn", text))
        collected.extend((*selection.cautions, *each.left_out))
    if not seen[0].judgeable:
        text = (
            f"{chosen[0].name} has fewer than two benign or two malignant images, so a drop of AUC cannot be measured"
        )
        collected.append(Caution("no AUC", text))
    return tuple(collected)


app = make_app(
    run,
    "python -m training.shift models/starter.safetensors --source breakhis=BREAKHIS --target bach=BACH",
    OSError,
    DatabaseBusyError,
)

if __name__ == "__main__":
    run_app(app)
