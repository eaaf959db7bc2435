"""Who computes a network: equal results from every library, only where that was checked, and short of memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from sys import modules

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.computing import Backend, Computing, WantedBackend, WantedComputing
from core.network.backends import UnusableBackendError, supports_bf16
from core.network.checkpoint import load_for_use
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork
from core.precision import Difference, PrecisionRecord
from tests.helpers.networks import SMALL_CARD, small_checkpoint, small_classifier, small_network

WITH_BF16 = supports_bf16(torch.device("cpu"))
NEEDS_OPENVINO = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO is optional: pip install -r requirements-openvino.txt"
)
NEEDS_BF16 = pytest.mark.skipif(not WITH_BF16, reason="this CPU does not multiply bfloat16")
PASSED = Difference(100, 0, 0.001, 0.99, benign=50, malignant=50)
FAST: Backend = "torch-bf16"


def _patches(count: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, 160, 160, 3), dtype=np.uint8)


@NEEDS_OPENVINO
@pytest.mark.parametrize(
    ("backend", "tolerance"),
    [("openvino-fp32", 1e-3), pytest.param("openvino-bf16", 0.1, marks=NEEDS_BF16)],
)
def test_openvino_finds_and_explains_what_torch_does(backend: Backend, tolerance: float) -> None:
    classifier = small_classifier()
    other = classifier.computed_by(backend)
    ours, theirs = (one.examine(_patches(), evidence=True) for one in (classifier, other))
    assert ours.evidence is not None
    for found, expected in (
        (theirs.probabilities, ours.probabilities),
        (theirs.features, ours.features),
        (theirs.evidence, ours.evidence),
        (theirs.embeddings, ours.embeddings),
    ):
        assert found is not None
        assert expected is not None
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())
    assert other.computing.backend == backend
    assert classifier.computing.backend == "torch-fp32"


@NEEDS_OPENVINO
def test_openvino_is_shared_by_threads_and_tells_nobody_that_it_is_used() -> None:
    classifier = small_classifier(views="one").computed_by("openvino-fp32")
    images = [_patches(count) for count in (1, 2, 3, 2)]
    alone = [classifier.classify(one) for one in images]
    with ThreadPoolExecutor(4) as pool:
        for expected, found in zip(alone * 4, pool.map(classifier.classify, images * 4), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert modules.get("openvino_telemetry") is None


@pytest.mark.parametrize("backend", ["torch-fp16", *([] if WITH_BF16 else ["torch-bf16"])])
def test_what_this_machine_cannot_compute_is_refused_in_words(backend: Backend) -> None:
    with pytest.raises(UnusableBackendError, match=f"{backend} needs"):
        small_classifier().computed_by(backend)


def _load(path: Path, records: Path, backend: WantedBackend) -> Classifier:
    return load_for_use(path, WantedComputing("cpu", backend, records))


@NEEDS_BF16
def test_a_faster_way_is_used_only_where_it_was_checked_for_the_checkpoint(tmp_path: Path) -> None:
    checkpoint, records = tmp_path / "small.safetensors", tmp_path / "precision"
    sha256 = small_checkpoint(checkpoint)
    assert _load(checkpoint, records, "card").computing == Computing("torch-fp32", "cpu")
    unchecked = _load(checkpoint, records, FAST)
    assert unchecked.computing.backend == "torch-fp32"
    assert "torch-bf16 has not been checked for this checkpoint" in (unchecked.computing.caution or "")
    exact = unchecked.classify(_patches())
    way = unchecked.computed_by(FAST).way(sha256)
    PrecisionRecord(way, replace(PASSED, labels_changed=1)).save(records)
    assert "1 labels changed" in (_load(checkpoint, records, FAST).computing.caution or "")
    PrecisionRecord(way, PASSED).save(records)
    fast = _load(checkpoint, records, FAST)
    assert fast.computing == Computing(FAST, "cpu")
    assert 0 < np.abs(fast.classify(_patches()) - exact).max() < 0.1
    small_checkpoint(checkpoint, replace(SMALL_CARD, name="another"))
    assert _load(checkpoint, records, FAST).computing.backend == "torch-fp32"


@NEEDS_BF16
def test_the_precision_of_the_card_needs_no_further_check_and_can_be_declined(tmp_path: Path) -> None:
    small_checkpoint(tmp_path / "small.safetensors", replace(SMALL_CARD, precision="bf16"))
    for wanted, used in (("card", "torch-bf16"), ("torch-bf16", "torch-bf16"), ("torch-fp32", "torch-fp32")):
        loaded = _load(tmp_path / "small.safetensors", tmp_path, wanted)  # type: ignore[arg-type]
        assert loaded.computing == Computing(used, "cpu")  # type: ignore[arg-type]


@dataclass
class CrampedGpu:
    """Stands for a GPU: the features of more images than fit run out of its memory, until the network leaves it."""

    network: HybridNetwork
    fitting: int
    tried: list[int]

    @classmethod
    def around(cls, network: HybridNetwork, fitting: int) -> "CrampedGpu":
        gpu, compute, move = cls(network, fitting, []), network.features_and_layers, network.to

        def computed(images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
            gpu.tried.append(len(images))
            if len(images) > gpu.fitting:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            return compute(images)

        def moved(device: torch.device, *, memory_format: torch.memory_format | None = None) -> HybridNetwork:
            if memory_format is None:  # it is not being built, but leaves
                gpu.fitting = 10_000
            return move(device)

        network.features_and_layers = computed  # type: ignore[method-assign]
        network.to = moved  # type: ignore[method-assign, assignment]
        return gpu


def _examine(classifier: Classifier) -> tuple[NDArray[np.float32], NDArray[np.float32], list[Computing]]:
    told: list[Computing] = []
    classifier.tell_changes(told.append)
    probabilities, evidence = classifier.explain(_patches(4))
    return probabilities, evidence, told


def _behind(
    fitting: int, prepare: Callable[[Classifier], Classifier] = lambda one: one
) -> tuple[CrampedGpu, Classifier]:
    network = small_network()
    gpu = CrampedGpu.around(network, fitting)
    return gpu, prepare(Classifier(network, SMALL_CARD, "v"))


def test_a_gpu_without_enough_memory_computes_smaller_batches_and_says_so() -> None:
    probabilities, evidence = small_classifier().explain(_patches(4))
    gpu, classifier = _behind(8, lambda one: one.with_batch(32))
    found, maps, told = _examine(classifier)
    np.testing.assert_allclose(found, probabilities, atol=1e-6)
    np.testing.assert_allclose(maps, evidence, atol=1e-5)
    assert gpu.tried == [32, 16, 8, 8, 8, 8]
    assert [one.caution for one in told] == [
        f"the GPU ran out of memory: the network now takes {views} views at a time" for views in (16, 8)
    ]
    assert classifier.batch == 1
    classifier.classify(_patches(4))
    assert max(gpu.tried[6:]) == 8, "what did not fit is not tried again"


def test_the_processor_computes_if_not_even_one_patch_fits_and_says_so() -> None:
    probabilities, evidence = small_classifier().explain(_patches(4))
    gpu, classifier = _behind(4)
    found, maps, told = _examine(classifier)
    np.testing.assert_allclose(found, probabilities, atol=1e-6)
    np.testing.assert_allclose(maps, evidence, atol=1e-5)
    assert gpu.tried == [16, 8, 16, 16]
    assert told[-1].caution == "the GPU ran out of memory: the CPU is used until the next restart"
    assert classifier.computing == told[-1]
    assert (told[-1].backend, told[-1].device) == ("torch-fp32", "cpu")
    assert classifier.at("40X").computing == told[-1], "classifiers of one network share it"


def test_what_the_processor_cannot_hold_either_is_an_error_of_the_image() -> None:
    gpu, classifier = _behind(4)
    gpu.network.to = lambda *_, **__: gpu.network  # type: ignore[method-assign]
    with pytest.raises(torch.cuda.OutOfMemoryError):
        classifier.classify(_patches(1))
