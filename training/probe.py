"""Try a frozen encoder on labelled images by patient: linear probe, nearest neighbours, small attention pooling.

python -m training.probe tf_efficientnet_lite0 --data BREAKHIS --out models/probe.safetensors
python -m training.probe uni2_h --weights UNI2H.safetensors --data BREAKHIS
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.table import Table

from core.card import Card, TrainingData
from core.command_line import end_if_left_out, make_app, run_app
from core.console import PlainConsole, print_cautions, progress_bar
from core.data.datasets import DatasetName, LabelledImage, load_folders
from core.data.left_out import dataset_cautions
from core.data.splits import patient_folds
from core.labels import BINARY
from core.network.branches import MissingWeightsError
from core.network.checkpoint import save_checkpoint
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork
from core.statistics.predictions import BinaryPredictions, Estimate, auc_estimate
from core.wording import interval_words
from training.evaluation.chosen_images import ChosenImage
from training.evaluation.predictions import Judge, judgements_of
from training.probes.encoders import EncoderConfig, build_network, find_encoder, input_policy
from training.probes.features import EmbeddedImages, embed_images
from training.probes.fits import JUDGES, LinearProbe, ProbeName, fit_linear
from training.runs.card import DATASET_NAMES, trained_scale, with_figures, with_temperature
from training.runs.folder import code_version
from training.runs.plan import ALL_PATIENTS, Part, RunPlan

_MAIN = "100X"
_RESEARCH = "Research use only: no decision about a patient may rest on it."
_console = PlainConsole(stderr=True)


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """The AUC of one probe out of fold: by image at 100X, by image, by patient; None where it is undefined."""

    probe: ProbeName
    main: Estimate | None
    image: Estimate | None
    patient: Estimate | None


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """The encoder, the images, and how they are cut and split."""

    encoder: EncoderConfig
    images: tuple[LabelledImage, ...]
    roots: tuple[Path, ...]
    weights: Path | None = None
    patch_side: int = 448
    folds: int = 5
    seed: int = 0
    device: str = "cpu"
    working_um_per_px: float | None = None


def run(  # noqa: PLR0913 - one for each option of the command
    encoder: Annotated[str, typer.Argument(help="timm name, hf-hub:ID, TOML file, or a name in configs/encoders.")],
    data: Annotated[list[Path], typer.Option(help="Folder of the dataset; may be given several times.")],
    *,
    dataset: Annotated[DatasetName, typer.Option(help="Dataset in the folders.")] = "breakhis",
    weights: Annotated[Path | None, typer.Option(help="Local .safetensors file with the encoder's weights.")] = None,
    patch_side: Annotated[int, typer.Option(help="Side of the squares that are cut, in pixels of the image.")] = 448,
    working_scale: Annotated[
        float | None, typer.Option(help="Micrometres per pixel that images are resampled to before they are cut.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Number of patient-wise folds.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the assignment of patients to folds.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the linear probe as a checkpoint to this file.")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: torch decides.")] = 0,
    device: Annotated[str, typer.Option(help="Device: cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Print the out-of-fold AUC of three probes on a frozen encoder. Research use only; no output is a diagnosis."""
    if threads:
        torch.set_num_threads(threads)
    try:
        config = find_encoder(encoder)
        images = load_folders(dataset, data)
        request = ProbeRequest(
            config, tuple(images), tuple(data), weights, patch_side, folds, seed, device, working_scale
        )
        network = build_network(config, weights)
        cautions = dataset_cautions(dataset, data[0], images, *data[1:])
        print_cautions(_console, cautions)
        if dataset in config.saw:
            saw = f"{config.name} was pretrained on images of {dataset}, so its figures there are too optimistic"
            _console.print(f"Caution: {saw}", style="yellow")
        rows, embedded = probe(request, network)
        card = write_checkpoint(request, embedded, out) if out else None
    except (MissingWeightsError, OSError, ValueError) as error:
        _console.print(str(error), style="red")
        raise typer.Exit(2) from error
    for name, reason in embedded.left_out:
        _console.print(f"Left out: {name}: {reason}")
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        PlainConsole().print(build_table(config, rows), soft_wrap=False)
    if card is not None:
        for metric in card.metrics:
            figure = interval_words(metric)
            _console.print(f"As a checkpoint, {metric.name}: {figure}, {metric.protocol}")
        _console.print(f"Wrote {out}")
    end_if_left_out(cautions)


def probe(request: ProbeRequest, network: HybridNetwork) -> tuple[list[ProbeRow], EmbeddedImages]:
    """Embed every image once, and judge each by probes that were fitted to the patients of the other folds.

    Raises:
        ValueError: If no image can be used, or the patients cannot be split.
    """
    card = _bare_card(request)
    with progress_bar() as bar:
        task = bar.add_task("embedding", total=len(request.images))
        embedded = embed_images(request.images, network, card, request.device, lambda: bar.advance(task))
    rows = []
    for name, judge in JUDGES.items():
        malignant = np.full(len(embedded.images), np.nan)
        for train, held_out in _folds(request, embedded):
            malignant[held_out] = judge(embedded.only(train), embedded.only(held_out), request.seed)
        rows.append(_row(name, embedded, malignant))
    return rows, embedded


