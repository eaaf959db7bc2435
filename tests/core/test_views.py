"""The eight views are the symmetries of the square, each with its way back."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.network.views import (
    EIGHT_VIEWS,
    FOUR_VIEWS,
    IDENTITY,
    ONE_VIEW,
    SEVEN_VIEWS,
    View,
    apply_view,
    get_views,
    undo_view,
)

SQUARE = torch.arange(9.0).reshape(1, 1, 3, 3)


def shown(view: View) -> tuple[float, ...]:
    return tuple(apply_view(view, SQUARE).flatten().tolist())


@given(
    view=st.sampled_from(EIGHT_VIEWS),
    channels=st.integers(1, 3),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_undo_brings_back_what_apply_showed(view: View, channels: int, height: int, width: int, seed: int) -> None:
    batch = torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(undo_view(view, apply_view(view, batch)), batch)
    assert torch.equal(apply_view(view, undo_view(view, batch)), batch)


@pytest.mark.parametrize("view", EIGHT_VIEWS)
def test_maps_without_a_channel_are_undone_alike(view: View) -> None:
    batch = torch.randn(2, 1, 5, 5)
    assert torch.equal(undo_view(view, apply_view(view, batch)[:, 0]), batch[:, 0])


def test_the_eight_views_are_distinct() -> None:
    assert len({shown(view) for view in EIGHT_VIEWS}) == 8


def test_the_eight_views_are_closed_as_a_group() -> None:
    all_shown = {shown(view) for view in EIGHT_VIEWS}
    for first, second in product(EIGHT_VIEWS, EIGHT_VIEWS):
        assert tuple(apply_view(second, apply_view(first, SQUARE)).flatten().tolist()) in all_shown


def test_the_identity_changes_nothing() -> None:
    assert torch.equal(apply_view(IDENTITY, SQUARE), SQUARE)


def test_the_seven_views_are_seven_of_the_eight() -> None:
    assert len({shown(view) for view in SEVEN_VIEWS}) == 7
    assert {shown(view) for view in SEVEN_VIEWS} <= {shown(view) for view in EIGHT_VIEWS}
    assert torch.equal(apply_view(SEVEN_VIEWS[1], SQUARE), SQUARE.flip(-1))
    assert torch.equal(apply_view(SEVEN_VIEWS[2], SQUARE), SQUARE.flip(-2))
    assert torch.equal(apply_view(SEVEN_VIEWS[3], SQUARE), torch.rot90(SQUARE, 1, (-2, -1)))


def test_the_four_views_are_half_turns_and_mirror_images() -> None:
    shown_views = [apply_view(view, SQUARE) for view in FOUR_VIEWS]
    expected = [SQUARE, SQUARE.flip(-1), SQUARE.flip(-2), torch.rot90(SQUARE, 2, (-2, -1))]
    assert len(shown_views) == 4
    assert all(any(torch.equal(one, other) for other in shown_views) for one in expected)


def test_views_are_found_by_the_name_on_a_card() -> None:
    assert get_views("four") == FOUR_VIEWS
    assert (get_views("one"), get_views("seven"), get_views("eight")) == (ONE_VIEW, SEVEN_VIEWS, EIGHT_VIEWS)


def test_a_fifth_quarter_turn_is_refused() -> None:
    with pytest.raises(ValueError, match="quarter turns"):
        View(4)
