"""The confusion matrices; a click on a cell, or a choice in the list below, turns to its images."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from pages.ui import evaluation_charts, evaluation_choice, panels
from pages.ui.evaluation_charts import Shows
from pages.ui.evaluation_choice import EVERY, Stored

_FILE_WORDS: dict[Shows, str] = {"counts": "counts", "row %": "row-percent", "patients": "patients"}
_CLICKS = "evaluation-clicks"  # in the session
_SHOWS: tuple[Shows, ...] = ("counts", "row %", "patients")


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
    confusion, key = evaluation_choice.confusion_of(stored), evaluation_choice.cell_key(stored)
    size = len(confusion.classes)
    place = st.session_state.get(key, EVERY)
    if named:
        st.markdown(f"**{panels.plain(evaluation_charts.model_words(stored.found))}**")
    figure = evaluation_charts.matrix(confusion, shows, None if place == EVERY else divmod(place, size), _ink())
    # A new key after each click: a cell that stays selected would take no second click.
    chart = f"{key}-matrix-{st.session_state.get(_CLICKS, 0)}"
    st.plotly_chart(
        figure,
        key=chart,
        on_select=partial(_clicked, stored, chart),
        selection_mode="points",
        config=evaluation_charts.as_png(f"matrix-{stored.found.model_version}-{_FILE_WORDS[shows]}"),
        alt="Confusion matrix; the list below it opens the same cells.",
    )
    filled = [cell for cell in range(size**2) if confusion.counts[cell // size][cell % size] or cell == place]
    st.selectbox(
        "Images of a cell: click on it, or choose here",
        [EVERY, *filled],
        format_func=partial(evaluation_choice.cell_words, confusion),
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
        evaluation_choice.show_images(stored, int(points[0]["point_index"]))


def _listed(stored: Stored, key: str) -> None:
    evaluation_choice.show_images(stored, st.session_state[key])
