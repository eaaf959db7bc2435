"""Choose among recipes by nested cross-validation: the choice for a fold never sees the patients of that fold.

python -m training.nested training/configs/recipes/*.toml --data BREAKHIS --out nested

For every pair of folds each recipe is trained without both; its predictions on one of them help to choose the recipe
that predicts the other. The pooled predictions of the chosen recipes show what to expect of "try them all and take the
best". The recipes' own rows in the table are too optimistic for that, because the best is picked after the fact.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.table import Column, Table

from core.card import UnusableCheckpointError, checkpoint_sha256
from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions
from core.data.datasets import LabelledImage, load_folders
from core.data.left_out import dataset_cautions
from core.data.splits import patient_folds
from core.files import write_whole
from core.fitting.config import FitConfig
from core.fitting.loop import Work
from core.network.branches import MissingWeightsError
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork
from core.statistics.predictions import BinaryPredictions, Estimate, auc, auc_estimate
from core.wording import interval_words
from training.evaluation.chosen_images import ChosenImage
from training.evaluation.predictions import Judge
from training.runs.card import build_card
from training.runs.folder import RunFolder, code_version
from training.runs.parts import Trainer
from training.runs.plan import Part, RunPlan, weight_files
from training.runs.record import Record

_MAIN_MAGNIFICATION = "100X"
_console = PlainConsole(stderr=True)

Malignant = NDArray[np.float64]  # probability of every image, in the order of the list; NaN where there is none


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a recipe predicts for every image: `outer` from all other folds, `inner[i]` without fold i as well."""

    name: str
    outer: Malignant
    inner: tuple[Malignant, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `chosen` counts the folds a recipe was chosen for, None in the row of the choice."""

    name: str
    image: Estimate  # at 100X
    patient: Estimate
    chosen: int | None = None


@dataclass(frozen=True, slots=True)
class Patients:
    """The images and the fold that holds out each."""

    images: tuple[LabelledImage, ...]
    fold: NDArray[np.int64]

    @property
    def folds(self) -> int:
        """Number of folds."""
        return int(self.fold.max()) + 1

    def held_out(self, *folds: int) -> tuple[LabelledImage, ...]:
        """Return the images of the given folds."""
        return tuple(image for image, fold in zip(self.images, self.fold, strict=True) if fold in folds)

    def without(self, *folds: int) -> tuple[LabelledImage, ...]:
        """Return the images of all other folds."""
        return tuple(image for image, fold in zip(self.images, self.fold, strict=True) if fold not in folds)

    def judged(self, malignant: Malignant, *, main: bool) -> BinaryPredictions:
        """Pair the known probabilities with the labels, at the main magnification or at all of them."""
        pairs = [
            (image, float(p))
            for image, p in zip(self.images, malignant, strict=True)
            if np.isfinite(p) and not (main and image.magnification != _MAIN_MAGNIFICATION)
        ]
        return BinaryPredictions.of(
            [image.malignancy == "malignant" for image, _ in pairs],
            [p for _, p in pairs],
            [image.patient_id for image, _ in pairs],
        )


def run(
    configs: Annotated[list[Path], typer.Argument(help="TOML files of the recipes to choose among.")],
    data: Annotated[
        list[Path], typer.Option(help="Folder that contains BreaKHis_v1; repeat the option for several folders.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for training and results; finished parts are reused.")],
    folds: Annotated[int, typer.Option(min=3, help="Number of patient-wise folds.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the assignment of patients to folds.")] = 0,
    weights: Annotated[list[str] | None, typer.Option(help="NAME=FILE: pretrained weights of a branch.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: torch decides.")] = 0,
) -> None:
    """Print the out-of-fold AUC of each recipe, how often it was chosen, and the AUC of the choice."""
    if threads:
        torch.set_num_threads(threads)
    images = load_folders("breakhis", data)
    cautions = dataset_cautions("breakhis", data[0], images, *data[1:])
    print_cautions(_console, cautions)
    patients = assign_folds(images, folds, seed)
    files = weight_files(weights or ())
    recipes = [
        try_recipe(FitConfig.from_toml(path), patients, data, folder_of(path, out, f"{folds} {seed}", files), files)
        for path in configs
    ]
    choices, nested = choose(recipes, patients)
    rows = [_row(recipe.name, recipe.outer, patients, choices.count(n)) for n, recipe in enumerate(recipes)]
    rows.append(_row("chosen without the fold it is judged on", nested, patients))
    write_whole(out / "nested.json", json.dumps([asdict(row) for row in rows], indent=1).encode())
    PlainConsole().print(_table(rows, folds), soft_wrap=False)
    best = max(recipes, key=lambda recipe: score(patients, recipe.outer))
    _console.print(f"Chosen on all folds: {best.name}. Results: {out}")
    end_if_left_out(cautions)


def assign_folds(images: Sequence[LabelledImage], folds: int, seed: int) -> Patients:
    """Assign the patients to folds."""
    parts = [validation for _, validation in patient_folds(images, folds, seed)]
    number = {image.path: n for n, part in enumerate(parts) for image in part}
    return Patients(tuple(images), np.array([number[image.path] for image in images]))


def folder_of(path: Path, out: Path, split: str, weights: Mapping[str, Path] = MappingProxyType({})) -> Path:
    """Return the folder of a recipe, named by a hash of all its values: a changed recipe gets another folder.

    So does one whose pretrained weights have changed.
    """
    config = FitConfig.from_toml(path)
    own = {name: checkpoint_sha256(weights[name]) for name in config.branches if name in weights}
    digest = hashlib.sha256(f"{config!r} {split}{own or ''}".encode()).hexdigest()[:8]
    return out / f"{path.stem}-{digest}"


def try_recipe(
    config: FitConfig,
    patients: Patients,
    roots: Sequence[Path],
    folder: Path,
    weights: Mapping[str, Path] = MappingProxyType({}),
) -> Recipe:
    """Train a recipe without each fold and without each pair of folds, and predict the images left out."""
    pairs = list(combinations(range(patients.folds), 2))
    places = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    outer = np.full(len(patients.images), np.nan)
    inner = tuple(outer.copy() for _ in range(patients.folds))
    with Record(places, (patients.folds + len(pairs)) * config.members * config.epochs) as record:
        trainer = Trainer(config, places.parts, Work(cache=folder.parent / "cache", pool=patients.images), record)
        start = trainer.start(weights)
        for fold in range(patients.folds):
            outer[patients.fold == fold] = _predict_left_out(trainer, start, patients, roots, fold)
        for pair in pairs:
            probabilities = _predict_left_out(trainer, start, patients, roots, *pair)
            fold_of = patients.fold[np.isin(patients.fold, pair)]
            for outer_fold, inner_fold in (pair, pair[::-1]):
                inner[outer_fold][patients.fold == inner_fold] = probabilities[fold_of == inner_fold]
    return Recipe(config.name, outer, inner)


def choose(recipes: Sequence[Recipe], patients: Patients) -> tuple[list[int], Malignant]:
    """Choose a recipe for every fold without its patients; return the choices and their predictions for the folds."""
    choices = []
    nested = np.full(len(patients.images), np.nan)
    for fold in range(patients.folds):
        scores = [score(patients, recipe.inner[fold]) for recipe in recipes]
        choices.append(int(np.argmax(scores)))
        nested[patients.fold == fold] = recipes[choices[-1]].outer[patients.fold == fold]
    return choices, nested


def score(patients: Patients, malignant: Malignant) -> float:
    """Return the score that recipes are chosen by: the mean of the AUC by image at 100X and the AUC by patient."""
    image, patient = patients.judged(malignant, main=True), patients.judged(malignant, main=False).by_patient()
    return (auc(image.malignant, image.probabilities) + auc(patient.malignant, patient.probabilities)) / 2


def _predict_left_out(
    trainer: Trainer, start: HybridNetwork, patients: Patients, roots: Sequence[Path], *folds: int
) -> Malignant:
    """Train without the given folds and return the probabilities of their images, from the journal if it has them."""
    name = "without " + " and ".join(f"fold {fold + 1}" for fold in folds)
    part = Part(name, patients.without(*folds), ())
    plan = RunPlan((), part, (), name)
    trainer.train(start, part)
    card = build_card(plan, trainer.config, code_version(), demonstration=True)
    # One view is enough to choose a recipe; the figures use all views, as in serving.
    card = card if len(folds) == 1 else replace(card, views="one")
    classifier = Classifier(trainer.network(start, part), card, "unsaved")
    journal = trainer.folder / f"{name.replace(' ', '-')}.jsonl"
    judged = Judge(lambda _: classifier, roots[0], journal=journal, more=tuple(roots[1:])).judge(
        [ChosenImage(image) for image in patients.held_out(*folds)]
    )
    return np.array([image.malignant_probability if image.reason is None else np.nan for image in judged])


def _row(name: str, malignant: Malignant, patients: Patients, chosen: int | None = None) -> Row:
    image, patient = patients.judged(malignant, main=True), patients.judged(malignant, main=False).by_patient()
    return Row(name, auc_estimate(image), auc_estimate(patient), chosen)


def _table(rows: Sequence[Row], folds: int) -> Table:
    table = Table(
        Column("recipe", overflow="fold"),
        "AUC by image, 100X",
        "AUC by accession number",
        f"times chosen, of {folds} folds",
    )
    for row in rows:
        table.add_row(
            row.name,
            interval_words(row.image),
            interval_words(row.patient),
            "" if row.chosen is None else str(row.chosen),
        )
    return table


app = make_app(
    run,
    "python -m training.nested training/configs/recipes/*.toml --data BREAKHIS --out nested",
    MissingWeightsError,
    OSError,
    UnusableCheckpointError,
    ValueError,
)

if __name__ == "__main__":
    run_app(app)
