from dataclasses import replace

import numpy as np
import pytest
import torch

from core.card import StainTarget
from core.data.datasets import LabelledImage
from core.fitting.averaging import average_networks
from core.fitting.config import FitConfig, Generated, Optimiser, Phase, Sampling
from core.fitting.images import UNKNOWN, TrainingImages
from core.fitting.loop import fit, warm_up
from core.fitting.loss import drop_channels
from core.fitting.sampling import Places
from core.labels import magnification_index
from core.run_history import Epoch
from tests.helpers.runs.fits import CONFIG, HEAD_THEN_LAST_THEN_ALL, tiny_network, weights_of

TISSUE = Generated(images=4, batches=4, share=0.5)


def test_the_same_seed_gives_the_same_weights_and_history(images: list[LabelledImage]) -> None:
    config = replace(CONFIG, phases=HEAD_THEN_LAST_THEN_ALL)
    first, second, other = tiny_network(config), tiny_network(config), tiny_network(config)
    assert fit(first, images, images[:2], config) == fit(second, images, images[:2], config)
    fit(other, images, [], replace(config, seed=1))
    assert torch.equal(weights_of(first), weights_of(second))
    assert not torch.equal(weights_of(first), weights_of(other))


def test_every_epoch_is_reported_as_it_ends(images: list[LabelledImage]) -> None:
    seen: list[Epoch] = []
    config = replace(CONFIG, phases=HEAD_THEN_LAST_THEN_ALL)
    history = fit(tiny_network(config), images, images, config, progress=seen.append)
    assert tuple(seen) == history.epochs
    assert [(epoch.number, epoch.phase) for epoch in seen] == [
        (1, "head"), (2, "head"), (3, "last"), (4, "last"), (5, "all"), (6, "all"),
    ]  # fmt: skip
    assert all(epoch.validation_auc is not None and epoch.seconds > 0 for epoch in seen)
    assert history.kept == 6


def test_without_validation_images_its_figures_are_absent_and_one_kind_has_no_auc(
    images: list[LabelledImage],
) -> None:
    benign = [image for image in images if image.malignancy == "benign"]
    alone = fit(tiny_network(CONFIG), images, [], CONFIG).epochs[-1]
    one_kind = fit(tiny_network(CONFIG), images, benign, CONFIG).epochs[-1]
    assert (alone.validation_loss, alone.validation_auc) == (None, None)
    assert one_kind.validation_loss is not None
    assert one_kind.validation_auc is None


def test_a_small_network_learns_to_tell_crowded_from_pale(images: list[LabelledImage]) -> None:
    phase = Phase("all", 8, "all", 1e-3)
    config = replace(CONFIG, phases=(phase,), sampling=Sampling("patients", 5), batch_size=8, averaging=0.8)
    history = fit(tiny_network(config), images, images, config)
    assert history.epochs[-1].validation_auc == 1.0
    assert history.epochs[-1].loss < history.epochs[0].loss


