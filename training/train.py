"""Trains a network as one TOML file says, judges it out of fold by patient, and writes the checkpoint.

python -m training.train training/configs/starter.toml --data BREAKHIS --out models/starter.safetensors
"""

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from core.calibration import fit_temperature, youden_threshold
from core.card import Card, Metric, TrainingData
from core.checkpoint import save_checkpoint
from core.classifier import Classifier
from core.datasets import LabelledImage, breakhis
from core.fit_config import FitConfig
from core.fitting import Epoch, fit, mean_network, warm_up
from core.images import decode_image
from core.labels import BINARY
from core.metrics import Judged, auc_estimate
from core.network import HybridNetwork, MissingWeightsError
from core.pipeline import analyse_image
from core.precision import bf16_gate
from core.results import RgbImage
from core.splits import patient_folds

_PROJECT = Path(__file__).resolve().parent.parent
_NOTE = (
    "Demonstration model, trained from scratch on a few patients of one laboratory. "
    "Research use only: no decision about a patient may rest on it."
)
_MAIN_MAGNIFICATION = "100X"

Report = Callable[[str, Epoch], None]


def run(
    config: Annotated[Path, typer.Argument(help="the TOML file with the numbers of the run")],
    data: Annotated[Path, typer.Option(help="folder with BreaKHis_v1 in it")],
    out: Annotated[Path, typer.Option(help="the checkpoint to write")],
    runs: Annotated[Path, typer.Option(help="folder for the histories")] = Path("runs"),
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves it to torch")] = 0,
    weights: Annotated[list[str] | None, typer.Option(help="NAME=FILE: pretrained weights of a branch")] = None,
) -> None:
    """Train on every fold for the figures, then on all patients for the checkpoint."""
    if threads:
        torch.set_num_threads(threads)
    settings = FitConfig.from_toml(config)
    weight_files = _weight_files(weights or [])
    images = breakhis(data)
    folder = runs / f"{settings.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    console = Console(stderr=True)
    with _progress(console) as bar, (folder / "history.jsonl").open("w", encoding="utf-8") as history:
        parts = (settings.folds + 1) * settings.members * settings.epochs
        task = bar.add_task("", total=parts + (settings.generated is not None))

        def report(part: str, epoch: Epoch) -> None:
            history.write(json.dumps({"part": part, **asdict(epoch)}) + "\n")
            history.flush()
            bar.update(task, advance=1, description=f"{part}: loss {epoch.loss:.3f}")

        start = first_network(settings, report, weight_files)
        card = judge_out_of_fold(start, images, settings, report)
        network = train_members(start, images, [], settings, "all patients", report)
    if settings.precision == "bf16":
        card = _with_gated_precision(network, card, images)
    sha256 = save_checkpoint(out, network, card)
    (folder / "card.json").write_text(card.to_json(), encoding="utf-8")
    for metric in card.metrics:
        console.print(
            f"{metric.name}: {metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}], {metric.protocol}",
            soft_wrap=True,
        )
    console.print(
        f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB, version {sha256[:12]}); history in {folder}", soft_wrap=True
    )


def first_network(config: FitConfig, report: Report, weight_files: Mapping[str, Path] | None = None) -> HybridNetwork:
    """Build the network that every fold starts from: of the run's seed or pretrained, perhaps warmed up.

    Raises:
        MissingWeightsError: If pretrained weights are asked for and cannot be had; it says how to pass a file.
    """
    torch.manual_seed(config.seed)
    network = HybridNetwork(
        config.branches,
        config.head,
        len(BINARY.classes),
        pretrained=config.pretrained,
        weight_files=weight_files,
        input_side=config.input_policy.input_side,
    )
    if config.generated:
        report("generated tissue", warm_up(network, config.generated, config))
    return network


def _weight_files(pairs: Sequence[str]) -> dict[str, Path]:
    files = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--weights wants NAME=FILE, got {pair!r}")
        files[name] = Path(file)
    return files


def train_members(
    start: HybridNetwork,
    train: Sequence[LabelledImage],
    validation: Sequence[LabelledImage],
    config: FitConfig,
    part: str,
    report: Report,
) -> HybridNetwork:
    """Train copies of one start, each under its own seed, and give the mean of their weights."""
    members = []
    for number in range(config.members):
        own = replace(config, seed=config.seed + number)
        name = part if config.members == 1 else f"{part}, member {number + 1}"
        members.append(copy.deepcopy(start))
        fit(members[-1], train, validation, own, progress=partial(report, name))
    return mean_network(members)


