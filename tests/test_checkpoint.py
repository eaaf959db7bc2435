"""Checkpoints: what is saved comes back, and what is wrong is refused with the reason."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.card import CARD_KEY, UnusableCheckpointError, checkpoint_sha256, read_card
from core.checkpoint import load_classifier, save_checkpoint
from core.classifier import Classifier
from core.labels import LabelSet
from tests.networks import SMALL_CARD, small_checkpoint, small_network


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    small_checkpoint(path)
    return path


def _rewrite(path: Path, card_json: str | None, **changes: torch.Tensor | None) -> None:
    state = {**load_file(path), **changes}
    metadata = {CARD_KEY: card_json} if card_json is not None else {}
    save_file({k: v for k, v in state.items() if v is not None}, path, metadata=metadata)


def test_a_saved_network_gives_the_same_after_loading(checkpoint: Path) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    before = Classifier(small_network(), SMALL_CARD, "v").classify(patches)
    np.testing.assert_array_equal(load_classifier(checkpoint).classify(patches), before)


def test_the_card_comes_back_as_it_was(checkpoint: Path) -> None:
    assert read_card(checkpoint) == SMALL_CARD
    assert load_classifier(checkpoint).card == SMALL_CARD


def test_the_version_is_the_start_of_the_sha256(checkpoint: Path) -> None:
    assert load_classifier(checkpoint).version == checkpoint_sha256(checkpoint)[:12]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableCheckpointError, match=r"gone\.safetensors"):
        load_classifier(tmp_path / "gone.safetensors")


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    trap, sprung = tmp_path / "trap.safetensors", tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (sprung,))

    trap.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UnusableCheckpointError, match="not a safetensors file"):
        load_classifier(trap)
    assert not sprung.exists()


def test_a_file_without_a_card_is_refused(checkpoint: Path) -> None:
    _rewrite(checkpoint, None)
    with pytest.raises(UnusableCheckpointError, match="no card"):
        load_classifier(checkpoint)


def test_a_card_with_a_wrong_field_says_which(checkpoint: Path) -> None:
    _rewrite(checkpoint, SMALL_CARD.to_json().replace('"threshold":0.5', '"threshold":"high"'))
    with pytest.raises(UnusableCheckpointError, match="threshold"):
        load_classifier(checkpoint)


def test_a_weight_of_the_wrong_shape_is_named(checkpoint: Path) -> None:
    _rewrite(checkpoint, SMALL_CARD.to_json(), **{"head.bias": torch.zeros(3)})
    with pytest.raises(UnusableCheckpointError, match=r"head\.bias is \(3,\)"):
        load_classifier(checkpoint)


def test_a_weight_of_the_wrong_type_is_named(checkpoint: Path) -> None:
    _rewrite(checkpoint, SMALL_CARD.to_json(), **{"head.bias": torch.zeros(2, dtype=torch.float64)})
    with pytest.raises(UnusableCheckpointError, match="float64"):
        load_classifier(checkpoint)


def test_a_missing_and_an_extra_weight_are_named(checkpoint: Path) -> None:
    card = SMALL_CARD.to_json()
    _rewrite(checkpoint, card, **{"head.bias": None})
    with pytest.raises(UnusableCheckpointError, match=r"lacks 1 weights of its network, first head\.bias"):
        load_classifier(checkpoint)
    _rewrite(checkpoint, card, **{"head.bias": torch.zeros(2), "more": torch.zeros(1)})
    with pytest.raises(UnusableCheckpointError, match="first more"):
        load_classifier(checkpoint)


def test_swapped_classes_of_a_known_label_set_are_refused(checkpoint: Path) -> None:
    swapped = replace(SMALL_CARD, label_set=LabelSet("binary", ("malignant", "benign"), ("malignant",)))
    _rewrite(checkpoint, swapped.to_json())
    with pytest.raises(UnusableCheckpointError, match="in this order"):
        load_classifier(checkpoint)


def test_an_unknown_network_is_refused(checkpoint: Path) -> None:
    _rewrite(checkpoint, replace(SMALL_CARD, branches=("resnet_fifty",)).to_json())
    with pytest.raises(UnusableCheckpointError, match="resnet_fifty"):
        load_classifier(checkpoint)


def test_a_truncated_file_is_refused(checkpoint: Path) -> None:
    data = checkpoint.read_bytes()
    for length in (0, 4, 100, len(data) // 2, len(data) - 1):
        checkpoint.write_bytes(data[:length])
        with pytest.raises(UnusableCheckpointError):
            load_classifier(checkpoint)


def test_a_network_that_does_not_fit_its_card_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UnusableCheckpointError, match="head"):
        save_checkpoint(tmp_path / "x.safetensors", small_network(replace(SMALL_CARD, head="published")), SMALL_CARD)
    assert list(tmp_path.iterdir()) == []
