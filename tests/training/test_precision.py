"""The gate in front of bfloat16, and the timing that the benchmark's ratios rest on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from core.imaging.demo import generate_tissue
from core.network.classifier import supports_bf16
from tests.helpers.networks import small_classifier
from training.benchmark.timing import ratio, time_in_pairs
from training.runs.card import PrecisionGate, bf16_gate, map_correlation


def test_the_gate_closes_on_any_one_difference() -> None:
    passed = PrecisionGate(images=10, labels_changed=0, largest_difference=0.01, lowest_correlation=0.95)
    assert passed.passed
    assert not replace(passed, labels_changed=1).passed
    assert not replace(passed, largest_difference=0.011).passed
    assert not replace(passed, lowest_correlation=0.949).passed
    assert not replace(passed, images=0).passed


@pytest.mark.skipif(not supports_bf16(torch.device("cpu")), reason="this CPU does not multiply bfloat16")
def test_the_gate_measures_a_real_difference_between_the_precisions() -> None:
    gate = bf16_gate(small_classifier(), [(generate_tissue(seed, "malignant", 224, 224), None) for seed in range(2)])
    assert gate.images == 2
    assert 0 < gate.largest_difference < 0.1
    assert gate.lowest_correlation < 1


def test_flat_maps_agree_only_with_flat_maps() -> None:
    flat, ramp = np.zeros((4, 4), np.float32), np.arange(16, dtype=np.float32).reshape(4, 4)
    assert map_correlation(flat, flat + 1) == 1
    assert map_correlation(flat, ramp) == 0
    assert map_correlation(ramp, 2 * ramp) == pytest.approx(1)


def test_peer_and_ours_are_run_in_turn() -> None:
    order: list[str] = []
    values = time_in_pairs(lambda: order.append("peer"), lambda: order.append("ours"), 3)
    assert order == ["peer", "ours", "ours", "peer", "peer", "ours", "ours", "peer"]
    assert len(values) == 3


def test_a_figure_is_its_median_with_its_spread() -> None:
    found = ratio("x", ">= 1", [3.0, 1.0, 2.0])
    assert (found.median, found.low, found.high, found.rounds) == (2.0, 1.0, 3.0, 3)
