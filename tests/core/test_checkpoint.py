"""Checkpoints: what is saved comes back, and what is wrong is refused with the reason."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.card import (
    CARD_KEY,
    Abstention,
    Fusion,
    Head,
    InputPolicy,
    Magnification,
    UnusableCheckpointError,
    checkpoint_sha256,
    read_card,
)
from core.labels import LabelSet
from core.network.checkpoint import load_classifier, load_redrawn, save_checkpoint
from core.network.classifier import Classifier
from core.scope.reference import DescriptionSpace
from tests.helpers.networks import SMALL_CARD, small_checkpoint, small_classifier, small_network
from tests.helpers.scopes import small_scope


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


@pytest.mark.parametrize("keep_branches", [True, False])
def test_weights_are_drawn_anew_by_their_seed_and_branches_are_kept_if_wanted(
    checkpoint: Path, keep_branches: bool
) -> None:
    patch = np.random.default_rng(0).integers(0, 256, (1, 160, 160, 3), dtype=np.uint8)
    before = torch.random.get_rng_state()
    own = load_classifier(checkpoint)
    one, again, other = (load_redrawn(checkpoint, seed, keep_branches=keep_branches) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before), "nobody else's draws change"
    said = [classifier.classify(patch) for classifier in (own, one, other)]
    np.testing.assert_array_equal(again.classify(patch), said[1])
    assert min(np.abs(said[first] - said[second]).max() for first, second in ((0, 1), (0, 2), (1, 2))) > 1e-4
    assert np.allclose(one.features(patch), own.features(patch), atol=1e-4) is keep_branches
    assert (one.card, one.version != own.version) == (own.card, True)


def test_the_card_comes_back_as_it_was(checkpoint: Path) -> None:
    assert read_card(checkpoint) == SMALL_CARD
    assert load_classifier(checkpoint).card == SMALL_CARD


def test_the_version_is_the_start_of_the_sha256(checkpoint: Path) -> None:
    assert load_classifier(checkpoint).version == checkpoint_sha256(checkpoint)[:12]


@pytest.mark.parametrize("magnification", ["ignored", "input", "auxiliary"])
@pytest.mark.parametrize(
    ("branches", "head", "fusion"),
    [
        (("cnn3",), "dense", "concatenation"),
        (("cnn4",), "linear", "compact_bilinear"),
        (("cnn3", "test_vit"), "published", "cross_attention"),
        (("test_efficientnet", "test_vit"), "linear", "compact_bilinear"),
    ],
)
def test_every_kind_of_network_comes_back_from_its_card(
    tmp_path: Path, branches: tuple[str, ...], head: Head, fusion: Fusion, magnification: Magnification
) -> None:
    policy = InputPolicy("resize", input_side=64)
    card = replace(SMALL_CARD, branches=branches, head=head, input_policy=policy, views="one")
    card = replace(card, fusion=fusion, magnification=magnification, locked_on="out of fold")
    card = replace(card, abstention=Abstention(0.1, 0.8, 0.9, 0.05, "validation"))
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, small_network(card), card)
    loaded = load_classifier(path)
    patches = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert loaded.card == card
    for where in (None, "40X", "400X"):
        expected = Classifier(small_network(card), card, "v").at(where).classify(patches)
        np.testing.assert_array_equal(loaded.at(where).classify(patches), expected)


def test_a_card_from_before_fusion_and_magnification_is_still_understood(checkpoint: Path) -> None:
    patches = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    before = load_classifier(checkpoint).classify(patches)
    fields = json.loads(SMALL_CARD.to_json())
    for newer in ("fusion", "magnification", "locked_on", "abstention"):
        del fields[newer]
    _rewrite(checkpoint, json.dumps(fields))
    loaded = load_classifier(checkpoint)
    assert loaded.card == SMALL_CARD
    np.testing.assert_array_equal(loaded.classify(patches), before)


def test_a_fusion_that_its_branches_cannot_make_is_refused(checkpoint: Path) -> None:
    _rewrite(checkpoint, replace(SMALL_CARD, branches=("test_vit",), fusion="cross_attention").to_json())
    with pytest.raises(UnusableCheckpointError, match="two branches or more"):
        load_classifier(checkpoint)


def test_a_network_of_another_fusion_is_not_saved(tmp_path: Path) -> None:
    card = replace(SMALL_CARD, fusion="compact_bilinear")
    with pytest.raises(UnusableCheckpointError, match=r"fusion\.places_0"):
        save_checkpoint(tmp_path / "x.safetensors", small_network(card), SMALL_CARD)


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


@pytest.fixture
def scoped(tmp_path: Path) -> Path:
    reference, about = small_scope()
    card = replace(SMALL_CARD, scope=about)
    save_checkpoint(tmp_path / "scoped.safetensors", small_network(card), card, reference)
    return tmp_path / "scoped.safetensors"


def test_the_scope_comes_back_with_its_checkpoint(scoped: Path) -> None:
    reference, about = small_scope()
    loaded = load_classifier(scoped)
    assert loaded.card.scope == about
    assert loaded.scope is not None
    assert loaded.scope.widths == reference.widths
    patches = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3), dtype=np.uint8)
    features = loaded.features(patches)
    np.testing.assert_allclose(loaded.scope.layer_distances(features), reference.layer_distances(features), rtol=1e-3)
    for same in (loaded.at("100X"), loaded.with_card(replace(loaded.card, threshold=0.4))):
        assert same.scope is loaded.scope
    assert loaded.with_scope(None).scope is None


def test_a_scope_of_all_layers_as_hybrids_had_before_is_still_read(tmp_path: Path) -> None:
    reference, about = small_scope()
    width = 2 * small_classifier().layer_widths[-1]
    ones = np.ones(width)
    last = DescriptionSpace(0 * ones, ones, ones[None] / np.sqrt(width), np.ones(1), 1.0)
    whole = replace(reference, layers=(*reference.layers, last), places=(*reference.places, last))
    card = replace(SMALL_CARD, scope=about)
    save_checkpoint(tmp_path / "before.safetensors", small_network(card), card, whole)
    scope = load_classifier(tmp_path / "before.safetensors").scope
    assert scope is not None
    assert scope.widths == small_classifier().layer_widths != reference.widths


def test_weights_drawn_anew_know_of_no_scope(scoped: Path) -> None:
    assert load_classifier(scoped).scope is not None
    assert load_redrawn(scoped, 1, keep_branches=True).scope is None


def test_a_checkpoint_without_a_scope_has_none(checkpoint: Path) -> None:
    assert load_classifier(checkpoint).scope is None


def test_a_scope_that_does_not_fit_its_checkpoint_is_refused(scoped: Path) -> None:
    card = read_card(scoped)
    state = load_file(scoped)
    axes = "scope.layer.0.axes"
    wrong: list[tuple[str | None, dict[str, torch.Tensor | None]]] = [
        (card.to_json(), {axes: None}),
        (card.to_json(), {axes: state[axes] * torch.nan}),
        (card.to_json(), {axes: state[axes].double()}),
        (card.to_json(), {axes: state[axes][:, 1:].contiguous()}),
        (card.to_json(), {"scope.more": torch.zeros(3)}),
        (card.to_json(), {"scope.more": torch.zeros(600_000)}),
        (card.to_json(), {name: None for name in state if name.startswith("scope.")}),
        (replace(card, scope=None).to_json(), {}),
        (replace(card, scope=card.scope and replace(card.scope, limit_out=2.0)).to_json(), {}),
    ]
    whole = scoped.read_bytes()
    for card_json, changes in wrong:
        _rewrite(scoped, card_json, **changes)
        with pytest.raises(UnusableCheckpointError, match="scope"):
            load_classifier(scoped)
        scoped.write_bytes(whole)
    assert load_classifier(scoped).scope is not None


def test_a_card_from_before_the_scope_is_still_understood(checkpoint: Path) -> None:
    fields = json.loads(SMALL_CARD.to_json())
    del fields["scope"]
    _rewrite(checkpoint, json.dumps(fields))
    assert load_classifier(checkpoint).card == SMALL_CARD
