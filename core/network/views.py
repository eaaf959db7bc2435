"""The eight symmetries of a square: apply one to a patch, and undo it on a map."""

from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor

ViewSet = Literal["one", "four", "seven", "eight"]


@dataclass(frozen=True, slots=True)
class View:
    """A patch, optionally mirrored left to right, then rotated by quarter turns anticlockwise."""

    turns: int = 0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if self.turns not in range(4):
            raise ValueError(f"a view must have 0 to 3 quarter turns, got {self.turns}")


IDENTITY = View()
ONE_VIEW = (IDENTITY,)
# Half turns and mirror images: with large patches, half the cost of all eight for nearly their mean.
FOUR_VIEWS = tuple(View(turns, mirrored) for mirrored in (False, True) for turns in (0, 2))
EIGHT_VIEWS = tuple(View(turns, mirrored) for mirrored in (False, True) for turns in range(4))

# Seven of the eight symmetries: unchanged, mirrored left to right, mirrored top to bottom, rotated by 90, 180
# and 270 degrees, and mirrored then rotated by 90 degrees. The authors of the hybrid average these seven views;
# use them only to compare with their numbers. The one left out is mirrored then rotated by 270 degrees.
SEVEN_VIEWS = (IDENTITY, View(0, True), View(2, True), View(1), View(2), View(3), View(1, True))


def get_views(name: ViewSet) -> tuple[View, ...]:
    """Return the views of a set that a card or a command names."""
    match name:
        case "one":
            return ONE_VIEW
        case "four":
            return FOUR_VIEWS
        case "seven":
            return SEVEN_VIEWS
        case "eight":
            return EIGHT_VIEWS
        case _:
            assert_never(name)


def apply_view(view: View, batch: Tensor) -> Tensor:
    """Apply a view to a batch (... x height x width); odd numbers of turns swap height and width."""
    mirrored = batch.flip(-1) if view.mirrored else batch
    return torch.rot90(mirrored, view.turns, (-2, -1))


def undo_view(view: View, maps: Tensor) -> Tensor:
    """Return maps (... x height x width) of a view to the orientation of the patch."""
    rotated = torch.rot90(maps, -view.turns, (-2, -1))
    return rotated.flip(-1) if view.mirrored else rotated
