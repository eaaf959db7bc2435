"""The gate in front of faster ways to compute: what it measures, what it keeps, and when it opens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from core.__main__ import app
from core.card import checkpoint_sha256
from core.computing import Backend
from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from core.network.backends import library_of, processor_of, supports_bf16
from core.precision import CheckedWay, Difference, PrecisionRecord, compare, find_objection, map_correlation
from tests.helpers.fakes import FakeClassifier
from tests.helpers.networks import small_checkpoint, small_classifier
from tests.helpers.scopes import FixedScope

PASSED = Difference(
    images=100, labels_changed=0, largest_difference=0.005, lowest_correlation=0.95, benign=10, malignant=90
)
WAY = CheckedWay("0123456789abcdef", "torch-bf16", "torch 1", "a processor")
NEEDS_BF16 = pytest.mark.skipif(not supports_bf16(torch.device("cpu")), reason="this CPU does not multiply bfloat16")


def test_the_gate_closes_on_any_one_difference() -> None:
    assert PASSED.passed
    assert not replace(PASSED, labels_changed=1).passed
    assert not replace(PASSED, largest_difference=0.0051).passed
    assert not replace(PASSED, lowest_correlation=0.949).passed
    assert not replace(PASSED, images=0).passed


def test_few_images_or_images_of_one_kind_open_no_gate() -> None:
    assert PASSED.is_of_enough
    assert not replace(PASSED, images=99).is_of_enough
    assert not replace(PASSED, benign=9).is_of_enough
    assert not replace(PASSED, malignant=9).is_of_enough


@NEEDS_BF16
def test_the_gate_measures_a_real_difference_between_the_precisions() -> None:
    classifier = small_classifier()
    images = [(generate_tissue(seed, "malignant", 224, 224), None) for seed in range(2)]
    found = compare(classifier, classifier.computed_by("torch-bf16"), images)
    assert (found.images, found.benign + found.malignant) == (2, 2)
    assert 0 < found.largest_difference < 0.1
    assert found.lowest_correlation < 1


def test_flat_maps_agree_only_with_flat_maps() -> None:
    flat, ramp = np.zeros((4, 4), np.float32), np.arange(16, dtype=np.float32).reshape(4, 4)
    assert map_correlation(flat, flat + 1) == 1
    assert map_correlation(flat, ramp) == 0
    assert map_correlation(ramp, 2 * ramp) == pytest.approx(1)


def test_a_changed_label_a_shifted_probability_and_a_withheld_opinion_are_all_told() -> None:
    image = generate_tissue(0, "malignant", 96, 96)
    lower, upper, withheld = (
        FakeClassifier(malignant=0.4),
        FakeClassifier(malignant=0.6),
        FakeClassifier(malignant=0.6, scope=FixedScope(2.0)),
    )
    turned = compare(lower, upper, [(image, None)])
    assert (turned.labels_changed, turned.benign, turned.malignant) == (1, 1, 0)
    assert turned.largest_difference == pytest.approx(0.2)
    assert compare(upper, withheld, [(image, None)]).labels_changed == 1
    assert compare(withheld, withheld, [(image, None)]).images == 0
    same = compare(upper, upper, [(image, None)] * 2)
    assert (same.images, same.labels_changed, same.largest_difference, same.malignant) == (2, 0, 0, 2)


@pytest.mark.parametrize(
    "other",
    [
        replace(WAY, checkpoint_sha256="fedcba9876543210"),
        replace(WAY, backend="openvino-bf16"),
        replace(WAY, library="torch 2"),
        replace(WAY, processor="another processor"),
    ],
)
def test_a_record_counts_only_for_what_was_checked(other: CheckedWay, tmp_path: Path) -> None:
    PrecisionRecord(WAY, PASSED).save(tmp_path)
    assert find_objection(WAY, tmp_path) is None
    assert "has not been checked" in (find_objection(other, tmp_path) or "")


def test_a_record_that_says_no_is_told_with_its_figures(tmp_path: Path) -> None:
    PrecisionRecord(WAY, replace(PASSED, labels_changed=2)).save(tmp_path)
    assert "2 labels changed" in (find_objection(WAY, tmp_path) or "")
    PrecisionRecord(WAY, replace(PASSED, images=50)).save(tmp_path)
    assert "too few images" in (find_objection(WAY, tmp_path) or "")


def test_a_damaged_or_swapped_record_is_no_permission(tmp_path: Path) -> None:
    path = WAY.path(tmp_path)
    PrecisionRecord(replace(WAY, checkpoint_sha256=WAY.checkpoint_sha256[:12] + "0"), PASSED).save(tmp_path)
    assert "of another machine" in (find_objection(WAY, tmp_path) or "")
    path.write_bytes(path.read_bytes()[:40])
    assert "cannot be read" in (find_objection(WAY, tmp_path) or "")


@NEEDS_BF16
def test_the_command_records_what_it_finds_and_says_when_images_are_too_few(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images, data = tmp_path / "images", tmp_path / "data"
    images.mkdir()
    (images / "tissue.png").write_bytes(encode_png(generate_tissue(1, "malignant", 224, 224)))
    (images / "broken.png").write_bytes(b"no picture")
    small_checkpoint(tmp_path / "small.safetensors")
    monkeypatch.setenv("SECOND_READ_DATA", str(data))
    command = ["check-precision", str(images), "--checkpoint", str(tmp_path / "small.safetensors")]
    assert CliRunner().invoke(app, command).exit_code == 2  # nothing was named to check
    done = CliRunner().invoke(app, [*command, "--backend", "torch-bf16"])
    assert (done.exit_code, "may not be used" in done.stdout) == (1, True), done.output
    assert "left out: broken.png" in done.stderr
    assert "Too few images" in " ".join(done.stderr.split())
    backend: Backend = "torch-bf16"
    way = CheckedWay(
        checkpoint_sha256(tmp_path / "small.safetensors"),
        backend,
        library_of(backend),
        processor_of(torch.device("cpu")),
    )
    assert "too few images: on 1 images" in (find_objection(way, data / "precision") or "")
    gpu = CliRunner().invoke(app, [*command, "--backend", "torch-fp16"])
    assert (gpu.exit_code, "needs a GPU" in gpu.stderr) == (2, True)
