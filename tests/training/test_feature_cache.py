import copy
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data.datasets import LabelledImage
from core.fitting.batches import FeatureSource, PatchSource
from core.fitting.config import FitConfig, Generated, Optimiser, Phase
from core.fitting.feature_cache import Features, PatchList, compute_features
from core.fitting.freezing import begin_phase, build_optimiser, set_modes
from core.fitting.held_out import HeldOutImages
from core.fitting.images import TrainingImages
from core.fitting.loading import standardise
from core.fitting.loop import Work, fit
from core.fitting.loss import Objective, Totals
from core.network.hybrid import HybridNetwork
from tests.helpers.runs.fits import CONFIG, tiny_network, weights_of

CPU = torch.device("cpu")
PHASE = Phase("head", 2, "head", 1e-2, cached=3)
FROZEN = replace(CONFIG, phases=(PHASE,), generated=Generated(images=4, share=0.25))


def cached(network: HybridNetwork, source: TrainingImages, config: FitConfig, folder: Path | None = None) -> Features:
    patches = PatchList(len(source) * 3, lambda row: source.copy(*divmod(row, 3)), source.name)
    return compute_features(network, patches, config, folder, CPU)


@pytest.mark.parametrize("fusion", ["concatenation", "cross_attention"])
@pytest.mark.parametrize("mapped", [False, True])
def test_cached_features_are_those_of_the_backbone_on_the_same_copies(
    images: list[LabelledImage], tmp_path: Path, fusion: str, mapped: bool
) -> None:
    config = replace(FROZEN, fusion=fusion)  # type: ignore[arg-type]
    network = tiny_network(config)
    source = TrainingImages(images, config, None)
    features = cached(network, source, config, tmp_path if mapped else None)
    assert len(features) == 3 * (len(images) + 4)
    rows = np.array([0, 17, 5, len(features) - 1])
    patches = np.stack([source.copy(*divmod(int(row), 3)) for row in rows])
    with torch.no_grad():
        expected = network.eval().pooled(network.features(standardise(patches, config, CPU)))
    for ours, theirs in zip(features.take(rows), expected, strict=True):
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_head_learns_the_same_from_cached_features_as_behind_the_backbone(images: list[LabelledImage]) -> None:
    by_cache = tiny_network(FROZEN)
    before = weights_of(by_cache)
    by_backbone = copy.deepcopy(by_cache)
    source = TrainingImages(images, FROZEN, None)
    features = FeatureSource(source, cached(by_cache, source, FROZEN), 3)
    losses: list[list[float]] = [[], []]
    for network, found in zip((by_cache, by_backbone), losses, strict=True):
        begin_phase(network, PHASE)
        set_modes(network, PHASE)
        objective = Objective(network, torch.ones(2), FROZEN, None)
        optimiser = build_optimiser(network, None, PHASE, Optimiser())
        for epoch in (1, 2, 3):
            draws = source.epoch(1, epoch, 3)
            for draw, batch in zip(draws, features.batches(draws, 1, epoch), strict=True):
                if network is by_backbone:
                    copies = zip(draw.images, draw.copies, strict=True)
                    patches = np.stack([source.copy(int(image), int(number)) for image, number in copies])
                    batch = replace(batch, pooled=(), images=standardise(patches, FROZEN, CPU))  # noqa: PLW2901
                loss = objective(batch, Totals(len(draw), len(draw), 0), 0.0)
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                found.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert not torch.allclose(weights_of(by_cache), before, atol=1e-3)
    assert torch.allclose(weights_of(by_cache), weights_of(by_backbone), atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_held_out_is_judged_the_same_by_cached_features(images: list[LabelledImage], precision: str) -> None:
    network = tiny_network(FROZEN).eval()
    short = replace(FROZEN, optimiser=Optimiser(precision=precision))  # type: ignore[arg-type]
    held_out = HeldOutImages(images, short, None, CPU)
    assert held_out.judge(network, held_out.features(network, None)) == pytest.approx(held_out.judge(network))


def test_a_frozen_phase_leaves_the_branches_as_they_were(images: list[LabelledImage]) -> None:
    network = tiny_network(FROZEN)
    before = copy.deepcopy(network.branches.state_dict())
    fit(network, images, images, FROZEN)
    assert all(torch.equal(value, before[name]) for name, value in network.branches.state_dict().items())


def test_a_file_of_features_is_computed_once_and_only_for_these_weights_patches_and_numbers(
    images: list[LabelledImage], tmp_path: Path
) -> None:
    network = tiny_network(FROZEN)

    def files_after(trained: HybridNetwork, train: list[LabelledImage], config: FitConfig) -> int:
        cached(trained, TrainingImages(train, config, None), config, tmp_path)
        return len(list(tmp_path.glob("*.f32")))

    assert files_after(network, images, FROZEN) == 1
    made = next(tmp_path.glob("*.f32")).stat().st_mtime_ns
    assert files_after(network, images, replace(FROZEN, name="other", batch_size=4, averaging=0.1)) == 1
    assert next(tmp_path.glob("*.f32")).stat().st_mtime_ns == made
    assert files_after(network, images[:-1], FROZEN) == 2
    assert files_after(network, images, replace(FROZEN, seed=1)) == 3
    assert files_after(network, images, replace(FROZEN, mean=(0.5, 0.5, 0.5))) == 4
    assert files_after(tiny_network(replace(FROZEN, seed=1)), images, FROZEN) == 5


def test_a_changed_image_is_not_mistaken_for_the_old_one(images: list[LabelledImage], tmp_path: Path) -> None:
    before = TrainingImages(images, FROZEN, None).name
    stat = images[0].path.stat()
    os.utime(images[0].path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert TrainingImages(images, FROZEN, None).name != before


def test_a_file_that_was_not_finished_is_begun_again(images: list[LabelledImage], tmp_path: Path) -> None:
    network, source = tiny_network(FROZEN), TrainingImages(images, FROZEN, None)
    whole = cached(network, source, FROZEN, tmp_path)
    final = next(tmp_path.glob("*.f32"))
    expected = np.array(whole.rows)
    final.with_suffix(".partial").write_bytes(b"\0" * 100)
    final.unlink()
    assert np.array_equal(cached(network, source, FROZEN, tmp_path).rows, expected)
    assert not list(tmp_path.glob("*.partial"))


def test_a_run_with_features_on_disk_equals_one_with_features_in_memory(
    images: list[LabelledImage], tmp_path: Path
) -> None:
    in_memory, on_disk, again = (tiny_network(FROZEN) for _ in range(3))
    history = fit(in_memory, images, images[:3], FROZEN)
    for network in (on_disk, again):
        assert fit(network, images, images[:3], FROZEN, work=Work(cache=tmp_path)) == history
        assert torch.equal(weights_of(network), weights_of(in_memory))


def test_patches_of_a_batch_are_made_in_the_order_of_their_labels(images: list[LabelledImage]) -> None:
    source = TrainingImages(images, CONFIG, None)
    draws = source.epoch(1, 1, 0)
    batches = list(PatchSource(source, None, CONFIG, CPU).batches(draws, 1, 1))
    for draw, batch in zip(draws, batches, strict=True):
        expected = standardise(source.patches(draw, np.arange(len(draw)), 1, 1), CONFIG, CPU)
        assert batch.images is not None
        assert torch.equal(batch.images, expected)
        assert batch.labels.tolist() == source.labels[draw.images].tolist()


def test_folds_of_one_pool_share_their_features(images: list[LabelledImage], tmp_path: Path) -> None:
    folds = [images[2:], images[:-2]]
    learnt = []
    for train in folds:
        network = tiny_network(FROZEN)
        history = fit(network, train, [], FROZEN, work=Work(cache=tmp_path, pool=tuple(images)))
        learnt.append(weights_of(network))
        assert len(list(tmp_path.glob("features-*.f32"))) == 1
        assert np.isfinite([epoch.loss for epoch in history.epochs]).all()
    assert not torch.equal(*learnt)


def test_a_pool_and_a_cache_change_nothing_in_what_is_learnt(images: list[LabelledImage], tmp_path: Path) -> None:
    alone, among_others = tiny_network(FROZEN), tiny_network(FROZEN)
    history = fit(alone, images[2:], images[:2], FROZEN)
    work = Work(cache=tmp_path, pool=tuple(images))
    pooled = fit(among_others, images[2:], images[:2], FROZEN, work=work)
    assert [epoch.loss for epoch in pooled.epochs] == pytest.approx([epoch.loss for epoch in history.epochs], abs=1e-5)
    assert torch.allclose(weights_of(alone), weights_of(among_others), atol=1e-4)


def test_of_a_pool_only_the_images_to_learn_from_are_drawn(images: list[LabelledImage]) -> None:
    train = TrainingImages(images[2:6], CONFIG, None, images)
    drawn = {int(image) for number in range(1, 6) for draw in train.epoch(1, number, 0) for image in draw.images}
    assert drawn <= {2, 3, 4, 5}
    alone = TrainingImages(images[2:6], CONFIG, None)
    for ours, theirs in zip(train.epoch(1, 1, 0), alone.epoch(1, 1, 0), strict=True):
        assert (ours.images - 2 == theirs.images).all()
        places = np.arange(len(ours))
        assert (train.patches(ours, places, 1, 1) == alone.patches(theirs, places, 1, 1)).all()
