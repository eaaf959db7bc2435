"""Time one image through the full-size hybrid, eight views and maps, in every way that this machine can compute.

Peer and all ways take turns within each round, and so do the largest products of matrices, which say what the machine
could do at best at that time.
"""

import resource
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from core.card import Card, InputPolicy
from core.computing import Backend
from core.imaging.demo import generate_tissue
from core.imaging.patches import cut_patches, fit_boxes
from core.labels import BINARY
from core.network.backends import UnusableBackendError, library_of, precision_of
from core.network.classifier import Classifier
from core.network.hybrid import build_hybrid_network
from core.results import Patches, Probabilities, RgbImage
from training.benchmark.serving import FULL_SIZE, full_size_patches, settled_network
from training.benchmark.timing import Ratio, ratio, seconds_of, time_in_pairs

_GOALS: dict[Backend, str] = {"torch-fp32": ">= 2", "torch-bf16": ">= 3.5", "openvino-bf16": ">= 4"}
_SIDE = 2048  # of the matrices
_RESNET = Card(
    name="ResNet50 of patches, random weights",
    label_set=BINARY,
    branches=("resnet50",),
    head="linear",
    input_policy=InputPolicy("patches"),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    views="one",
)


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a step took: seconds, seconds of processor time, and of these the share of the system."""

    seconds: float
    processor: float
    system: float


def backends(rounds: int) -> list[Ratio]:
    """Time eight views with their maps against ttach and pytorch-grad-cam on one view, in every way to compute."""
    from training.benchmark import peers  # noqa: PLC0415 - the peers are in tests/requirements.txt, not in requirements.txt

    network = settled_network(peers.standardise(full_size_patches(8), FULL_SIZE))
    plain = peers.PlainHybrid(FULL_SIZE)
    plain.adopt(network)
    peer = peers.views_then_grad_cam(plain, FULL_SIZE, every_view=False)
    patch, ways = full_size_patches(1), _ways(Classifier(network, FULL_SIZE, "benchmark"))
    work = _count_operations(ways["torch-fp32"], patch)
    gaps = {name: np.abs(peer(patch) - one.classify(patch)).max() for name, one in ways.items()}
    steps: dict[str, Callable[[], object]] = {"peer": lambda: peer(patch)}
    steps |= {name: lambda one=one: one.explain(patch) for name, one in ways.items()}  # type: ignore[misc]
    steps |= {f"peak {precision}": _product(precision) for precision in (torch.float32, torch.bfloat16)}
    taken = _take_turns(steps, rounds)
    return [
        figure
        for name in ways
        for figure in _figures(name, taken, work, f"{library_of(name)}; probabilities {gaps[name]:.1e} apart")
    ]


def _ways(exact: Classifier) -> dict[Backend, Classifier]:
    """Return the network in every way that has a goal and that this machine can compute in."""
    ways: dict[Backend, Classifier] = {}
    for name in _GOALS:
        try:
            ways[name] = exact.computed_by(name)
        except UnusableBackendError as error:
            print(f"{name} is left out: {error}")
    return ways


def _take_turns(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[_Taken]]:
    for step in steps.values():
        step()
    taken: dict[str, list[_Taken]] = {name: [] for name in steps}
    for number in range(rounds):
        for name in list(steps) if number % 2 else reversed(steps):
            taken[name].append(_take(steps[name]))
    return taken


def _take(step: Callable[[], object]) -> _Taken:
    before = resource.getrusage(resource.RUSAGE_SELF)
    seconds = seconds_of(step)
    after = resource.getrusage(resource.RUSAGE_SELF)
    system, user = after.ru_stime - before.ru_stime, after.ru_utime - before.ru_utime
    processor = max(system + user, 1e-9)
    return _Taken(seconds, processor, system / processor)


def _figures(name: Backend, taken: dict[str, list[_Taken]], work: int, note: str) -> list[Ratio]:
    ours, peer = taken[name], taken["peer"]
    peak = taken[f"peak {precision_of(name) or torch.float32}"]

    def least(steps: list[_Taken]) -> float:
        return min(step.processor for step in steps)

    speeds = [_product_operations() / one.processor for one in peak]
    shares = [work / one.processor / speed for one, speed in zip(ours, speeds, strict=True)]
    of_best = f"{least(peer) / least(ours):.2f}, {work / least(ours) / max(speeds):.0%} of the peak"
    best = f"of processor time; {work / 1e9:.0f} GFLOP; products reach {max(speeds) / 1e9:.0f} GFLOP/s a core"
    return [
        ratio(
            f"8 views + 8 maps against ttach + pytorch-grad-cam on one, {name}",
            _GOALS[name],
            [one.seconds / other.seconds for one, other in zip(peer, ours, strict=True)],
            note,
        ),
        ratio(
            f"the same in processor time, which other work disturbs less, {name}",
            _GOALS[name],
            [one.processor / other.processor for one, other in zip(peer, ours, strict=True)],
            f"fastest against fastest {of_best}",
        ),
        ratio(f"the same as a share of the machine's measured peak, {name}", "", shares, best),
        ratio(f"share of the system in its processor time, {name}", "< 0.1", [one.system for one in ours]),
    ]


def _product(precision: torch.dtype) -> Callable[[], object]:
    torch.manual_seed(0)
    one, other = (torch.randn(_SIDE, _SIDE).to(precision) for _ in range(2))
    return lambda: [one @ other for _ in range(4)]


def _product_operations() -> int:
    return 4 * 2 * _SIDE**3


def _count_operations(classifier: Classifier, patches: Patches) -> int:
    """Return the multiplications and additions of all views of patches, without those of the gradients of the head."""
    # The counter does not know fused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        classifier.classify(patches)
    return int(counter.get_total_flops())


def resnet_patches(rounds: int) -> list[Ratio]:
    """Time the ResNet50 of patches against the published way: one patch after another, edges dropped."""
    from training.benchmark import peers  # noqa: PLC0415

    torch.manual_seed(0)
    network, plain = build_hybrid_network(_RESNET), peers.PlainResNet(_RESNET)
    _settle(network, peers.standardise(full_size_patches(8), _RESNET))
    plain.adopt(network)
    published, ours = peers.patch_by_patch(plain, _RESNET), Classifier(network, _RESNET, "benchmark")
    image = generate_tissue(1, "malignant")
    side = _RESNET.input_policy.patch_side
    whole = image[: image.shape[0] // side * side, : image.shape[1] // side * side]
    gap = float(np.abs(published(image) - _by_ours(ours, whole)).max())
    few, many = len(published(image)), len(_by_ours(ours, image))
    values = time_in_pairs(lambda: published(image), lambda: _by_ours(ours, image), 2 * rounds)
    return [
        ratio(
            "ResNet50, a patch of an image against the published way",
            ">= 1.5",
            [value * many / few for value in values],
            f"{many} patches with the edges against {few}; probabilities {gap:.1e} apart (limit 1e-4)",
        )
    ]


def _by_ours(classifier: Classifier, image: RgbImage) -> Probabilities:
    policy = _RESNET.input_policy
    boxes = fit_boxes(image.shape[0], image.shape[1], policy)
    return classifier.classify(cut_patches(image, boxes, policy.input_side))


def _settle(network: nn.Module, images: torch.Tensor) -> None:
    """Measure the batch statistics of a network with random weights."""
    with torch.no_grad():
        network.train()(images)
    network.eval()
