"""A card survives its journey through a checkpoint, and a wrong one is refused with the reason."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from core.card import (
    Card,
    InputPolicy,
    Metric,
    QualityLimits,
    ScopeReference,
    StainTarget,
    TrainingData,
    UnusableCheckpointError,
    checkpoint_sha256,
    model_version,
    read_card,
)
from core.labels import BINARY, BREAKHIS

CARD = Card("small", BINARY, ("test_vit",), "additive", InputPolicy("resize"), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
FULL = dataclasses.replace(
    CARD,
    label_set=BREAKHIS,
    branches=("tf_efficientnetv2_s", "vit_base_patch16_224"),
    head="published",
    input_policy=InputPolicy("patches", 224, 112, 56),
    stain=StainTarget("macenko", stain_matrix=((0.6, 0.7, 0.3), (0.1, 0.9, 0.4)), concentrations=(1.9, 1.0)),
    threshold=0.2067,
    sensitive_threshold=0.11,
    temperature=1.7,
    scope=ScopeReference(0.8, 1.0, 0.02, 0.1, 240, 24, "one patient left out at a time", (0.5, 0.7)),
    views="seven",
    precision="bf16",
    quality_limits=QualityLimits(10, 0.1),
    training_data=TrainingData("BreaKHis", 240, 24, ("22549", "16184"), "100X"),
    metrics=(Metric("AUC", 0.8, 0.7, 0.9, "out of fold, by accession number"),),
    config={"epochs": 3, "rate": 0.1, "optimiser": "adamw", "augment": True},
    demonstration=True,
    note="Präparat",
)


def save(path: Path, metadata: dict[str, str] | None) -> Path:
    save_file({"weight": np.zeros(3, dtype=np.float32)}, path, metadata)
    return path


@pytest.mark.parametrize("card", [CARD, FULL])
def test_a_card_comes_back_equal_from_json_and_from_a_checkpoint(tmp_path: Path, card: Card) -> None:
    assert Card.from_json(card.to_json()) == card
    assert read_card(save(tmp_path / "a.safetensors", {"card": card.to_json()})) == card


def test_the_published_limits_and_targets_are_the_defaults() -> None:
    assert CARD.quality_limits == QualityLimits(75.0, 0.40)
    target = StainTarget("reinhard")
    assert (target.means, target.deviations) == ((180.8, 148.6, 116.5), (35.4, 17.5, 11.1))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("branches", (), "at least one branch"),
        ("threshold", 0.0, "threshold"),
        ("threshold", 1.0, "threshold"),
        ("sensitive_threshold", 0.0, "sensitive_threshold"),
        ("sensitive_threshold", 1.0, "sensitive_threshold"),
        ("temperature", 0.0, "temperature"),
        ("temperature", float("nan"), "temperature"),
        ("std", (0.2, 0.0, 0.2), "standard deviations"),
    ],
)
def test_an_impossible_card_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CARD, **{field: value})  # type: ignore[arg-type]


def test_the_limit_of_unusual_is_not_above_that_of_out() -> None:
    with pytest.raises(ValueError, match="limit_unusual"):
        ScopeReference(1.1, 1.0, 0.02, 0.1, 240, 24, "")


def test_a_stride_longer_than_a_patch_would_leave_gaps() -> None:
    InputPolicy("patches", patch_side=112, stride=112)
    with pytest.raises(ValueError, match="gaps"):
        InputPolicy("patches", patch_side=112, stride=113)
    with pytest.raises(ValueError, match="at least one pixel"):
        InputPolicy("patches", stride=0)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"name": 3}'])
def test_json_that_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(UnusableCheckpointError, match="card is not valid"):
        Card.from_json(text)


def test_the_reason_names_the_field_that_is_wrong() -> None:
    fields = json.loads(CARD.to_json())
    fields["input_policy"]["stride"] = 9000
    with pytest.raises(UnusableCheckpointError, match=r"input_policy: .*gaps"):
        Card.from_json(json.dumps(fields))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("input_policy.patch_side", 15),
        ("input_policy.input_side", 100_000),
        ("input_policy.input_side", 10**400),
        ("input_policy.stride", 13),
        ("temperature", 1e-300),
        ("temperature", 1e300),
        ("mean.0", 1e400),
        ("std.2", 1e-9),
        ("quality_limits.sharpness", float("nan")),
        ("quality_limits.tissue_fraction", 1.5),
        ("stain.means.1", -1),
        ("stain.concentrations.0", 0),
        ("stain.stain_matrix.1.2", 1e9),
        ("training_data.images", -1),
        ("metrics.0.value", float("inf")),
        ("scope.limit_unusual", -1),
        ("scope.limit_out", float("inf")),
        ("scope.false_alarms", 1.5),
        ("scope.unusual", float("nan")),
        ("scope.patients", -1),
        ("scope.images", 1e10),
        ("scope.protocol", "x" * 5_001),
        ("scope.patient_scores.1", float("nan")),
        ("scope.patient_scores", [0.5] * 20_001),
        ("branches.0", "hf-hub:elsewhere/network"),
        ("branches.0", "a/b"),
        ("note", "x" * 5_001),
        ("name", "x" * 301),
        ("label_set.name", "x" * 301),
    ],
)
def test_every_number_and_text_of_a_card_has_bounds(path: str, value: object) -> None:
    fields = json.loads(FULL.to_json())
    assert Card.from_json(json.dumps(fields)) == FULL
    *way, last = path.split(".")
    place = fields
    for step in way:
        place = place[int(step) if step.isdecimal() else step]
    place[int(last) if last.isdecimal() else last] = value
    if path == "input_policy.patch_side":
        place["stride"] = 15
    with pytest.raises(UnusableCheckpointError, match="card is not valid"):
        Card.from_json(json.dumps(fields))


@pytest.mark.parametrize("side", [16, 1024])
def test_a_card_may_go_as_far_as_its_bounds(side: int) -> None:
    card = dataclasses.replace(
        FULL, input_policy=InputPolicy("patches", side, 4096, 512), temperature=0.01, note="x" * 5_000
    )
    assert Card.from_json(card.to_json()) == card


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_header_or_a_card_that_nests_deeply_is_refused(tmp_path: Path, opening: str) -> None:
    path = tmp_path / "deep.safetensors"
    header = (opening * 200_000).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(UnusableCheckpointError, match="not a safetensors file"):
        read_card(path)
    with pytest.raises(UnusableCheckpointError, match="card is not valid"):
        read_card(save(tmp_path / "card.safetensors", {"card": opening * 100_000}))


def test_a_card_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    header = b'{"__metadata__": {"card": 7}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(UnusableCheckpointError, match="has no card"):
        read_card(path)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_a_checkpoint_without_a_card_is_refused(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    with pytest.raises(UnusableCheckpointError, match="has no card"):
        read_card(save(tmp_path / "a.safetensors", metadata))


@pytest.mark.parametrize("data", [b"", b"short", b"\xff" * 100, b"PK\x03\x04" + b"\0" * 60, b"\2" + b"\0" * 7 + b"[]"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    with pytest.raises(UnusableCheckpointError, match="not a safetensors file"):
        read_card(path)


def test_a_missing_checkpoint_is_said_to_be_missing(tmp_path: Path) -> None:
    for read in (read_card, checkpoint_sha256):
        with pytest.raises(UnusableCheckpointError, match="cannot read the checkpoint"):
            read(tmp_path / "nowhere.safetensors")


def test_the_version_is_twelve_digits_of_the_hash_of_the_whole_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", {"card": CARD.to_json()})
    sha256 = checkpoint_sha256(path)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model_version(sha256) == sha256[:12]
