from typing import get_args

import numpy as np
import pytest
import torch

from core.card import InputPolicy
from core.fitting.augmentation import (
    PublishedList,
    published_list,
    published_patch,
    random_patch,
    recolour,
    training_patch,
)
from core.fitting.config import Augmentation, FitConfig, Phase, PublishedName
from core.imaging.patches import cut_patches
from core.network.views import EIGHT_VIEWS, apply_view
from core.results import RgbImage

STILL = Augmentation(stain=0, mixing=0, density=0, grey=0, blur=0, zoom=1)
PUBLISHED: tuple[PublishedName, ...] = get_args(PublishedName)
CHANGING = [name for name in PUBLISHED if name != "none"]
SQUEEZED = InputPolicy("resize", input_side=40)
PATCHES = InputPolicy("patches", input_side=24, patch_side=30, stride=30)


def config_of(augmentations: PublishedName | str, policy: InputPolicy = SQUEEZED) -> FitConfig:
    return FitConfig(
        name="tiny",
        branches=("test_efficientnet",),
        head="additive",
        input_policy=policy,
        mean=(0.8, 0.65, 0.76),
        std=(0.13, 0.17, 0.12),
        phases=(Phase("all", epochs=1, unfrozen="all", learning_rate=1e-3),),
        augmentations=augmentations,  # type: ignore[arg-type]
    )


@pytest.fixture
def picture() -> RgbImage:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


@pytest.fixture
def smooth() -> RgbImage:
    """Give an image in which every place has a colour of its own, so that a patch tells where it was cut."""
    rows, columns = np.mgrid[0:60, 0:80]
    return np.stack([rows * 4, columns * 3, 255 - rows * 2 - columns], axis=2).astype(np.uint8)


def test_augmentation_of_no_strength_gives_one_of_the_eight_views_of_a_cut(picture: RgbImage) -> None:
    rng = np.random.default_rng(3)
    upright = torch.from_numpy(cut_patches(picture, [(0, 0, 80, 60)], 40)).permute(0, 3, 1, 2)
    views = {apply_view(view, upright)[0].permute(1, 2, 0).numpy().tobytes() for view in EIGHT_VIEWS}
    seen = {random_patch(picture, SQUEEZED, STILL, rng).tobytes() for _ in range(60)}
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


def test_a_run_that_names_no_list_trains_on_our_own_patches(picture: RgbImage) -> None:
    config = config_of("ours")
    ours = random_patch(picture, SQUEEZED, config.augmentation, np.random.default_rng(5))
    assert np.array_equal(training_patch(picture, SQUEEZED, config, np.random.default_rng(5)), ours)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("policy", [SQUEEZED, PATCHES], ids=["resize", "patches"])
def test_a_published_list_gives_patches_of_the_input_side(
    picture: RgbImage, name: PublishedName, policy: InputPolicy
) -> None:
    rng = np.random.default_rng(1)
    read_only = picture.copy()
    read_only.flags.writeable = False
    for _ in range(10):
        patch = training_patch(read_only, policy, config_of(name, policy), rng)
        assert patch.shape == (policy.input_side, policy.input_side, 3)
        assert patch.dtype == np.uint8
        assert patch.flags.c_contiguous
    assert np.array_equal(read_only, picture)


@pytest.mark.parametrize("name", ["ours", *PUBLISHED])
def test_the_same_state_gives_the_same_patches_whatever_was_made_before(picture: RgbImage, name: str) -> None:
    config, first = config_of(name, PATCHES), np.random.default_rng(8)
    patches = [training_patch(picture, PATCHES, config, first) for _ in range(12)]
    training_patch(picture, PATCHES, config, np.random.default_rng(99))
    second = np.random.default_rng(8)
    again = [training_patch(picture, PATCHES, config, second) for _ in range(12)]
    assert all(np.array_equal(one, other) for one, other in zip(patches, again, strict=True))
    assert first.bit_generator.state == second.bit_generator.state
    assert len({patch.tobytes() for patch in patches}) == 12


