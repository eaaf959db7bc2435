"""The images of the chosen cell, the most confidently wrong first, each with its heat map."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import streamlit as st

from core.labels import BINARY
from db import store
from db.evaluation_values import EvaluatedImage
from db.files import DamagedFileError
from pages.ui import evaluation_charts, evaluation_choice, panels, resources
from pages.ui.evaluation_choice import Stored

_ON_A_PAGE = 12
_WIDTH = 160  # px


@st.fragment
def images(chosen: Sequence[Stored]) -> None:
    """Draw one page of the images, with what narrows them."""
    stored = evaluation_choice.shown_of(chosen)
    magnification, patient, maps = _narrowed(stored)
    cell = evaluation_choice.cell_of(stored, patient, magnification)
    with resources.sessions().read() as session:
        count = store.count_evaluated_images(session, stored.row.id, cell)
    place = st.session_state.get(evaluation_choice.cell_key(stored), evaluation_choice.EVERY)
    of = evaluation_choice.cell_words(evaluation_choice.confusion_of(stored), place)
    narrower = [word for word in (patient and f"patient {patient}", magnification) if word]
    narrowing = f", {', '.join(narrower)}: {count:,} of these" if narrower else ""
    model = f"{evaluation_charts.model_words(stored.found)}: " if len(chosen) > 1 else ""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{panels.plain(f'{model}{of}{narrowing}')}**", width="content")
        pages = max(1, -(-count // _ON_A_PAGE))
        page = st.pagination(pages, key=f"{stored.key}-{cell}-page") if pages > 1 else 1
    if not count:
        st.markdown("No image here.")
        return
    with resources.sessions().read() as session:
        offset = (page - 1) * _ON_A_PAGE
        found = store.evaluated_images(session, stored.row.id, cell, limit=_ON_A_PAGE, offset=offset)
    with st.container(horizontal=True, gap="small", key="evaluation-images"):
        for image in stored.images(found):
            with st.container(width=_WIDTH, gap="xsmall"):
                _image(image, binary=stored.found.label_set == BINARY, maps=maps)
    st.caption(
        "The most confidently wrong come first. Maps: yellow speaks most for malignant, blue least, each over its own "
        "image's range."
    )


def _narrowed(stored: Stored) -> tuple[str | None, str | None, bool]:
    """Ask for magnification and patient, and whether maps lie over the images."""
    groups = stored.found.groups
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        patient = st.selectbox(
            "Patient",
            [group.name for group in groups if group.kind == "patient"],
            index=None,
            placeholder="every patient",
            key=evaluation_choice.patient_key(stored),
            label_visibility="collapsed",
            persist_state="session",
            width=200,
        )
        magnification = st.selectbox(
            "Magnification",
            [group.name for group in groups if group.kind == "magnification"],
            index=None,
            placeholder="every magnification",
            key=f"{stored.key}-magnification",
            label_visibility="collapsed",
            persist_state="session",
            width=200,
        )
        maps = st.toggle("Heat maps", value=True, key="evaluation-maps", persist_state="session")
    return magnification, patient, maps


def _image(image: EvaluatedImage, *, binary: bool, maps: bool) -> None:
    name, picture = PurePosixPath(image.name).name or image.name, None
    try:
        picture = _picture(image, maps=maps)
    except (DamagedFileError, ValueError) as error:
        st.markdown(f"! {panels.plain(str(error))}")
    if picture is not None:
        st.image(picture, width=_WIDTH, alt=name)
    elif image.preview_sha256 is None:
        st.markdown("no preview was kept")
    lines = [
        name,
        f"patient {image.patient_id}{f', {image.magnification}' if image.magnification else ''}",
        panels.subtype_words(image.label),
        _call(image, binary=binary),
        f"malignant {image.malignant_probability:.3f}",
        *(["no map was kept"] if maps and picture and image.heatmap_sha256 is None else []),
    ]
    st.markdown("  \n".join(panels.plain(line) for line in lines))


def _picture(image: EvaluatedImage, *, maps: bool) -> bytes | None:
    if image.preview_sha256 is None:
        return None
    return resources.preview(image.preview_sha256, image.heatmap_sha256 if maps else None)


def _call(image: EvaluatedImage, *, binary: bool) -> str:
    """Say what the model called an image, and whether rightly; of two classes the truth is known by its subtype."""
    right = image.malignant == image.called_malignant and (binary or image.label == image.predicted)
    return f"{'✓ rightly' if right else '✗ wrongly'} called {panels.subtype_words(image.predicted)}"