def judge_out_of_fold(start: HybridNetwork, images: Sequence[LabelledImage], config: FitConfig, report: Report) -> Card:
    """Train on every fold and give the card: temperature, threshold and figures of unseen patients only.

    The images go through the same analysis as in serving.
    """
    card = _first_card(images, config)
    judges: list[tuple[Classifier, list[LabelledImage]]] = []
    for number, (train, validation) in enumerate(patient_folds(images, config.folds, config.fold_seed), start=1):
        part = f"fold {number} of {config.folds}"
        network = train_members(start, train, validation, config, part, report)
        judges.append((Classifier(network, card, "unsaved"), validation))
    raw, _ = _pooled(judges)
    card = replace(card, temperature=fit_temperature(raw))
    calibrated, magnifications = _pooled([(judge.with_card(card), held_out) for judge, held_out in judges])
    protocol = f"patient-wise {config.folds}-fold, pooled out of fold, interval by resampling patients"
    main = calibrated.only(magnifications == _MAIN_MAGNIFICATION)
    return replace(
        card,
        threshold=youden_threshold(main),
        metrics=(
            _auc(f"AUC by image at {_MAIN_MAGNIFICATION}", main, f"{protocol}; {_extent(main)}"),
            _auc("AUC by image", calibrated, f"{protocol}; {_extent(calibrated)}"),
            _auc("AUC by accession number", calibrated.by_patient(), f"{protocol}; mean of {_extent(calibrated)}"),
        ),
    )


def _pooled(judges: Sequence[tuple[Classifier, list[LabelledImage]]]) -> tuple[Judged, np.ndarray]:
    held_out = [(classifier, image) for classifier, images in judges for image in images]
    judged = Judged.of(
        [image.malignancy == "malignant" for _, image in held_out],
        [_malignant_probability(classifier, image) for classifier, image in held_out],
        [image.patient_id for _, image in held_out],
    )
    return judged, np.array([image.magnification for _, image in held_out])


def _malignant_probability(classifier: Classifier, image: LabelledImage) -> float:
    analysis = analyse_image(_pixels(image), classifier, heatmap=False)
    if analysis.prediction is None:
        raise ValueError(f"{image.path.name}: {analysis.reason}")
    return analysis.prediction.malignant_probability


def _pixels(image: LabelledImage) -> RgbImage:
    return decode_image(image.path.read_bytes()).pixels


def _auc(name: str, judged: Judged, protocol: str) -> Metric:
    found = auc_estimate(judged)
    return Metric(name, found.value, found.low, found.high, protocol)


def _extent(judged: Judged) -> str:
    return f"{len(judged.malignant)} images of {len(set(judged.patient_ids))} patients"


def _first_card(images: Sequence[LabelledImage], config: FitConfig) -> Card:
    patients = tuple(sorted({image.patient_id for image in images}))
    return Card(
        name=config.name,
        label_set=BINARY,
        branches=config.branches,
        head=config.head,
        input_policy=config.input_policy,
        mean=config.mean,
        std=config.std,
        stain=config.stain,
        training_data=TrainingData("BreaKHis", len(images), len(patients), patients, _training_note(config)),
        config=config.flat(),
        code_version=_code_version(),
        demonstration=True,
        note=_NOTE,
    )


def _training_note(config: FitConfig) -> str:
    beside = f"; beside them {config.generated.images} generated images" if config.generated else ""
    return f"patient: number without letters{beside}"


def _with_gated_precision(network: HybridNetwork, card: Card, images: Sequence[LabelledImage]) -> Card:
    gate = bf16_gate(Classifier(copy.deepcopy(network), card, "unsaved"), (_pixels(image) for image in images))
    return replace(card, precision="bf16" if gate.passed else "fp32")


def _code_version() -> str:
    """Name the commit, or where there is no git the package's version."""
    try:
        command = ["git", "-C", str(_PROJECT), "describe", "--always", "--dirty", "--tags"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        try:
            return metadata.version("second-read")
        except metadata.PackageNotFoundError:
            return "unknown"


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console)


if __name__ == "__main__":
    try:
        typer.run(run)
    except MissingWeightsError as missing:
        sys.exit(str(missing))
