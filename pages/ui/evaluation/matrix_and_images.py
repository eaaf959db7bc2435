"""The confusion matrices, and the images of the chosen cell, most confidently wrong first."""

from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath

import streamlit as st

from core.labels import BINARY
from db import store
from db.files import DamagedFileError
from db.values.evaluations import EvaluatedImage
from pages.ui import formatting, resources
from pages.ui.evaluation import charts, choices
from pages.ui.evaluation.charts import Shows
from pages.ui.evaluation.choices import EVERY, Stored

_ON_A_PAGE = 12
_WIDTH = 160  # px

_FILE_WORDS: dict[Shows, str] = {"counts": "counts", "row %": "row-percent", "patients": "patients"}
_CLICKS = "evaluation-clicks"  # in the session
_SHOWS: tuple[Shows, ...] = ("counts", "row %", "patients")


@st.fragment
def images(chosen: Sequence[Stored]) -> None:
    """Draw one page of the images, with what narrows them."""
    stored = choices.shown_of(chosen)
    magnification, patient, maps = _narrowed(stored)
    cell = choices.cell_of(stored, patient, magnification)
    with resources.sessions().read() as session:
        count = store.evaluations.count_evaluated_images(session, stored.row.id, cell)
    place = st.session_state.get(choices.cell_key(stored), choices.EVERY)
    of = choices.cell_words(choices.confusion_of(stored), place)
    narrower = [word for word in (patient and f"patient {patient}", magnification) if word]
    narrowing = f", {', '.join(narrower)}: {count:,} of these" if narrower else ""
    model = f"{charts.model_words(stored.found)}: " if len(chosen) > 1 else ""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{formatting.plain(f'{model}{of}{narrowing}')}**", width="content")
        pages = max(1, -(-count // _ON_A_PAGE))
        page = st.pagination(pages, key=f"{stored.key}-{cell}-page") if pages > 1 else 1
    if not count:
        st.markdown("No image here.")
        return
    with resources.sessions().read() as session:
        offset = (page - 1) * _ON_A_PAGE
        found = store.evaluations.evaluated_images(session, stored.row.id, cell, limit=_ON_A_PAGE, offset=offset)
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
            key=choices.patient_key(stored),
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
        st.markdown(f"! {formatting.plain(str(error))}")
    if picture is not None:
        st.image(picture, width=_WIDTH, alt=name)
    elif image.preview_sha256 is None:
        st.markdown("no preview was kept")
    lines = [
        name,
        f"patient {image.patient_id}{f', {image.magnification}' if image.magnification else ''}",
        formatting.subtype_words(image.label),
        _call(image, binary=binary),
        f"malignant {image.malignant_probability:.3f}",
        *(["no map was kept"] if maps and picture and image.heatmap_sha256 is None else []),
    ]
    st.markdown("  \n".join(formatting.plain(line) for line in lines))


def _picture(image: EvaluatedImage, *, maps: bool) -> bytes | None:
    if image.preview_sha256 is None:
        return None
    return resources.preview(image.preview_sha256, image.heatmap_sha256 if maps else None)


def _call(image: EvaluatedImage, *, binary: bool) -> str:
    """Say what the model called an image, and whether rightly; of two classes the truth is known by its subtype."""
    right = image.malignant == image.called_malignant and (binary or image.label == image.predicted)
    return f"{'✓ rightly' if right else '✗ wrongly'} called {formatting.subtype_words(image.predicted)}"


def matrices(chosen: Sequence[Stored]) -> None:
    """Draw the matrix of every chosen evaluation."""
    with st.container(horizontal=True, gap="small"):
        shows = st.segmented_control(
            "In each cell",
            _SHOWS,
            default="counts",
            required=True,
            key="evaluation-shows",
            label_visibility="collapsed",
            persist_state="session",
        )
        sizes = [len(stored.found.label_set.classes) for stored in chosen if len(stored.found.confusions) > 1]
        if sizes:
            st.segmented_control(
                "Matrix of",
                ["malignancy", "classes"],
                default="malignancy",
                required=True,
                format_func=lambda kind: "benign / malignant" if kind == "malignancy" else f"{max(sizes)} classes",
                key="evaluation-classes",
                label_visibility="collapsed",
                persist_state="session",
            )
    for stored in chosen:
        _matrix(stored, shows, named=len(chosen) > 1)


def _matrix(stored: Stored, shows: Shows, *, named: bool) -> None:
    confusion, key = choices.confusion_of(stored), choices.cell_key(stored)
    size = len(confusion.classes)
    place = st.session_state.get(key, EVERY)
    if named:
        st.markdown(f"**{formatting.plain(charts.model_words(stored.found))}**")
    figure = charts.matrix(confusion, shows, None if place == EVERY else divmod(place, size), _ink())
    # A new key after each click: a cell that stays selected would take no second click.
    chart = f"{key}-matrix-{st.session_state.get(_CLICKS, 0)}"
    st.plotly_chart(
        figure,
        key=chart,
        on_select=partial(_clicked, stored, chart),
        selection_mode="points",
        config=charts.as_png(f"matrix-{stored.found.model_version}-{_FILE_WORDS[shows]}"),
        alt="Confusion matrix; the list below it opens the same cells.",
    )
    filled = [cell for cell in range(size**2) if confusion.counts[cell // size][cell % size] or cell == place]
    st.selectbox(
        "Images of a cell: click on it, or choose here",
        [EVERY, *filled],
        format_func=partial(choices.cell_words, confusion),
        key=key,
        on_change=partial(_listed, stored, key),
        persist_state="session",
    )


def _ink() -> str:
    """Give the text colour of the theme that this reader sees."""
    return str(st.get_option(f"theme.{st.context.theme.type or 'light'}.textColor"))


def _clicked(stored: Stored, chart: str) -> None:
    points = st.session_state[chart].selection.points
    if points:
        st.session_state[_CLICKS] = st.session_state.get(_CLICKS, 0) + 1
        choices.show_images(stored, int(points[0]["point_index"]))


def _listed(stored: Stored, key: str) -> None:
    choices.show_images(stored, st.session_state[key])