def write_checkpoint(request: ProbeRequest, embedded: EmbeddedImages, path: Path) -> Card:
    """Write the linear probe of all patients as a checkpoint, with the figures of the folds' probes on its card.

    The figures come from the code that serves readers: all eight views, and the mean of the patches' probabilities.
    """
    card = _bare_card(request)
    parts = [
        Part(f"fold {number} of {request.folds}", embedded.only(train).images, embedded.only(held_out).images)
        for number, (train, held_out) in enumerate(_folds(request, embedded), start=1)
    ]
    probes = [fit_linear(embedded.only(train), request.seed) for train, _ in _folds(request, embedded)]
    words = f"patient-wise {request.folds}-fold, pooled out of fold"
    plan = RunPlan(tuple(parts), Part(ALL_PATIENTS, embedded.images, ()), (), words)
    network = build_network(request.encoder, request.weights)
    chosen = [ChosenImage(image, number) for number, part in enumerate(parts, 1) for image in part.validation]
    with progress_bar() as bar:
        task = bar.add_task("evaluating", total=2 * len(chosen))

        def judge(card: Card) -> Judge:
            return Judge(_FoldProbes(network, probes, card, request.device), request.roots[0], more=request.roots[1:])

        raw = judge(card).judge(chosen, lambda: bar.advance(task))
        card = with_temperature(card, judgements_of(raw, card), plan.source)
        judged = judge(card).judge(chosen, lambda: bar.advance(task))
    card = with_figures(card, judgements_of(judged, card), plan)
    # A classifier has folded the normalisations of its network, which no longer has the weights of a checkpoint.
    final = build_network(request.encoder, request.weights)
    set_head(final, fit_linear(embedded, request.seed))
    save_checkpoint(path, final, card)
    return card


def set_head(network: HybridNetwork, probe: LinearProbe) -> None:
    """Make the head say what the probe says: its log-odds are the difference of the two logits."""
    weights = torch.tensor(np.stack([-probe.weights, probe.weights]) / 2, dtype=torch.float32)
    bias = torch.tensor([-probe.bias / 2, probe.bias / 2], dtype=torch.float32)
    network.head.load_state_dict({"weight": weights, "bias": bias})


class _FoldProbes:
    """The classifier of every fold: one network, whose head is that of the fold asked for last."""

    def __init__(self, network: HybridNetwork, probes: Sequence[LinearProbe], card: Card, device: str) -> None:
        self._network, self._probes = network, probes
        self._classifier = Classifier(network, card, "unsaved", device)

    def __call__(self, fold: int | None) -> Classifier:
        set_head(self._network, self._probes[(fold or 1) - 1])
        return self._classifier


def _folds(request: ProbeRequest, embedded: EmbeddedImages) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the places of the images to fit to, and of those held out, always split by patient."""
    place = {image.path: number for number, image in enumerate(embedded.images)}
    for sides in patient_folds(embedded.images, request.folds, request.seed):
        train, held_out = (np.array([place[image.path] for image in side], np.int64) for side in sides)
        yield train, held_out


def _bare_card(request: ProbeRequest) -> Card:
    """Return the card of the linear probe before anything was measured."""
    config = request.encoder
    patients = tuple(sorted({image.patient_id for image in request.images}))
    names = ", ".join(sorted({DATASET_NAMES[image.dataset] for image in request.images}))
    saw = f" Its pretraining saw {', '.join(config.saw)}." if config.saw else ""
    return Card(
        name=f"probe of {config.name}",
        label_set=BINARY,
        branches=(config.architecture,),
        head=config.head,
        input_policy=input_policy(config, request.patch_side),
        mean=config.mean,
        std=config.std,
        encoder=config.encoder,
        scale=trained_scale(request.images, request.working_um_per_px),
        training_data=TrainingData(
            names, len(request.images), len(patients), patients, "the head alone; the encoder was not trained"
        ),
        config={"encoder": config.name, "weights": config.weights, "folds": request.folds, "seed": request.seed},
        code_version=code_version(),
        demonstration=True,
        note=f"A linear probe on a frozen encoder. Licence of the encoder: {config.licence}.{saw} {_RESEARCH}",
    )


def _row(name: ProbeName, embedded: EmbeddedImages, malignant: NDArray[np.float64]) -> ProbeRow:
    judged = BinaryPredictions(embedded.malignant, malignant, embedded.patient_ids)
    main = np.array([image.magnification == _MAIN for image in embedded.images])
    return ProbeRow(name, _auc(judged.only(main)), _auc(judged), _auc(judged.by_patient()))


def _auc(judged: BinaryPredictions) -> Estimate | None:
    return auc_estimate(judged) if judged.malignant.any() and not judged.malignant.all() else None


def build_table(config: EncoderConfig, rows: Sequence[ProbeRow]) -> Table:
    """Return the figures with their intervals."""
    title = f"{config.name}, frozen; pooled out of fold"
    table = Table("probe", f"AUC by image, {_MAIN}", "AUC by image", "AUC by patient", title=title)
    for row in rows:
        table.add_row(row.probe, *(interval_words(estimate) for estimate in (row.main, row.image, row.patient)))
    return table


app = make_app(run, "python -m training.probe tf_efficientnet_lite0 --data BREAKHIS --out models/probe.safetensors")

if __name__ == "__main__":
    run_app(app)
