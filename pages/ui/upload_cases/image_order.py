"""Put images into another order: which one moves, and to which place."""

from collections.abc import Sequence
from typing import TypeVar

import streamlit as st

_T = TypeVar("_T")


def move(images: Sequence[_T], source: int, target: int) -> list[_T]:
    """Return images with the one at place `source` moved to place `target`; 1 is the first place."""
    others = [image for place, image in enumerate(images, start=1) if place != source]
    return [*others[: target - 1], images[source - 1], *others[target - 1 :]]


def ask_move(names: Sequence[str], key: str) -> tuple[int, int] | None:
    """Ask which image moves to which place; None until the button is pressed. `names` are those of the images."""
    left, middle, right = st.columns([3, 1.2, 1.2], vertical_alignment="bottom")
    places = range(1, len(names) + 1)
    source = left.selectbox("Move image", places, format_func=lambda place: f"{place}. {names[place - 1]}", key=key)
    target = middle.number_input("to place", 1, len(names), value=1, key=f"{key}-to")
    pressed = right.button("Move", width="stretch", key=f"{key}-move", disabled=len(names) < 2)
    return (source, int(target)) if pressed and source is not None else None