def test_only_the_list_none_leaves_a_squeezed_image_as_it_is(picture: RgbImage) -> None:
    plain = cut_patches(picture, [(0, 0, 80, 60)], 40)[0]
    unchanged = {
        name
        for name in PUBLISHED
        if all(
            np.array_equal(training_patch(picture, SQUEEZED, config_of(name), np.random.default_rng(seed)), plain)
            for seed in range(8)
        )
    }
    assert unchanged == {"none"}


def test_patches_are_cut_all_over_the_image(smooth: RgbImage) -> None:
    rng, config = np.random.default_rng(2), config_of("none", PATCHES)
    corners = np.array([training_patch(smooth, PATCHES, config, rng)[0, 0, :2] for _ in range(300)])
    tops, lefts = corners[:, 0] / 4, corners[:, 1] / 3
    assert tops.min() < 2
    assert tops.max() > 28  # of 60 - 30
    assert lefts.min() < 2
    assert lefts.max() > 47  # of 80 - 30


def test_a_patch_is_mirrored_and_upended_independently(smooth: RgbImage) -> None:
    # The library's own set_random_seed gives every step one seed, and then it is both or neither.
    upright = np.ascontiguousarray(smooth[:40, :40])
    mirrored_and_upended = [0, 0]
    seen = set()
    rng = np.random.default_rng(4)
    for _ in range(200):
        patch = published_patch(upright, "vgg16", 40, rng).astype(int)
        down, right = patch[30, 20, 0] > patch[10, 20, 0], patch[20, 30, 1] > patch[20, 10, 1]
        seen.add((bool(down), bool(right)))
        mirrored_and_upended[0] += not right
        mirrored_and_upended[1] += not down
    assert len(seen) == 4
    assert all(70 < count < 130 for count in mirrored_and_upended)


def test_two_threads_do_not_disturb_each_other(picture: RgbImage) -> None:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    def patches_of(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        return b"".join(published_patch(picture, "efficientnet", 24, rng).tobytes() for _ in range(40))

    alone = [patches_of(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(patches_of, range(4))) == alone


@pytest.mark.parametrize("name", CHANGING)
def test_a_list_changes_what_its_numbers_say(name: PublishedName) -> None:
    how = published_list(name)
    grey = np.full((60, 60, 3), (150, 120, 170), dtype=np.uint8)
    rng = np.random.default_rng(6)
    colours = np.array([np.median(published_patch(grey, name, 40, rng), axis=(0, 1)) for _ in range(60)])
    jitter = bool(how.brightness or how.contrast or how.saturation or how.hue)
    assert (colours.std(axis=0).max() > 1) == jitter
    assert np.abs(colours.mean(axis=0) - (150, 120, 170)).max() < 12


def test_the_hybrids_erasing_leaves_the_mean_colour_of_imagenet() -> None:
    rng = np.random.default_rng(7)
    white = np.full((60, 60, 3), 255, dtype=np.uint8)
    erased = [(published_patch(white, "hybrid", 56, rng) == (124, 116, 104)).all(axis=2).mean() for _ in range(200)]
    hit = [share for share in erased if share > 0]
    assert 0.1 < len(hit) / 200 < 0.3
    assert max(hit) < 0.13


@pytest.mark.parametrize(("spare", "least_area", "blur"), [(0.9, 1, 0), (1, 0, 0), (1, 1, 1.2)])
def test_a_list_that_cannot_be_carried_out_is_refused(spare: float, least_area: float, blur: float) -> None:
    with pytest.raises(ValueError, match="spare must be at least 1"):
        PublishedList(spare=spare, least_area=least_area, blur=blur)


def test_a_patch_at_its_side_is_enlarged_or_shrunk_to_the_input() -> None:
    board = np.kron(np.eye(8, dtype=np.uint8), np.full((8, 8), 255, dtype=np.uint8))
    patch: RgbImage = np.repeat(board[..., None], 3, axis=2)
    rng = np.random.default_rng(0)
    assert published_patch(patch, "none", 32, rng).mean() == pytest.approx(patch.mean(), abs=1)
    assert np.array_equal(published_patch(patch, "none", 64, rng), patch)