def test_a_network_is_left_ready_for_prediction_and_free_to_be_trained_again(images: list[LabelledImage]) -> None:
    config = replace(CONFIG, phases=(Phase("head", 1, "head", 1e-3),))
    network = tiny_network(config)
    fit(network, images, [], config)
    assert not any(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_best_epoch_is_kept_when_asked_for(images: list[LabelledImage]) -> None:
    # A wild rate at the end: what was learnt before is lost.
    phases = (Phase("calm", 4, "all", 1e-3, schedule="constant"), Phase("wild", 2, "all", 1.0, schedule="constant"))
    config = replace(CONFIG, phases=phases, sampling=Sampling("patients", 8), averaging=0.0, keep="best")
    network, calm = tiny_network(config), tiny_network(config)
    history = fit(network, images, images, config)
    assert history.kept <= 4
    assert max(epoch.validation_auc or 0 for epoch in history.epochs) == 1.0
    short = replace(config, phases=(replace(phases[0], epochs=history.kept),), keep="last")
    fit(calm, images, images, short)
    assert torch.equal(weights_of(network), weights_of(calm))


def test_a_phase_stops_when_its_patience_runs_out(images: list[LabelledImage]) -> None:
    phase = Phase("head", 9, "head", 1e-12, cached=1, patience=2)
    history = fit(tiny_network(CONFIG), images, images, replace(CONFIG, phases=(phase,), averaging=0.0))
    best = max(history.epochs, key=lambda epoch: (epoch.validation_auc or 0, -(epoch.validation_loss or 0)))
    assert len(history.epochs) == best.number + 2 < 9


def test_two_small_batches_make_the_step_of_a_large_one(images: list[LabelledImage]) -> None:
    config = replace(CONFIG, branches=("test_vit",), sampling=Sampling("shuffled"), averaging=0.0)
    halves = replace(config, batch_size=4, optimiser=Optimiser(accumulation=2))
    whole = replace(config, batch_size=8, optimiser=Optimiser())
    first, second = tiny_network(config), tiny_network(config)
    losses = [[e.loss for e in fit(n, images, [], c).epochs] for n, c in ((first, halves), (second, whole))]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert torch.allclose(weights_of(first), weights_of(second), atol=1e-5)


@pytest.mark.parametrize(("kind", "precision"), [("adamw", "bf16"), ("adam", "fp16"), ("rmsprop", "fp32")])
def test_every_optimiser_takes_steps_in_every_precision(images: list[LabelledImage], kind: str, precision: str) -> None:
    optimiser = Optimiser(kind=kind, precision=precision, clip=1.0)  # type: ignore[arg-type]
    config = replace(CONFIG, optimiser=optimiser, phases=(Phase("all", 1, "all", 1e-3, warm_up=0.5),))
    network = tiny_network(config)
    before = weights_of(network)
    assert np.isfinite(fit(network, images, [], config).epochs[0].loss)
    assert not torch.equal(before, weights_of(network))


def test_a_loss_that_is_no_number_ends_the_run_with_a_reason(images: list[LabelledImage]) -> None:
    config = replace(CONFIG, phases=(Phase("all", 3, "all", 1e30, schedule="constant"),), optimiser=Optimiser())
    with pytest.raises(ValueError, match="phase 'all' is not a finite number: lower"):
        fit(tiny_network(config), images, [], config)


def test_subtypes_are_learnt_and_ranked_by_malignancy(images: list[LabelledImage]) -> None:
    config = replace(CONFIG, task="subtypes")
    epoch = fit(tiny_network(config), images, images, config).epochs[-1]
    assert epoch.validation_auc is not None
    assert epoch.validation_loss is not None


@pytest.mark.parametrize("magnification", ["input", "auxiliary"])
def test_a_network_learns_with_the_magnification(images: list[LabelledImage], magnification: str) -> None:
    config = replace(CONFIG, magnification=magnification)  # type: ignore[arg-type]
    network = tiny_network(config)
    known = network.magnification_embedding if magnification == "input" else network.magnification_head
    before = known.weight.detach().clone()
    fit(network, images, images, config)
    assert not torch.equal(before, known.weight)


def magnifications_of(images: list[LabelledImage], config: FitConfig) -> Places:
    return np.concatenate([draw.magnifications for draw in TrainingImages(images, config, None).epoch(1, 1, 0)])


def test_a_fifth_of_the_images_is_shown_without_its_magnification(images: list[LabelledImage]) -> None:
    told = replace(CONFIG, magnification="input", sampling=Sampling("patients", 250))
    shown = {
        config.magnification: magnifications_of(images, config)
        for config in (told, replace(told, magnification="auxiliary"))
    }
    assert set(shown["input"]) == {magnification_index("100X"), UNKNOWN}
    assert abs((shown["input"] == UNKNOWN).mean() - 0.2) < 0.05
    assert set(shown["auxiliary"]) == {magnification_index("100X")}


def test_dropped_channels_keep_the_mean_and_change_what_is_learnt(images: list[LabelledImage]) -> None:
    plain, dropping = tiny_network(CONFIG), tiny_network(CONFIG)
    fit(plain, images, [], CONFIG)
    fit(dropping, images, [], replace(CONFIG, dropout=0.5))
    assert not torch.equal(weights_of(plain), weights_of(dropping))
    for shape in ((2000, 3), (2000, 4, 3)):
        dropped = drop_channels(torch.ones(shape), 0.5)
        assert set(dropped.unique().tolist()) == {0.0, 2.0}
        assert dropped.mean().item() == pytest.approx(1, abs=0.1)
        if len(shape) == 3:  # a channel is silent in all tokens of an image, or in none
            assert torch.equal(dropped, dropped[:, :1].expand(shape))


def test_the_published_head_trains_too(images: list[LabelledImage]) -> None:
    config = replace(CONFIG, head="published", stain=StainTarget("reinhard"))
    assert np.isfinite(fit(tiny_network(config), images, [], config).epochs[0].loss)


def test_a_warm_up_on_generated_tissue_learns_without_a_patient_and_repeats_itself() -> None:
    first, second, cold = tiny_network(CONFIG), tiny_network(CONFIG), tiny_network(CONFIG)
    assert warm_up(first, TISSUE, CONFIG) == warm_up(second, TISSUE, CONFIG)
    assert torch.equal(weights_of(first), weights_of(second))
    assert not torch.equal(weights_of(first), weights_of(cold))


def test_generated_batches_are_half_malignant_and_strongly_recoloured() -> None:
    source = TrainingImages(
        [], replace(CONFIG, generated=TISSUE, batch_size=6, sampling=Sampling("patients", 10)), None
    )
    draws = source.epoch(1, 1, 0)
    assert [list(source.labels[draw.images]) for draw in draws] == [[0, 1] * 3] * 10
    patches = np.concatenate([source.patches(draw, np.arange(6), 1, 1) for draw in draws])
    assert patches.shape == (60, 32, 32, 3)
    assert patches.mean(axis=(1, 2)).std(axis=0).min() > 15


def test_a_share_of_generated_tissue_changes_what_is_learnt(images: list[LabelledImage]) -> None:
    alone, mixed = tiny_network(CONFIG), tiny_network(CONFIG)
    fit(alone, images, [], CONFIG)
    fit(mixed, images, [], replace(CONFIG, generated=TISSUE))
    assert not torch.equal(weights_of(alone), weights_of(mixed))


def test_a_patch_depends_on_its_place_in_the_run_alone(images: list[LabelledImage]) -> None:
    source = TrainingImages(images, CONFIG, None)
    draw = source.epoch(1, 1, 0)[1]
    whole = source.patches(draw, np.arange(4), 1, 1)
    assert np.array_equal(whole[[3, 1]], source.patches(draw, np.array([3, 1]), 1, 1))
    assert not np.array_equal(whole, source.patches(draw, np.arange(4), 1, 2))
    assert not np.array_equal(whole, source.patches(draw, np.arange(4), 2, 1))


def test_the_mean_of_networks_has_the_mean_of_their_weights() -> None:
    members = [tiny_network(replace(CONFIG, seed=seed)) for seed in range(3)]
    expected = torch.stack([weights_of(member) for member in members]).mean(dim=0)
    assert torch.allclose(weights_of(average_networks(members)), expected, atol=1e-6)
    assert torch.equal(weights_of(average_networks(members[:1])), weights_of(members[0]))
