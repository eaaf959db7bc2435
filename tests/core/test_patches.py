"""Patches cover the image, and their maps return to where they came from."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.card import InputPolicy
from core.imaging.patches import count_boxes, cut_patches, find_size_problem, fit_boxes, stitch
from core.results import RgbImage

sides = st.integers(1, 90)


@st.composite
def policies(draw: st.DrawFn) -> InputPolicy:
    side = draw(st.integers(1, 60))
    return InputPolicy("patches", input_side=8, patch_side=side, stride=draw(st.integers(1, side)))


def pixels(height: int, width: int) -> RgbImage:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_an_image_of_too_many_patches_is_refused_before_any_is_cut() -> None:
    policy = InputPolicy("patches", input_side=1024, patch_side=16, stride=2)
    assert count_boxes(10_000, 10_000, policy) == 4_993**2
    finding = find_size_problem(10_000, 10_000, policy)
    assert finding is not None
    assert finding.kind == "unreadable"
    assert "too much memory" in finding.message
    # Half overlapping patches of the largest image are taken.
    assert find_size_problem(10_000, 10_000, InputPolicy("patches", 224, 224, 112)) is None


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (7, 3), (16, 16), (40, 13)])
def test_boxes_are_counted_as_they_are_laid(side: int, stride: int) -> None:
    policy = InputPolicy("patches", input_side=8, patch_side=side, stride=stride)
    for height, width in ((1, 50), (39, 40), (40, 40), (41, 97), (64, 64)):
        assert count_boxes(height, width, policy) == len(fit_boxes(height, width, policy))
    assert count_boxes(40, 700, InputPolicy("resize")) == 1


@given(height=sides, width=sides, policy=policies())
def test_patches_cover_every_pixel_and_never_leave_the_image(height: int, width: int, policy: InputPolicy) -> None:
    boxes = fit_boxes(height, width, policy)
    covered = np.zeros((height, width), dtype=bool)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert right - left == bottom - top == policy.patch_side
        covered[top:bottom, left:right] = True
    assert len(set(boxes)) == len(boxes)
    assert covered.all() if min(height, width) >= policy.patch_side else not boxes


def test_the_last_row_and_column_lie_flush_with_the_edge() -> None:
    boxes = fit_boxes(460, 700, InputPolicy("patches"))
    assert sorted({top for _, top, _, _ in boxes}) == [0, 224, 236]
    assert sorted({left for left, _, _, _ in boxes}) == [0, 224, 448, 476]


def test_an_image_of_exactly_one_patch_has_one_box_and_a_pixel_less_has_none() -> None:
    assert fit_boxes(224, 224, InputPolicy("patches")) == [(0, 0, 224, 224)]
    assert fit_boxes(223, 224, InputPolicy("patches")) == []


def test_resize_takes_the_whole_image_however_small() -> None:
    assert fit_boxes(40, 700, InputPolicy("resize")) == [(0, 0, 700, 40)]
    with pytest.raises(ValueError, match="no pixels"):
        fit_boxes(0, 700, InputPolicy("resize"))


def test_a_patch_of_the_right_size_is_copied_exactly() -> None:
    image = pixels(50, 60)
    boxes = fit_boxes(50, 60, InputPolicy("patches", patch_side=16, stride=16))
    patches = cut_patches(image, boxes, 16)
    for patch, (left, top, right, bottom) in zip(patches, boxes, strict=True):
        assert np.array_equal(patch, image[top:bottom, left:right])


@pytest.mark.parametrize("side", [7, 16, 90])
def test_a_patch_of_one_colour_keeps_it_when_scaled(side: int) -> None:
    image = np.full((40, 64, 3), (200, 90, 160), dtype=np.uint8)
    patches = cut_patches(image, [(0, 0, 64, 40), (8, 8, 40, 40)], side)
    assert patches.shape == (2, side, side, 3)
    assert (patches == (200, 90, 160)).all()


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    image = np.zeros((64, 64, 3), dtype=np.uint8)
    image[::2] = 200
    assert (cut_patches(image, [(0, 0, 64, 64)], 16) == 100).all()


def test_no_boxes_give_no_patches() -> None:
    assert cut_patches(pixels(9, 9), [], 8).shape == (0, 8, 8, 3)


@given(height=sides, width=sides, policy=policies(), evidence=st.floats(-50, 50, width=32))
def test_constant_maps_stitch_to_that_constant(height: int, width: int, policy: InputPolicy, evidence: float) -> None:
    boxes = fit_boxes(height, width, policy)
    if not boxes:
        return
    heatmap = stitch(np.full((len(boxes), 5, 5), evidence, dtype=np.float32), boxes, height, width)
    assert heatmap.shape == (height, width)
    assert heatmap.dtype == np.float32
    # Exactly: a colour scale would show the smallest noise at full contrast.
    assert (heatmap == np.float32(evidence)).all()


def test_an_empty_patch_stays_cold_but_for_the_strip_in_which_the_next_one_fades() -> None:
    boxes = [(0, 0, 84, 84), (84, 0, 168, 84)]
    noise = np.random.default_rng(0).normal(0, 1e-6, (7, 7))
    heatmap = stitch(np.stack([noise, np.full((7, 7), 4.0)]).astype(np.float32), boxes, 84, 168)
    assert np.abs(heatmap[:, :78]).max() < 1e-5
    assert (np.abs(heatmap[:, 90:] - 4) < 1e-5).all()


def test_the_map_of_the_whole_image_is_only_enlarged() -> None:
    cells = np.random.default_rng(0).normal(size=(1, 7, 7)).astype(np.float32)
    heatmap = stitch(cells, [(0, 0, 90, 60)], 60, 90)
    assert np.array_equal(heatmap, cv2.resize(cells[0], (90, 60), interpolation=cv2.INTER_LINEAR))


def test_a_patch_at_the_edge_of_the_image_weighs_as_much_as_any_other() -> None:
    # The second patch begins 4 px into the first: where only the first has tissue, it counts more.
    boxes = [(0, 0, 84, 84), (4, 0, 88, 84)]
    maps = np.stack([np.full((7, 7), 1.0), np.full((7, 7), 3.0)]).astype(np.float32)
    heatmap = stitch(maps, boxes, 84, 88)
    # 6 px are continued on both sides: in the first column the weights are 6.5 and 2.5.
    assert heatmap[0, 0] == pytest.approx((6.5 * 1 + 2.5 * 3) / 9, rel=1e-5)
    assert heatmap[0, -1] == pytest.approx((2.5 * 1 + 6.5 * 3) / 9, rel=1e-5)


def test_overlapping_maps_are_averaged_by_their_distance_from_the_end_and_uncovered_pixels_are_no_evidence() -> None:
    maps = np.stack([np.full((4, 4), 1.0), np.full((4, 4), 3.0)]).astype(np.float32)
    heatmap = stitch(maps, [(0, 0, 4, 4), (2, 0, 6, 4)], 4, 8)
    assert heatmap[0].tolist() == [1, 1, 1.5, 2.5, 3, 3, 0, 0]


@pytest.mark.parametrize(("overlap", "over"), [(0, 12), (1, 13), (28, 40)])
def test_one_map_fades_into_the_next_without_a_seam(overlap: int, over: int) -> None:
    boxes = [(0, 0, 84, 84), (84 - overlap, 0, 168 - overlap, 84)]
    maps = np.stack([np.full((7, 7), 1.0), np.full((7, 7), 3.0)]).astype(np.float32)
    heatmap = stitch(maps, boxes, 84, 168 - overlap)
    assert np.allclose(heatmap, heatmap[0])
    steps = np.diff(heatmap[0])
    assert steps.min() >= 0
    assert steps.max() == pytest.approx(2 / over, rel=1e-4)
    assert heatmap[0, [0, -1]].tolist() == [1, 3]


def test_cells_of_patches_that_meet_are_joined_as_those_of_one_patch_are() -> None:
    cells = np.random.default_rng(0).normal(size=(7, 14)).astype(np.float32)
    boxes = [(0, 0, 84, 84), (84, 0, 168, 84)]
    heatmap = stitch(np.stack([cells[:, :7], cells[:, 7:]]), boxes, 84, 168)
    assert np.allclose(heatmap, cv2.resize(cells, (168, 84), interpolation=cv2.INTER_LINEAR), atol=1e-5)


def test_a_map_is_not_moved_by_its_enlargement() -> None:
    spot = np.zeros((1, 9, 9), dtype=np.float32)
    spot[0, 2, 6] = 1
    heatmap = stitch(spot, [(0, 0, 90, 90)], 90, 90)
    row, column = np.average(np.indices((90, 90)).reshape(2, -1), axis=1, weights=heatmap.ravel())
    assert (row, column) == pytest.approx((24.5, 64.5), abs=0.1)


def test_a_missing_map_is_refused() -> None:
    with pytest.raises(ValueError, match="1 maps for 2 boxes"):
        stitch(np.zeros((1, 4, 4), dtype=np.float32), [(0, 0, 4, 4), (4, 0, 8, 4)], 4, 8)
