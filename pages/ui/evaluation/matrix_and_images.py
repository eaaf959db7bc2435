"""Draw the confusion matrices, and the images of the chosen cell, the most confident errors first."""

from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath

import streamlit as st

from core.labels import BINARY
from db.files import DamagedFileError
from db.values.evaluations import EvaluatedImage, EvaluationRow
from pages.ui import formatting, resources
from pages.ui.charts import as_png, text_colour
from pages.ui.evaluation import charts, choices
from pages.ui.evaluation.charts import Shows
from pages.ui.evaluation.choices import EVERY, StoredEvaluation

_SHOWS: tuple[Shows, ...] = ("counts", "row %", "patients")
_FILE_WORDS: dict[Shows, str] = {"counts": "counts", "row %": "row-percent", "patients": "patients"}
_CLICKS = "evaluation-clicks"  # session key
_IMAGES_PER_PAGE = 12
_IMAGE_WIDTH = 160  # px
_FILTER_WIDTH = 200  # px


def draw_matrices(chosen: Sequence[StoredEvaluation]) -> None:
    """Draw the confusion matrix of each chosen evaluation."""
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
        sizes = [len(stored.evaluation.label_set.classes) for stored in chosen if len(stored.evaluation.confusions) > 1]
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
        _draw_matrix(stored, shows, named=len(chosen) > 1)


def _draw_matrix(stored: StoredEvaluation, shows: Shows, *, named: bool) -> None:
    confusion, key = choices.confusion_of(stored), choices.cell_key(stored)
    size = len(confusion.classes)
    place = st.session_state.get(key, EVERY)
    if named:
        st.markdown(f"**{formatting.escape(charts.model_words(stored.evaluation))}**")
    figure = charts.draw_matrix(confusion, shows, None if place == EVERY else divmod(place, size), text_colour())
    # A new key after each click: a cell that stays selected could not be clicked again.
    chart = f"{key}-matrix-{st.session_state.get(_CLICKS, 0)}"
    st.plotly_chart(
        figure,
        key=chart,
        on_select=partial(_open_clicked_cell, stored, chart),
        selection_mode="points",
        config=as_png(f"matrix-{stored.evaluation.model_version}-{_FILE_WORDS[shows]}"),
        alt="Confusion matrix. The list below it opens the same cells.",
    )
    filled = [cell for cell in range(size**2) if confusion.counts[cell // size][cell % size] or cell == place]
    st.selectbox(
        "Images of a cell: click the cell or choose here",
        [EVERY, *filled],
        format_func=partial(choices.cell_words, confusion),
        key=key,
        on_change=partial(_open_listed_cell, stored, key),
        persist_state="session",
    )


def _open_clicked_cell(stored: StoredEvaluation, chart: str) -> None:
    points = st.session_state[chart].selection.points
    if points:
        st.session_state[_CLICKS] = st.session_state.get(_CLICKS, 0) + 1
        choices.choose_images(stored, int(points[0]["point_index"]))


def _open_listed_cell(stored: StoredEvaluation, key: str) -> None:
    choices.choose_images(stored, st.session_state[key])


@st.fragment
def draw_images(chosen: Sequence[StoredEvaluation]) -> None:
    """Ask which images to show, and draw one page of them."""
    stored = choices.evaluation_with_images(chosen)
    magnification, patient, maps = _ask_filters(stored)
    cell, evaluations = choices.cell_of(stored, patient, magnification), resources.evaluations()
    count = evaluations.count(stored.row, cell)
    place = st.session_state.get(choices.cell_key(stored), choices.EVERY)
    cell_words = choices.cell_words(choices.confusion_of(stored), place)
    filters = [word for word in (patient and f"patient {patient}", magnification) if word]
    filter_words = f", {', '.join(filters)}: {count:,} of these" if filters else ""
    model = f"{charts.model_words(stored.evaluation)}: " if len(chosen) > 1 else ""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{formatting.escape(f'{model}{cell_words}{filter_words}')}**", width="content")
        pages = max(1, -(-count // _IMAGES_PER_PAGE))
        page = st.pagination(pages, key=f"{stored.key}-{cell}-page") if pages > 1 else 1
    if not count:
        st.markdown("No images match.")
        return
    page_of_images = evaluations.images(stored.row, cell, limit=_IMAGES_PER_PAGE, offset=(page - 1) * _IMAGES_PER_PAGE)
    with st.container(horizontal=True, gap="small", key="evaluation-images"):
        for image in stored.images(page_of_images):
            with st.container(width=_IMAGE_WIDTH, gap="xsmall"):
                _draw_image(stored.row, image, binary=stored.evaluation.label_set == BINARY, maps=maps)
    st.caption(
        "The most confident errors come first. Heat maps: yellow marks the strongest evidence for malignant, blue the "
        "weakest, within each image's own range."
    )


def _ask_filters(stored: StoredEvaluation) -> tuple[str | None, str | None, bool]:
    """Ask for a magnification, a patient, and whether to draw heat maps over the images."""
    groups = stored.evaluation.groups
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        patient = st.selectbox(
            "Patient",
            [group.name for group in groups if group.kind == "patient"],
            index=None,
            placeholder="all patients",
            key=choices.patient_key(stored),
            label_visibility="collapsed",
            persist_state="session",
            width=_FILTER_WIDTH,
        )
        magnification = st.selectbox(
            "Magnification",
            [group.name for group in groups if group.kind == "magnification"],
            index=None,
            placeholder="all magnifications",
            key=f"{stored.key}-magnification",
            label_visibility="collapsed",
            persist_state="session",
            width=_FILTER_WIDTH,
        )
        maps = st.toggle("Heat maps", value=True, key="evaluation-maps", persist_state="session")
    return magnification, patient, maps


def _draw_image(row: EvaluationRow, image: EvaluatedImage, *, binary: bool, maps: bool) -> None:
    name, picture = PurePosixPath(image.name).name or image.name, None
    try:
        picture = _load_shipped(row, image.position) if row.shipped else _load_picture(image, maps=maps)
    except (DamagedFileError, ValueError) as error:
        st.markdown(f"! {formatting.escape(str(error))}")
    if picture is not None:
        st.image(picture, width=_IMAGE_WIDTH, alt=name)
    elif row.shipped:
        st.markdown("image not included")
    elif image.preview_sha256 is None:
        st.markdown("no preview stored")
    lines = [
        name,
        f"patient {image.patient_id}{f', {image.magnification}' if image.magnification else ''}",
        formatting.subtype_words(image.label),
        _prediction_words(image, binary=binary),
        f"malignant {image.malignant_probability:.3f}",
        *image.notes,
        *(["no heat map stored"] if maps and picture and image.heatmap_sha256 is None and not row.shipped else []),
    ]
    st.markdown("  \n".join(formatting.escape(line) for line in lines))


def _load_shipped(row: EvaluationRow, position: int) -> bytes | None:
    root, original = resources.settings().import_root, resources.evaluations().original(row, position)
    return resources.load_original(original, root) if root and original else None


def _load_picture(image: EvaluatedImage, *, maps: bool) -> bytes | None:
    if image.preview_sha256 is None:
        return None
    return resources.load_preview(image.preview_sha256, image.heatmap_sha256 if maps else None)


def _prediction_words(image: EvaluatedImage, *, binary: bool) -> str:
    """Write what the model predicted, and whether it is correct; with two classes, malignancy alone decides."""
    correct = image.malignant == image.called_malignant and (binary or image.label == image.predicted)
    return f"{'✓ correct' if correct else '✗ wrong'}, predicted {formatting.subtype_words(image.predicted)}"
