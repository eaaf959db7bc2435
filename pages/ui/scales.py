"""Asking for the scale of images, and writing where it comes from."""

import re
from collections.abc import Mapping, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.imaging.scale import Scale
from db import store
from db.errors import CaseChangedError, InStudyError
from db.values.reading import ImageRow
from db.values.scales import ChosenScale, ImageScale, Objective, write_um_per_px
from pages.ui import components, formatting, resources
from service import scales

_ALL = 0  # in place of the id of an image
_TYPED = re.compile(r"(\d+(?:[.,]\d+)?|[.,]\d+)\s*(?:[µμu]m)?(?:\s*(?:/|per)\s*(?:px|pixel))?", re.IGNORECASE)
_HELP = (
    "A microscope objective entered by an administrator on the Models page, or the width of a pixel in micrometres, "
    "such as 0.25."
)


def write_scale(scale: ImageScale | None) -> str:
    """Write the scale of an image and where it comes from, or that it is unknown."""
    return str(scale) if scale else "unknown"


def write_scales(images: Sequence[ImageRow]) -> str:
    """Write the scale of the images of a case in a few words."""
    known = {image.scale.um_per_px for image in images if image.scale}
    if not known:
        return "scale unknown"
    missing = sum(image.scale is None for image in images)
    span = " to ".join(f"{um_per_px:.3g}" for um_per_px in sorted({min(known), max(known)}))
    return f"{span} µm/px" + (f", {missing} unknown" if missing else "")


def ask_scale(place: DeltaGenerator, label: str, key: str, *, kept: bool = False) -> ChosenScale | None:
    """Ask for a scale: an objective of a microscope profile, or typed; None if none was given.

    Args:
        place: The container in which the field is drawn.
        label: What is asked for.
        key: Names the field among the elements of the page.
        kept: Whether the choice is kept when the reader visits another page.
    """
    offered = {_write_objective(one): one for one in _load_objectives()}
    words = place.selectbox(
        label,
        list(offered),
        index=None,
        placeholder="Objective, or µm per pixel",
        accept_new_options=True,
        help=_HELP,
        key=key,
        persist_state="session" if kept else None,
    )
    if not words:
        return None
    try:
        return _choose(words, offered)
    except ValueError as error:
        place.error(formatting.escape(f"{formatting.capitalise(str(error))}."))
        return None


def _choose(words: str, offered: Mapping[str, Objective]) -> ChosenScale:
    if words in offered:
        one = offered[words]
        return ChosenScale(Scale(one.um_per_px, "microscope"), one.id)
    typed = _TYPED.fullmatch(words.strip())
    if typed is None:
        raise ValueError(f"{words} is not the width of a pixel: type micrometres per pixel, such as 0.25")
    return ChosenScale(Scale(float(typed[1].replace(",", ".")), "typed"))


def ask_correction(images: Sequence[ImageRow], key: str) -> None:
    """Ask for the scale of one or all of some images that nobody has read, and record it."""
    names = {image.id: f"Image {image.position}: {write_scale(image.scale)}" for image in images}
    if len(images) > 1:
        names = {_ALL: f"All {len(images)} images"} | names
    of = st.selectbox("Image", list(names), format_func=names.__getitem__, key=f"{key}-image")
    chosen = ask_scale(st.container(), "Scale", f"{key}-scale")
    st.caption(
        "The scale can be corrected until somebody has read the case. The images are analysed again after each change."
    )
    if st.button("Record scale", key=f"{key}-record"):
        if chosen is None:
            st.error("Choose an objective, or type the width of a pixel.")
        elif why := record_scale([image for image in images if of in (_ALL, image.id)], chosen):
            st.error(formatting.escape(why))
        else:
            components.announce("The scale is recorded.")


def record_scale(images: Sequence[ImageRow], chosen: ChosenScale) -> str:
    """Record the scale of images; return why it was not, and nothing if it was."""
    reader, card = resources.account().id, resources.checkpoint().card
    try:
        with resources.sessions().begin() as session:
            scales.record_scale(session, reader, images, chosen, card)
    except (CaseChangedError, InStudyError, ValueError) as error:
        return f"Not recorded: {str(error).rstrip('.')}."
    return ""


def _write_objective(one: Objective) -> str:
    return f"{one.name}: {write_um_per_px(one.um_per_px)} per pixel"


def _load_objectives() -> Sequence[Objective]:
    with resources.sessions().read() as session:
        return store.scales.objectives(session, resources.account().id)
