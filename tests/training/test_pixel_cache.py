import multiprocessing
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.card import InputPolicy, StainTarget
from core.data.datasets import LabelledImage
from core.fitting.config import FitConfig, Phase
from core.fitting.pixel_cache import open_pixels
from core.imaging.decode import decode_image
from core.imaging.limits import UnreadableImageError
from core.imaging.patches import cut_patches, fit_boxes
from core.imaging.stain import make_stain_normaliser
from core.results import RgbImage
from tests.helpers.images.tissue import tissue_folder

SQUEEZED = FitConfig(
    name="tiny",
    branches=("test_efficientnet",),
    head="additive",
    input_policy=InputPolicy("resize", input_side=16),
    mean=(0.8, 0.65, 0.76),
    std=(0.13, 0.17, 0.12),
    phases=(Phase("all", epochs=1, unfrozen="all", learning_rate=1e-3),),
    cache_side=24,
)
SHRUNK = replace(
    SQUEEZED, input_policy=InputPolicy("patches", input_side=16, patch_side=40, stride=20), stain=StainTarget("macenko")
)
FULL = replace(SQUEEZED, cache_side=0, stain=StainTarget("reinhard"))


@pytest.fixture
def images(tmp_path: Path) -> list[LabelledImage]:
    return tissue_folder(tmp_path / "tissue")


def cache_files(folder: Path) -> tuple[Path, Path]:
    """Find the one file of pixels in a cache, and its index."""
    (pixels,), (index,) = folder.glob("*.bin"), folder.glob("*.jsonl")
    return pixels, index


def same(some: Sequence[RgbImage], others: Sequence[RgbImage]) -> bool:
    return len(some) == len(others) and all(np.array_equal(one, two) for one, two in zip(some, others, strict=True))


def how_many_are_made(images: Sequence[LabelledImage], config: FitConfig, folder: Path) -> int:
    """Open the cache and count the images it did not have ready; check what it gives."""
    steps: list[tuple[int, int]] = []
    opened = open_pixels(images, config, folder, lambda ready, total: steps.append((ready, total)))
    assert steps[-1] == (len(images), len(images))
    assert same(opened.images, open_pixels(images, config, None).images)
    return len(images) - steps[0][0]


@pytest.mark.parametrize("config", [SQUEEZED, SHRUNK, FULL], ids=["squeezed", "shrunk", "full"])
def test_mapped_and_plain_pixels_are_the_same_and_cannot_be_written_to(
    images: list[LabelledImage], config: FitConfig, tmp_path: Path
) -> None:
    plain, mapped = open_pixels(images, config, None), open_pixels(images, config, tmp_path / "cache")
    again = open_pixels(images, config, tmp_path / "cache")
    assert plain.policy == mapped.policy
    assert same(plain.images, mapped.images)
    assert same(plain.images, again.images)
    for image in (*plain.images, *again.images):
        with pytest.raises(ValueError, match="read-only"):
            image[0, 0, 0] = 1


def test_full_size_pixels_are_those_that_serving_sees(images: list[LabelledImage]) -> None:
    opened = open_pixels(images, FULL, None)
    served = [make_stain_normaliser(FULL.stain)(decode_image(image.path.read_bytes()).pixels) for image in images]
    assert same(opened.images, served)
    assert opened.policy == FULL.input_policy


def test_a_squeezed_image_has_the_cache_side_and_is_never_enlarged(images: list[LabelledImage]) -> None:
    assert {image.shape for image in open_pixels(images, SQUEEZED, None).images} == {(24, 24, 3)}
    wide = open_pixels(images, replace(SQUEEZED, cache_side=50), None)  # of 48 x 56 px
    assert {image.shape for image in wide.images} == {(48, 50, 3)}


def test_a_patch_has_the_cache_side_and_shows_the_same_tissue(images: list[LabelledImage]) -> None:
    full = open_pixels(images, replace(SHRUNK, cache_side=0), None)
    small = open_pixels(images, replace(SHRUNK, cache_side=20), None)
    assert small.policy == InputPolicy("patches", input_side=16, patch_side=20, stride=10)
    boxes = [fit_boxes(len(opened.images[0]), len(opened.images[0][0]), opened.policy) for opened in (full, small)]
    assert len(boxes[0]) == len(boxes[1])
    pairs = zip(
        *(cut_patches(opened.images[0], some, 8) for opened, some in zip((full, small), boxes, strict=True)),
        strict=True,
    )
    assert all(np.abs(one.astype(int) - other).mean() < 6 for one, other in pairs)
    assert open_pixels(images, replace(SHRUNK, cache_side=99), None).policy == SHRUNK.input_policy


def test_patches_smaller_than_the_network_wants_are_refused(images: list[LabelledImage]) -> None:
    with pytest.raises(ValueError, match="cache_side 15 is smaller than the input side 16"):
        open_pixels(images, replace(SQUEEZED, cache_side=15), None)
    assert open_pixels(images, replace(SQUEEZED, cache_side=16), None).images[0].shape == (16, 16, 3)


