"""Try after how many cases the watch over uploads notices that a laboratory's stain has changed.

python -m training.try_watch models/starter.safetensors --data BREAKHIS --data MORE
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from core.card import UnusableCheckpointError
from core.command_line import make_app, run_app
from core.console import PlainConsole, progress_bar
from core.data.datasets import OUTSIDE, DatasetName, LabelledImage, load_folders
from core.data.images import read_image
from core.identifiers import fold_identifier
from core.imaging.decode import DecodedImage
from core.imaging.scale import known_um_per_px
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.statistics.drift import LEAST_CASES, ScoredUpload, cases_to_notice, watch_uploads
from training.scopes.fit import LEAST_PATIENTS, MeasuredImage, measure_image, score_altered
from training.scopes.pictures import change_stain, measure_stain

# How far the optical densities in R, G and B move, in standard deviations between patients (of their logarithm).
_CHANGES: Mapping[str, tuple[float, float, float]] = {
    "unchanged": (0, 0, 0),
    "darker by 1 SD": (1, 1, 1),
    "paler by 1 SD": (-1, -1, -1),
    "red 1 SD up, blue 1 SD down": (1, 0, -1),
    "darker by 2 SD": (2, 2, 2),
    "paler by 2 SD": (-2, -2, -2),
}
_MONTHS = (LEAST_CASES, 10, 20, 50, 100)  # cases in a month
_CERTAINTY = 0.9
_console = PlainConsole(stderr=True)


@dataclass(frozen=True, slots=True)
class WatchTrial:
    """How one change of the stain shows: share of patients out of scope, and of months with an alarm by their cases."""

    patients: int
    typical: float  # geometric mean over patients of each patient's mean score
    out_of_scope: float
    alarms: Mapping[int, float]


def run(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors) that has a scope.")],
    data: Annotated[list[Path], typer.Option(help="Folder of its training images; repeatable.")],
    *,
    dataset: Annotated[DatasetName, typer.Option(help="Dataset in the folders.")] = "breakhis",
    outside: Annotated[bool, typer.Option("--outside", help=OUTSIDE)] = False,
    months: Annotated[int, typer.Option(min=100, help="How many months to simulate for each number of cases.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn at random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Change the stain of the training images and count in how many simulated months the watch raises an alarm.

    Each patient is compared with the images of all others, as when the scope was fitted, and is one case. The change
    is measured in standard deviations between patients.
    """
    try:
        images = load_folders(dataset, data, outside=outside)
        classifier = load_classifier(checkpoint)
        if classifier.scope is None or classifier.card.scope is None:
            raise ValueError(f"{checkpoint.name} has no scope: fit it with python -m training.scope")
        measured = _measure(images, classifier)
        if len({image.patient_id for image in measured["unchanged"]}) < LEAST_PATIENTS:
            raise ValueError(f"the watch needs images of at least {LEAST_PATIENTS} patients")
    except (UnusableCheckpointError, OSError, ValueError) as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    scores = score_altered(measured["unchanged"], measured, classifier.scope)
    known, random = classifier.card.scope.patient_scores, np.random.default_rng(seed)
    trials = {name: _try_months(list(found.values()), known, months, random) for name, found in scores.items()}
    if as_json:
        print(json.dumps({name: asdict(trial) for name, trial in trials.items()}))
        return
    stated = cases_to_notice(len(known))
    print(
        f"Stated: a change of the scores by 1 SD is noticed with {stated} cases a month ({_CERTAINTY:.0%} of months)."
    )
    for name, trial in trials.items():
        alarms = ", ".join(f"{cases}: {share:.1%}" for cases, share in trial.alarms.items())
        print(
            f"{name}: typical score {trial.typical:.2f}, {trial.out_of_scope:.0%} of {trial.patients} patients "
            f"out of scope; months with an alarm, by cases: {alarms}"
        )


def _measure(images: Sequence[LabelledImage], classifier: Classifier) -> dict[str, list[MeasuredImage]]:
    """Measure every image with every change of its stain; an image that cannot be read is left out and named."""
    decoded = [(image, one) for image in images if (one := _read(image)) is not None]
    spread = _spread_between_patients(decoded)
    measured: dict[str, list[MeasuredImage]] = {name: [] for name in _CHANGES}
    with progress_bar() as bar:
        task = bar.add_task("images", total=len(decoded) * len(_CHANGES))
        for image, one in decoded:
            patient, scale = fold_identifier(image.patient_id), known_um_per_px(image.um_per_px, one.scale)
            for name, steps in _CHANGES.items():
                pixels = change_stain(one.pixels, np.exp(spread * steps)) if any(steps) else one.pixels
                found = measure_image(pixels, patient, classifier, scale)
                if isinstance(found, str):
                    _console.print(f"left out: {image.path.name}, {name}: {found}")
                else:
                    measured[name].append(found)
                bar.advance(task)
    return measured


def _read(image: LabelledImage) -> DecodedImage | None:
    decoded = read_image(image)
    if isinstance(decoded, str):
        _console.print(f"left out: {image.path.name}: {decoded}")
        return None
    return decoded


def _spread_between_patients(images: Sequence[tuple[LabelledImage, DecodedImage]]) -> NDArray[np.float64]:
    """Return the standard deviation between patients of the logarithm of the optical density in R, G and B."""
    stains: dict[str, list[NDArray[np.float64]]] = {}
    for image, one in images:
        stains.setdefault(fold_identifier(image.patient_id), []).append(np.log(measure_stain(one.pixels)))
    return np.asarray(np.std([np.mean(of_patient, axis=0) for of_patient in stains.values()], axis=0, ddof=1))


def _try_months(
    scores: Sequence[float], training: Sequence[float], months: int, random: np.random.Generator
) -> WatchTrial:
    typical = float(np.exp(np.mean(np.log(scores))))
    out = float(np.mean(np.array(scores) >= 1))
    alarms = {cases: _share_of_alarms(random.choice(scores, (months, cases)), training) for cases in _MONTHS}
    return WatchTrial(len(scores), typical, out, alarms)


def _share_of_alarms(months: NDArray[np.float64], training: Sequence[float]) -> float:
    alarms = 0
    for month in months:
        uploads = [ScoredUpload(date(2000, 1, 1), str(number), float(score)) for number, score in enumerate(month)]
        alarms += watch_uploads(uploads, training)[0].alarm
    return alarms / len(months)


app = make_app(run, "python -m training.try_watch models/starter.safetensors --data BREAKHIS --data MORE")

if __name__ == "__main__":
    run_app(app)
