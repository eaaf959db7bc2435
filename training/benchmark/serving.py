"""Time what a reader waits for: preprocessing, imports, the network with its heat maps, and loading a checkpoint."""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from core.card import Card, InputPolicy
from core.imaging.demo import generate_tissue
from core.imaging.patches import cut_patches, fit_boxes
from core.imaging.quality import assess_quality
from core.imaging.stain import Macenko, Reinhard
from core.labels import BINARY
from core.network.checkpoint import save_checkpoint
from core.network.classifier import Classifier
from core.network.hybrid import PUBLISHED_BRANCHES, HybridNetwork
from core.results import Patches, RgbImage
from core.scope.reference import TrainingReference
from training.benchmark.timing import Ratio, ratio, time_in_pairs
from training.scopes.fit import LEAST_PATIENTS, MeasuredImage, fit_scope, leave_one_out, measure_image

FULL_SIZE = Card(
    name="full-size hybrid, random weights",
    label_set=BINARY,
    branches=PUBLISHED_BRANCHES,
    head="published",
    input_policy=InputPolicy("patches"),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
_TARGETS = ((180.8, 148.6, 116.5), (35.4, 17.5, 11.1))
_IMAGE = generate_tissue(1, "malignant")
_PAGES = sorted(path.stem for path in (Path(__file__).parents[2] / "pages").glob("[!_]*.py"))


def preprocessing(rounds: int) -> list[Ratio]:
    """Time stain normalisation against the libraries that users would choose."""
    from training.benchmark import peers  # noqa: PLC0415 - the peers are in tests/requirements.txt, not in requirements.txt

    reinhard, macenko, torchstain = Reinhard(*_TARGETS), Macenko(), peers.macenko_by_torchstain()
    by_skimage = peers.reinhard_by_skimage(_IMAGE, *_TARGETS)
    return [
        ratio(
            "Reinhard against scikit-image",
            ">= 5",
            time_in_pairs(
                lambda: peers.reinhard_by_skimage(_IMAGE, *_TARGETS), lambda: reinhard.transform(_IMAGE), 4 * rounds
            ),
            f"{_largest_difference(by_skimage, reinhard.transform(_IMAGE))} grey levels apart (limit 1)",
        ),
        ratio(
            "Macenko against torchstain",
            ">= 4",
            time_in_pairs(lambda: torchstain(_IMAGE), lambda: macenko.transform(_IMAGE), 4 * rounds),
            f"{_largest_difference(torchstain(_IMAGE), macenko.transform(_IMAGE))} grey levels apart (limit 3)",
        ),
    ]


def _largest_difference(one: RgbImage, other: RgbImage) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def imports(rounds: int) -> list[Ratio]:
    """Time the imports of a command and of a page."""
    pipeline = [_import_seconds("core.pipeline") for _ in range(rounds)]
    return [
        ratio("import core.pipeline, seconds", "<= 0.5", pipeline, "no torch"),
        # Pages are imported by a running Streamlit, so the third of a second for Streamlit does not count.
        ratio("import of the slowest page, seconds", "<= 0.5", _slowest_page(rounds, "streamlit"), "no torch"),
        ratio(
            "the same with the server's modules already loaded",
            "<= 0.5",
            _slowest_page(rounds, "streamlit", "service.routes"),
            "as the server does it",
        ),
    ]


def _slowest_page(rounds: int, *preloaded: str) -> list[float]:
    return [max(_import_seconds(f"pages.{page}", *preloaded) for page in _PAGES) for _ in range(rounds)]


def _import_seconds(module: str, *preloaded: str) -> float:
    command = [sys.executable, "-m", "training.benchmark.import_time", module, *preloaded]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def networks(rounds: int) -> list[Ratio]:
    """Time what eight views with their heat maps take beside a peer's, and what comes to the network's time."""
    from training.benchmark import peers  # noqa: PLC0415

    network = settled_network(peers.standardise(full_size_patches(8), FULL_SIZE))
    plain = peers.PlainHybrid(FULL_SIZE)
    plain.adopt(network)
    ours = Classifier(network, FULL_SIZE, "benchmark")
    patch = full_size_patches(1)
    on_all = peers.views_then_grad_cam(plain, FULL_SIZE, every_view=True)
    gap = float(np.abs(on_all(patch) - ours.classify(patch)).max())

    def explain() -> object:
        return ours.explain(patch)

    ratios = [
        ratio(
            "8 views + 8 maps against ttach + pytorch-grad-cam on all 8",
            ">= 5",
            time_in_pairs(lambda: on_all(patch), explain, rounds),
            f"fp32; probabilities {gap:.1e} apart (limit 1e-4)",
        ),
        ratio(
            "maps and probabilities, as a multiple of probabilities alone",
            "<= 1.05",
            time_in_pairs(explain, lambda: ours.classify(patch), 2 * rounds),
        ),
        ratio(
            "quality checks of an image, as a share of one patch's prediction",
            "<= 0.01",
            time_in_pairs(lambda: assess_quality(_IMAGE), explain, rounds),
        ),
    ]
    patches = full_size_patches(len(fit_boxes(_IMAGE.shape[0], _IMAGE.shape[1], FULL_SIZE.input_policy)))
    reference, features = _fit_reference(ours), ours.features(patches)
    shares = time_in_pairs(lambda: reference.judge(_IMAGE, _IMAGE, features), explain, rounds)
    ratios.append(
        ratio(
            "scope of an image, as a share of the prediction of all its patches",
            "<= 0.03",
            [share / len(patches) for share in shares],
            f"{len(patches)} patches",
        )
    )
    return ratios


def _fit_reference(classifier: Classifier) -> TrainingReference:
    """Fit a reference to generated tissue; its values do not matter for the time."""
    small = classifier.with_card(replace(FULL_SIZE, input_policy=InputPolicy("resize")))
    images = (measure_image(generate_tissue(seed, "benign"), str(seed), small) for seed in range(LEAST_PATIENTS))
    measured = [image for image in images if isinstance(image, MeasuredImage)]
    return fit_scope(measured, leave_one_out(measured), classifier.reference_widths, "generated tissue")[0]


def settled_network(images: torch.Tensor) -> HybridNetwork:
    """Build the hybrid with random weights and the batch statistics that fit them.

    With the initial statistics, activations grow from layer to layer until fp32 differs from fp64 in the first digit,
    and comparing two implementations would only compare their rounding.
    """
    torch.manual_seed(0)
    network = HybridNetwork(FULL_SIZE.branches, FULL_SIZE.head, 2)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # a plain average over the following images
    with torch.no_grad():
        network.train()(images)
    return network.eval()


def full_size_patches(count: int) -> Patches:
    """Return the first patches of a generated image, as the full-size hybrid sees them."""
    boxes = fit_boxes(_IMAGE.shape[0], _IMAGE.shape[1], FULL_SIZE.input_policy)
    return cut_patches(_IMAGE, boxes[:count], FULL_SIZE.input_policy.input_side)


def loading(rounds: int) -> list[Ratio]:
    """Time loading a checkpoint and measure its memory, each load in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        network = HybridNetwork(FULL_SIZE.branches, FULL_SIZE.head, 2)
        save_checkpoint(Path(folder) / "ours.safetensors", network, FULL_SIZE)
        torch.save(network.state_dict(), Path(folder) / "peer.pt")
        loads = [(_load_in_child(folder, "peer"), _load_in_child(folder, "ours")) for _ in range(rounds)]
    return [
        ratio(
            "loading against build + torch.load",
            ">= 3",
            [peer[0] / ours[0] for peer, ours in loads],
            "includes the sha256 of the file",
        ),
        ratio(
            "peak memory of loading, as a share of the peer's", "<= 0.65", [ours[1] / peer[1] for peer, ours in loads]
        ),
    ]


def _load_in_child(folder: str, variant: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "training.benchmark.load_time", variant, folder]
    seconds, megabytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(megabytes)
