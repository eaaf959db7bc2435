from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from core.augmentation import Augmentation, random_patch, recolour
from core.card import InputPolicy, StainTarget
from core.datasets import LabelledImage
from core.fit_config import FitConfig, Generated
from core.fitting import Epoch, fit, mean_network, warm_up
from core.network import HybridNetwork
from core.patches import cut
from core.results import RgbImage
from core.sampling import GeneratedPatches, even_draws
from core.views import EIGHT, apply
from tests.tissue import tissue_folder

CONFIG = FitConfig(
    name="tiny",
    branches=("test_efficientnet", "test_vit"),
    head="additive",
    input_policy=InputPolicy("patches", input_side=32, patch_side=32, stride=32),
    mean=(0.8, 0.65, 0.76),
    std=(0.13, 0.17, 0.12),
    epochs=2,
    batches=2,
    batch_size=4,
)
STILL = Augmentation(stain=0, mixing=0, density=0, grey=0, blur=0, zoom=1)


def network_of(config: FitConfig) -> HybridNetwork:
    torch.manual_seed(config.seed)
    return HybridNetwork(config.branches, config.head, 2, input_side=config.input_policy.input_side)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledImage]:
    return tissue_folder(tmp_path_factory.mktemp("tissue"))


@pytest.fixture
def picture() -> RgbImage:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def test_the_same_seed_gives_the_same_weights_and_history(images: list[LabelledImage]) -> None:
    first, second, other = network_of(CONFIG), network_of(CONFIG), network_of(CONFIG)
    assert fit(first, images, images[:2], CONFIG) == fit(second, images, images[:2], CONFIG)
    fit(other, images, [], replace(CONFIG, seed=1))
    weights = [torch.cat([p.flatten() for p in n.parameters()]) for n in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_every_epoch_is_reported_as_it_ends(images: list[LabelledImage]) -> None:
    seen: list[Epoch] = []
    history = fit(network_of(CONFIG), images, images, CONFIG, progress=seen.append)
    assert tuple(seen) == history.epochs
    assert [epoch.number for epoch in seen] == [1, 2]
    assert seen[-1].learning_rate == pytest.approx(0, abs=1e-9)
    assert all(epoch.validation_auc is not None for epoch in seen)


def test_without_validation_images_its_figures_are_absent_and_one_kind_has_no_auc(
    images: list[LabelledImage],
) -> None:
    benign = [image for image in images if image.malignancy == "benign"]
    alone = fit(network_of(CONFIG), images, [], CONFIG).epochs[-1]
    one_kind = fit(network_of(CONFIG), images, benign, CONFIG).epochs[-1]
    assert (alone.validation_loss, alone.validation_auc) == (None, None)
    assert one_kind.validation_loss is not None
    assert one_kind.validation_auc is None


def test_a_small_network_learns_to_tell_crowded_from_pale(images: list[LabelledImage]) -> None:
    config = replace(CONFIG, epochs=8, batches=5, batch_size=8, averaging=0.8, dropout=0.0)
    history = fit(network_of(config), images, images, config)
    assert history.epochs[-1].validation_auc == 1.0
    assert history.epochs[-1].loss < history.epochs[0].loss


def test_a_network_is_left_ready_for_prediction(images: list[LabelledImage]) -> None:
    network = network_of(CONFIG)
    fit(network, images, [], CONFIG)
    assert not any(module.training for module in network.modules())


TISSUE = Generated(images=4, batches=4, share=0.5)


def weights_of(network: HybridNetwork) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_a_warm_up_on_generated_tissue_learns_without_a_patient_and_repeats_itself() -> None:
    first, second, cold = network_of(CONFIG), network_of(CONFIG), network_of(CONFIG)
    assert warm_up(first, TISSUE, CONFIG) == warm_up(second, TISSUE, CONFIG)
    assert torch.equal(weights_of(first), weights_of(second))
    assert not torch.equal(weights_of(first), weights_of(cold))


def test_generated_batches_are_half_malignant_and_strongly_recoloured() -> None:
    source = GeneratedPatches(TISSUE, 6, CONFIG, np.random.default_rng(0))
    patches, malignant = source.draw()
    assert patches.shape == (6, 32, 32, 3)
    assert malignant == [0, 1] * 3
    means = np.concatenate([source.draw()[0].mean(axis=(1, 2)) for _ in range(10)])
    assert means.std(axis=0).min() > 15


def test_a_share_of_generated_tissue_changes_what_is_learnt(images: list[LabelledImage]) -> None:
    alone, mixed = network_of(CONFIG), network_of(CONFIG)
    fit(alone, images, [], CONFIG)
    fit(mixed, images, [], replace(CONFIG, generated=TISSUE))
    assert not torch.equal(weights_of(alone), weights_of(mixed))


def test_the_mean_of_networks_has_the_mean_of_their_weights(images: list[LabelledImage]) -> None:
    members = [network_of(replace(CONFIG, seed=seed)) for seed in range(3)]
    expected = torch.stack([weights_of(member) for member in members]).mean(dim=0)
    assert torch.allclose(weights_of(mean_network(members)), expected, atol=1e-6)
    assert torch.equal(weights_of(mean_network(members[:1])), weights_of(members[0]))


def test_patients_are_drawn_evenly_however_many_images_they_have() -> None:
    made = [
        LabelledImage(Path(f"{patient}-{number}.png"), label, patient, "100X", "breakhis")
        for patient, label, count in (("a", "adenosis", 1), ("b", "adenosis", 50), ("c", "ductal_carcinoma", 9))
        for number in range(count)
    ]
    drawn = [i for batch in islice(even_draws(made, 8, np.random.default_rng(0)), 300) for i in batch]
    counts = [sum(made[i].patient_id == patient for i in drawn) for patient in "abc"]
    assert counts[2] == 1200
    assert abs(counts[0] - 600) < 100
    with pytest.raises(ValueError, match="no malignant"):
        next(even_draws(made[:51], 8, np.random.default_rng(0)))


def test_augmentation_of_no_strength_gives_one_of_the_eight_views_of_a_cut(picture: RgbImage) -> None:
    rng = np.random.default_rng(3)
    policy = InputPolicy("resize", input_side=40)
    upright = torch.from_numpy(cut(picture, [(0, 0, 80, 60)], 40)).permute(0, 3, 1, 2)
    views = {apply(view, upright)[0].permute(1, 2, 0).numpy().tobytes() for view in EIGHT}
    seen = {random_patch(picture, policy, STILL, rng).tobytes() for _ in range(60)}
    assert seen == views


@pytest.mark.parametrize("kind", ["resize", "patches"])
def test_strong_augmentation_keeps_shape_and_range(picture: RgbImage, kind: str) -> None:
    policy = InputPolicy(kind, input_side=24, patch_side=50, stride=50)  # type: ignore[arg-type]
    strong = Augmentation(stain=2, mixing=1, density=2, grey=1, blur=1, zoom=3)
    rng = np.random.default_rng(1)
    for _ in range(30):
        patch = random_patch(picture, policy, strong, rng)
        assert patch.shape == (24, 24, 3)
        assert patch.dtype == np.uint8


def test_more_optical_density_is_darker_and_none_changes_nothing(picture: RgbImage) -> None:
    assert np.array_equal(recolour(picture, np.eye(3), np.zeros(3)), picture)
    assert recolour(picture, np.eye(3), np.full(3, 0.5)).mean() < picture.mean() * 0.8


def test_the_published_head_trains_too(images: list[LabelledImage]) -> None:
    config = replace(CONFIG, head="published", epochs=1, batches=1, stain=StainTarget("reinhard"))
    assert np.isfinite(fit(network_of(config), images, [], config).epochs[0].loss)


TOML = """
name = "tiny"
branches = ["test_efficientnet"]
head = "additive"
mean = [0.5, 0.5, 0.5]
std = [0.2, 0.2, 0.2]
epochs = 3
[input_policy]
kind = "resize"
[augmentation]
zoom = 1.2
"""


def test_a_run_is_read_from_its_file_and_flattened_for_the_card(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(TOML)
    config = FitConfig.from_toml(tmp_path / "run.toml")
    assert config.branches == ("test_efficientnet",)
    flat = config.flat()
    assert flat["epochs"] == 3
    assert flat["augmentation.zoom"] == 1.2
    assert flat["input_policy.kind"] == "resize"
    assert flat["stain"] == "none"
    assert flat["mean"] == "0.5, 0.5, 0.5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 3", "epoch = 3"), "epoch"),
        (("zoom = 1.2", "zom = 1.2"), "augmentation.zom"),
        (('kind = "resize"', 'knd = "resize"'), "input_policy"),
        (("epochs = 3", "epochs = 0"), "needs an epoch"),
        (("epochs = 3", "members = 0"), "a member"),
        (("[augmentation]", "[generated]\nshare = 1.0\n[augmentation]"), "a share below 1"),
        (("[augmentation]", "[generated]\nshares = 0.1\n[augmentation]"), "generated.shares"),
        (('name = "tiny"', ""), "name"),
        (("zoom = 1.2", "zoom = 0.5"), "zoom must be at least 1"),
    ],
)
def test_a_wrong_key_or_value_in_a_file_is_an_error_that_names_it(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    (tmp_path / "run.toml").write_text(TOML.replace(*change))
    with pytest.raises(ValueError, match=f"run.toml.*{message}"):
        FitConfig.from_toml(tmp_path / "run.toml")
