"""Measures how far one image set lies from another, for one network, and what brings its AUC back.

python -m training.shift models/starter.safetensors --source breakhis=BREAKHIS --target bach=BACH
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from core.card import Card, UnusableCheckpointError
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.settings import Settings
from core.statistics.cautions import Caution
from core.statistics.compare_sets import shift_between
from core.statistics.shift import Shift, Step
from db import store
from db.database import open_database
from db.errors import UnusableDatabaseError
from training.evaluation.chosen_images import ALONE, patients_unknown
from training.evaluation.evaluate_checkpoint import new_folder, progress_bar
from training.shifts.sets import ChosenSet, SeenSet, Wish, choose_sets, see, trained_on
from training.shifts.steps import auc_figure, drop_between, preparation_steps, scale_step, tables

_console = Console(stderr=True)  # stdout carries results and nothing else


@dataclass(frozen=True, slots=True)
class Request:
    """Which two sets are compared, by which network."""

    checkpoint: Path
    source: Wish
    target: Wish


def run(  # noqa: PLR0913 - a command line has as many options as there are things to choose
    checkpoint: Annotated[Path, typer.Argument(help="the .safetensors checkpoint whose view of the images counts")],
    source: Annotated[str, typer.Option(help="NAME=ROOT of the set to come from: breakhis, bach, idc or folder")],
    target: Annotated[str, typer.Option(help="NAME=ROOT of the set to go to; `folder`: one with a labels.csv")],
    source_magnification: Annotated[str | None, typer.Option(help="only images of this one, such as 100X")] = None,
    target_magnification: Annotated[str | None, typer.Option(help="only images of this one")] = None,
    most: Annotated[int, typer.Option(min=1, help="images of each patient, drawn at random if there are more")] = 50,
    *,
    out: Annotated[Path, typer.Option(help="folder for the comparisons")] = Path("shifts"),
    database: Annotated[str | None, typer.Option(help="address of the database; the app's if left out")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the comparison as JSON on stdout")] = False,
) -> None:
    """Measure how far one image set lies from another. Research use only; no output is a diagnosis."""
    try:
        wishes = (Wish.of(source, source_magnification, most), Wish.of(target, target_magnification, most))
        sessions = open_database(database or Settings.from_environment().database)
        found = compare_sets(Request(checkpoint, *wishes))
    except (UnusableCheckpointError, UnusableDatabaseError, OSError, ValueError) as error:
        _console.print(escape(str(error)), style="red", soft_wrap=True)
        raise typer.Exit(2) from error
    folder = new_folder(out, found.model_name, found.model_version, found.source, found.target)
    (folder / "shift.json").write_text(found.to_json(), encoding="utf-8")
    with sessions.begin() as session:
        store.evaluations.add_shift(session, found.source, found.target, found.model_version, found.to_json())
    if as_json:
        print(found.to_json())
    else:
        Console().print(*tables(found), sep="\n")
    for warning in found.warnings:
        _console.print(f"caution: {escape(warning.words)}", style="yellow", soft_wrap=True)
    _console.print(f"in {folder / 'shift.json'} and on the page Domain shift", soft_wrap=True)


def compare_sets(request: Request) -> Shift:
    """Choose, measure and judge both sets, and compare them.

    Raises:
        UnusableCheckpointError: If the checkpoint cannot be used.
        TooFewPatientsError: If a set has too few patients to be compared.
        OSError: If a dataset is not there.
        ValueError: If there is nothing to compare, with the reason.
    """
    classifier = load_classifier(request.checkpoint)
    chosen = choose_sets(request.source, request.target)
    with progress_bar() as bar:
        tasks = [bar.add_task(name, total=len(chosen[place].images)) for name, place in _WORK]
        # The target first: it is the one whose images may turn out to be of no use.
        target = see(chosen[1], classifier, lambda: bar.advance(tasks[1]))
        source = see(chosen[0], classifier, lambda: bar.advance(tasks[0]))
        steps: tuple[Step, ...] = ()
        notes: tuple[Caution, ...] = (_no_auc(target),)
        if target.judgeable:
            steps = preparation_steps(target, classifier, lambda: bar.advance(tasks[2]))
            scaled, notes = scale_step(source, target, classifier, lambda: bar.advance(tasks[3]))
            steps = (*steps, scaled) if scaled else steps
    return replace(
        shift_between(source.measured, target.measured, (classifier.card.name, classifier.version)),
        steps=steps,
        source_auc=auc_figure(source),
        drop=drop_between(source, target),
        trained_on=_trained_on(classifier.card, (source, target)),
        warnings=(*_cautions(classifier, chosen, (source, target)), *notes),
    )


_FEW_PATIENTS = 10
_WORK = (("source", 0), ("target", 1), ("what helps", 1), ("scale", 1))


def _trained_on(card: Card, sets: tuple[SeenSet, SeenSet]) -> tuple[int, int]:
    return trained_on(card, sets[0]), trained_on(card, sets[1])


def _no_auc(seen: SeenSet) -> Caution:
    few = f"{seen.measured.name} has fewer than two benign or two malignant images"
    return Caution("no AUC", f"{few}: what helps cannot be measured")


def _cautions(
    classifier: Classifier, chosen: Sequence[ChosenSet], seen: tuple[SeenSet, SeenSet]
) -> tuple[Caution, ...]:
    """Say what a reviewer has to know of the sets, the gravest first."""
    found = []
    for count, each in zip(_trained_on(classifier.card, seen), seen, strict=True):
        if count:
            patients, name = len(set(each.measured.patient_ids)), each.measured.name
            text = f"the network was trained on {count} of {patients} patients of {name}: its AUC there flatters"
            found.append(Caution("trained on", text))
    shared = set(seen[0].measured.patient_ids) & set(seen[1].measured.patient_ids)
    if shared:
        text = f"{len(shared)} patients are in both sets: they stay together wherever patients are drawn or dealt"
        found.append(Caution("shared patients", text))
    for wanted, each in zip(chosen, seen, strict=True):
        if (few := len(set(each.measured.patient_ids))) < _FEW_PATIENTS:
            text = f"only {few} patients of {wanted.name}: a difference has to be large to be seen"
            found.append(Caution("few patients", text))
        if patients_unknown(wanted.images):
            found.append(Caution("patients unknown", f"the patients of {wanted.name} are not known: {ALONE}"))
        if len(wanted.images) < wanted.found:
            text = f"{len(wanted.images)} of {wanted.found} images of {wanted.name} were drawn, see --most"
            found.append(Caution("images drawn", text))
        found.extend(each.left_out)
    if not seen[0].judgeable:
        text = f"{chosen[0].name} has fewer than two benign or two malignant images: there is no AUC to drop from"
        found.append(Caution("no AUC", text))
    return tuple(found)


if __name__ == "__main__":
    typer.run(run)