def test_each_image_is_made_once_for_each_recipe(images: list[LabelledImage], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert how_many_are_made(images[:5], SQUEEZED, cache) == 5
    assert how_many_are_made(images, SQUEEZED, cache) == 3
    assert how_many_are_made(list(reversed(images)), SQUEEZED, cache) == 0
    stained = replace(SQUEEZED, stain=StainTarget("reinhard"))
    assert how_many_are_made(images, stained, cache) == 8
    assert how_many_are_made(images, replace(SQUEEZED, cache_side=30), cache) == 8
    assert how_many_are_made(images, replace(SQUEEZED, batch_size=5, seed=3), cache) == 0
    assert len(list(cache.glob("*.bin"))) == 3


def test_an_unchanged_file_is_not_even_read(images: list[LabelledImage], tmp_path: Path) -> None:
    before = open_pixels(images, SQUEEZED, tmp_path / "cache").images
    looked = images[0].path.stat()
    images[0].path.write_bytes(bytes(looked.st_size))  # no image at all, but of the same size and time
    os.utime(images[0].path, ns=(looked.st_atime_ns, looked.st_mtime_ns))
    assert same(open_pixels(images, SQUEEZED, tmp_path / "cache").images, before)


def test_a_changed_file_is_made_again_and_the_others_are_not(images: list[LabelledImage], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    old = open_pixels(images, SQUEEZED, cache).images
    cv2.imwrite(str(images[2].path), np.full((50, 60, 3), 77, np.uint8))
    assert how_many_are_made(images, SQUEEZED, cache) == 1
    new = open_pixels(images, SQUEEZED, cache).images
    assert [np.array_equal(one, other) for one, other in zip(old, new, strict=True)] == [True] * 2 + [False] + [
        True
    ] * 5
    assert int(new[2].max()) == 77


def test_a_touched_a_moved_and_a_copied_file_keep_their_pixels(images: list[LabelledImage], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    open_pixels(images, SQUEEZED, cache)
    pixels, index = cache_files(cache)
    size = pixels.stat().st_size
    os.utime(images[0].path, ns=(1, 1))
    moved = replace(images[1], path=images[1].path.rename(tmp_path / "moved.png"))
    copied = replace(images[2], path=Path(shutil.copy(images[2].path, tmp_path / "copied.png")))
    changed = [images[0], moved, copied, *images[3:]]
    assert how_many_are_made(changed, SQUEEZED, cache) == 3
    assert pixels.stat().st_size == size
    assert len(index.read_bytes().splitlines()) == 11
    assert how_many_are_made(changed, SQUEEZED, cache) == 0


def test_copies_among_new_files_are_kept_once(images: list[LabelledImage], tmp_path: Path) -> None:
    copied = replace(images[0], path=Path(shutil.copy(images[0].path, tmp_path / "copied.png")))
    opened = open_pixels([images[0], copied, images[0]], SQUEEZED, tmp_path / "cache")
    assert same(opened.images, [opened.images[0]] * 3)
    assert cache_files(tmp_path / "cache")[0].stat().st_size == 24 * 24 * 3


@pytest.mark.parametrize("torn", [1, 30, -1])
def test_a_torn_last_line_costs_one_image(images: list[LabelledImage], tmp_path: Path, torn: int) -> None:
    cache = tmp_path / "cache"
    open_pixels(images, SQUEEZED, cache)
    _, index = cache_files(cache)
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join(lines[:-1]) + lines[-1][:torn])
    assert how_many_are_made(images, SQUEEZED, cache) == 1
    assert how_many_are_made(images, SQUEEZED, cache) == 0


def test_a_damaged_line_and_pixels_without_a_line_do_no_harm(images: list[LabelledImage], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    open_pixels(images, SQUEEZED, cache)
    pixels, index = cache_files(cache)
    lines = index.read_bytes().splitlines(keepends=True)
    index.write_bytes(b"".join([lines[0], b'{"path": 3}\n', *lines[2:]]))
    with pixels.open("ab") as file:
        file.write(bytes(1000))
    assert how_many_are_made(images, SQUEEZED, cache) == 1


@pytest.mark.parametrize("left", [None, 0, 5000])
def test_lost_pixels_are_made_again(images: list[LabelledImage], tmp_path: Path, left: int | None) -> None:
    cache = tmp_path / "cache"
    open_pixels(images, SQUEEZED, cache)
    pixels, _ = cache_files(cache)
    if left is None:
        pixels.unlink()
    else:
        os.truncate(pixels, left)
    # First a few others: their pixels must not be taken for those that lay there before.
    assert how_many_are_made(images[4:], SQUEEZED, cache) == 4
    assert how_many_are_made(images, SQUEEZED, cache) == 4


def test_an_open_map_keeps_its_pixels_while_the_file_grows(images: list[LabelledImage], tmp_path: Path) -> None:
    opened = open_pixels(images[:4], SQUEEZED, tmp_path / "cache").images
    before = [image.copy() for image in opened]
    open_pixels(images, SQUEEZED, tmp_path / "cache")
    assert same(opened, before)


def test_an_unreadable_file_is_named_and_what_was_made_before_is_kept(
    images: list[LabelledImage], tmp_path: Path
) -> None:
    images[7].path.write_bytes(b"GIF89a")
    for folder in (None, tmp_path / "cache"):
        with pytest.raises(UnreadableImageError, match=rf"{images[7].path.name}: this is a GIF"):
            open_pixels(images, SQUEEZED, folder)
    assert how_many_are_made(images[:7], SQUEEZED, tmp_path / "cache") == 7


def test_no_images_are_no_pixels(tmp_path: Path) -> None:
    assert open_pixels([], SQUEEZED, tmp_path / "cache").images == ()
    assert open_pixels([], SQUEEZED, None).images == ()


def _open_in_child(images: Sequence[LabelledImage], folder: Path, results: "multiprocessing.Queue[int]") -> None:
    results.put(how_many_are_made(images, SQUEEZED, folder))


def test_two_processes_at_once_make_each_image_once(images: list[LabelledImage], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    shares = (images[:6], images[2:], images)
    children = [spawn.Process(target=_open_in_child, args=(share, cache, results)) for share in shares]
    for child in children:
        child.start()
    made = [results.get(timeout=60) for _ in children]
    for child in children:
        child.join(timeout=60)
    assert [child.exitcode for child in children] == [0] * 3
    assert sum(made) == 8
    assert cache_files(cache)[0].stat().st_size == 8 * 24 * 24 * 3
