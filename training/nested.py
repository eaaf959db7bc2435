"""Chooses among recipes by nested cross-validation: the choice for a fold never sees the patients it is judged on.

python -m training.nested training/configs/recipes/*.toml --data BREAKHIS --out nested

For every pair of folds each recipe is trained without both; what it then says of the one is used to choose the recipe
that judges the other. The pooled predictions of the chosen recipes are what a reader may expect of "try them all and
take the best"; a recipe's own row in the table has been looked at and flatters.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table

from core.data.datasets import LabelledImage, breakhis
from core.data.splits import patient_folds
from core.files import write_whole
from core.fitting.config import FitConfig
from core.fitting.loop import Work
from core.network.classifier import Classifier
from core.statistics.predictions import Estimate, Judged, auc, auc_estimate
from training.evaluation.chosen_images import Chosen
from training.evaluation.predictions import Judge
from training.runs.card import first_card
from training.runs.folder import RunFolder, code_version
from training.runs.parts import Trainer
from training.runs.plan import Part, Plan
from training.runs.record import Record

_MAIN_MAGNIFICATION = "100X"
_console = Console(stderr=True)

Malignant = NDArray[np.float64]  # probability of every image, in the order of the list; NaN where not judged


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a recipe said of every image: `outer` trained on all other folds, `inner[i]` without fold i as well."""

    name: str
    outer: Malignant
    inner: tuple[Malignant, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `chosen` is the number of folds a recipe was chosen for, None for what is no recipe."""

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
        """How many folds there are."""
        return int(self.fold.max()) + 1

    def held_out(self, *folds: int) -> tuple[LabelledImage, ...]:
        """Give the images of some folds."""
        return tuple(image for image, fold in zip(self.images, self.fold, strict=True) if fold in folds)

    def without(self, *folds: int) -> tuple[LabelledImage, ...]:
        """Give the images of all other folds."""
        return tuple(image for image, fold in zip(self.images, self.fold, strict=True) if fold not in folds)

    def judged(self, malignant: Malignant, *, main: bool) -> Judged:
        """Put probabilities beside the truth, of the main magnification or of all, where there are any."""
        chosen = [
            (image, float(p))
            for image, p in zip(self.images, malignant, strict=True)
            if np.isfinite(p) and not (main and image.magnification != _MAIN_MAGNIFICATION)
        ]
        return Judged.of(
            [image.malignancy == "malignant" for image, _ in chosen],
            [p for _, p in chosen],
            [image.patient_id for image, _ in chosen],
        )


def run(
    configs: Annotated[list[Path], typer.Argument(help="the TOML files to choose among")],
    data: Annotated[Path, typer.Option(help="folder with BreaKHis_v1 in it")],
    out: Annotated[Path, typer.Option(help="folder for trainings and results; what is there is not done again")],
    folds: Annotated[int, typer.Option(help="parts that the patients are dealt to")] = 5,
    seed: Annotated[int, typer.Option(help="of the dealing")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves it to torch")] = 0,
) -> None:
    """Print what each recipe reaches out of fold, which was chosen for which fold, and what the choice reaches."""
    if threads:
        torch.set_num_threads(threads)
    patients = deal(breakhis(data), folds, seed)
    recipes = [
        try_recipe(FitConfig.from_toml(path), patients, data, folder_of(path, out, f"{folds} {seed}"))
        for path in configs
    ]
    choices, nested = choose(recipes, patients)
    rows = [_row(recipe.name, recipe.outer, patients, choices.count(n)) for n, recipe in enumerate(recipes)]
    rows.append(_row("chosen without the fold it is judged on", nested, patients))
    write_whole(out / "nested.json", json.dumps([asdict(row) for row in rows], indent=1).encode())
    Console().print(_table(rows, folds))
    best = max(recipes, key=lambda recipe: score(patients, recipe.outer))
    _console.print(f"on all folds the same choice is {best.name}; results in {out}", soft_wrap=True)


def deal(images: Sequence[LabelledImage], folds: int, seed: int) -> Patients:
    """Deal the patients to folds."""
    parts = [validation for _, validation in patient_folds(images, folds, seed)]
    number = {image.path: n for n, part in enumerate(parts) for image in part}
    return Patients(tuple(images), np.array([number[image.path] for image in images]))


def folder_of(path: Path, out: Path, dealing: str) -> Path:
    """Name the folder of a recipe after all its numbers: a recipe that was changed is another one."""
    mark = hashlib.sha256(f"{FitConfig.from_toml(path)!r} {dealing}".encode()).hexdigest()[:8]
    return out / f"{path.stem}-{mark}"


def try_recipe(config: FitConfig, patients: Patients, root: Path, folder: Path) -> Recipe:
    """Train a recipe without every fold and without every pair of folds, and let it judge what it did not see."""
    pairs = list(combinations(range(patients.folds), 2))
    places = RunFolder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    outer = np.full(len(patients.images), np.nan)
    inner = tuple(outer.copy() for _ in range(patients.folds))
    with Record(places, (patients.folds + len(pairs)) * config.members * config.epochs) as record:
        trainer = Trainer(config, places.parts, Work(cache=folder.parent / "cache", pool=patients.images), record)
        for fold in range(patients.folds):
            outer[patients.fold == fold] = _malignant(trainer, patients, root, fold)
        for pair in pairs:
            found = _malignant(trainer, patients, root, *pair)
            fold_of = patients.fold[np.isin(patients.fold, pair)]
            for left_out, judged in (pair, pair[::-1]):
                inner[left_out][patients.fold == judged] = found[fold_of == judged]
    return Recipe(config.name, outer, inner)


def choose(recipes: Sequence[Recipe], patients: Patients) -> tuple[list[int], Malignant]:
    """Choose a recipe for every fold without its patients; give the choices and what the chosen say of their folds."""
    choices = []
    nested = np.full(len(patients.images), np.nan)
    for fold in range(patients.folds):
        scores = [score(patients, recipe.inner[fold]) for recipe in recipes]
        choices.append(int(np.argmax(scores)))
        nested[patients.fold == fold] = recipes[choices[-1]].outer[patients.fold == fold]
    return choices, nested


def score(patients: Patients, malignant: Malignant) -> float:
    """Give what recipes are chosen by: the mean of the AUC by image at 100X and the AUC by patient."""
    image, patient = patients.judged(malignant, main=True), patients.judged(malignant, main=False).by_patient()
    return (auc(image.malignant, image.probabilities) + auc(patient.malignant, patient.probabilities)) / 2


def _malignant(trainer: Trainer, patients: Patients, root: Path, *folds: int) -> Malignant:
    """Train without some folds and give the probabilities of their images; what a journal holds is taken from it."""
    name = "without " + " and ".join(f"fold {fold + 1}" for fold in folds)
    part = Part(name, patients.without(*folds), ())
    plan = Plan((), part, (), name)
    start = trainer.start({})
    trainer.train(start, part)
    card = first_card(plan, trainer.config, code_version(), demonstration=True)
    # A choice can rest on one view; the figures are those of all views, as in serving.
    card = card if len(folds) == 1 else replace(card, views="one")
    classifier = Classifier(trainer.network(start, part), card, "unsaved")
    journal = trainer.folder / f"{name.replace(' ', '-')}.jsonl"
    judged = Judge(lambda _: classifier, root, journal=journal).judge(
        [Chosen(image) for image in patients.held_out(*folds)]
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
        f"chosen for folds of {folds}",
    )
    for row in rows:
        table.add_row(row.name, _words(row.image), _words(row.patient), "" if row.chosen is None else str(row.chosen))
    return table


def _words(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


if __name__ == "__main__":
    typer.run(run)
