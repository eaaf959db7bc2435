"""The tables below an evaluation: the published rows beside ours, the ablation, every figure, what was left out."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.labels import MAGNIFICATIONS
from core.statistics.evaluation import AblationRow, Evaluation
from core.statistics.published import HUMAN_REFERENCE, PUBLISHED, Published, PublishedFigure
from db import store
from pages.ui import csv_tables, downloads, formatting, resources
from pages.ui.evaluation.charts import figure_words, model_words
from pages.ui.evaluation.choices import Stored

_LEAKS = {True: "✗ leaks", False: "✓ no leak found", None: "? cannot be told"}


def exports(chosen: Sequence[Stored]) -> None:
    """Offer the figures and the prediction of every image as CSV files."""
    with st.container(horizontal=True, gap="small"):
        for stored in chosen:
            name = f" of {formatting.plain(model_words(stored.found))}" if len(chosen) > 1 else ""
            downloads.offer(
                f"Figures{name} as CSV",
                f"figures of evaluation {stored.row.id}",
                csv_tables.figures_csv(stored.found),
                key=f"{stored.key}-figures",
            )
            downloads.offer_made(
                f"Predictions{name} as CSV",
                f"predictions of evaluation {stored.row.id}",
                partial(_predictions, stored),
                f"predictions-{stored.row.id}-{stored.found.model_version}.csv",
                key=f"{stored.key}-predictions",
            )
        st.caption("Each chart has a camera button that saves it as a PNG.")


def published(chosen: Sequence[Stored]) -> None:
    """Draw what was published on this dataset beside ours, each with its protocol and whether patients leaked."""
    found = [stored.found for stored in chosen]
    rows = [row for row in PUBLISHED if row.dataset.casefold() == found[0].dataset.casefold()]
    st.markdown("##### Beside published results")
    if not rows:
        st.markdown("No published row is kept for this dataset.")
        return
    lines = [(row, figure) for row in rows for figure in row.figures]
    ours = {
        formatting.plain(model_words(one)): [_ours(one, figure) for _, figure in lines]
        for one in found
        if one.dataset == found[0].dataset
    }
    st.table(
        {
            "published": [_once(row, figure) for row, figure in lines],
            "figure": [f"{figure.name}{f', {figure.of}' if figure.of else ''}" for _, figure in lines],
            "theirs": [_theirs(figure) for _, figure in lines],
            **ours,
            "their protocol": [row.protocol if figure is row.figures[0] else "" for row, figure in lines],
            "their leak": [_leak(row) if figure is row.figures[0] else "" for row, figure in lines],
        },
        hide_index=True,
        border="horizontal",
    )
    for one in found:
        st.caption(
            formatting.plain(
                f"{model_words(one)}: {one.images:,} images of {one.patients:,} patients of {one.dataset}; "
                f"{one.protocol}"
            )
        )
    people = ", ".join(f"{_theirs(figure)} {figure.of}".strip() for figure in HUMAN_REFERENCE.figures)
    st.caption(f"What people reach: {people} ({HUMAN_REFERENCE.system}: {HUMAN_REFERENCE.protocol}).")


def ablation(found: Evaluation) -> None:
    """Draw what views, stain and quality control change, on the same images."""
    if not found.ablation:
        st.markdown("Not measured. Add `--ablation` to python -m training.evaluate.")
        return
    st.table(
        {
            "views": [row.views for row in found.ablation],
            "stain": [row.stain for row in found.ablation],
            "quality control": ["on" if row.quality_control else "off" for row in found.ablation],
            "images": [f"{row.images:,}" for row in found.ablation],
            "AUC": [formatting.plain(figure_words(row.auc)) for row in found.ablation],
            "paired change": [_change(row) for row in found.ablation],
        },
        hide_index=True,
        border="horizontal",
    )


def every_figure(found: Evaluation) -> None:
    """List all figures with their intervals."""
    st.dataframe(
        {
            "figure": [figure.name for figure in found.figures],
            "of": [f"{figure.n:,} {figure.unit}s" for figure in found.figures],
            "value [95 % interval]": [figure_words(figure) for figure in found.figures],
        },
        hide_index=True,
    )


def left_out(found: Evaluation) -> None:
    """List the images without a prediction, each with its reason, and every warning in full."""
    for warning in found.warnings:
        st.markdown(f"- {formatting.plain(' '.join(warning.words.split()))}")
    if not found.excluded:
        st.markdown("Every image has a prediction.")
        return
    st.dataframe({"image and reason": [image.words for image in found.excluded]}, hide_index=True)


def details(chosen: Sequence[Stored]) -> None:
    """Draw the tables that are looked at less often, folded."""
    for stored in chosen:
        name = f" – {formatting.plain(model_words(stored.found))}" if len(chosen) > 1 else ""
        found = stored.found
        with st.expander(f"Views, stain and quality control: the ablation{name}"):
            ablation(found)
        with st.expander(f"All {len(found.figures)} figures{name}"):
            every_figure(found)
        with st.expander(f"{len(found.excluded):,} images left out, and all warnings in full{name}"):
            left_out(found)


def _predictions(stored: Stored) -> bytes:
    with resources.sessions().read() as session:
        images = store.evaluations.evaluated_images(session, stored.row.id, limit=max(1, stored.row.images))
    return csv_tables.predictions_csv(stored.images(images), stored.found.label_set.classes).data


def _ours(found: Evaluation, published: PublishedFigure) -> str:
    """Give our figure of the same name, on the same magnification where one is named."""
    if published.of in MAGNIFICATIONS:
        group = next((g for g in found.groups if (g.kind, g.name) == ("magnification", published.of)), None)
        measured = next((f for f in group.figures if f.name == published.name), None) if group else None
        return formatting.plain(figure_words(measured))
    return formatting.plain(figure_words(found.figure(published.name) or found.figure(published.name, "patient")))


def _once(row: Published, figure: PublishedFigure) -> str:
    return row.system if figure is row.figures[0] else ""


def _theirs(figure: PublishedFigure) -> str:
    return f"{figure.value:.3f}{f' ± {figure.spread:.3f}' if figure.spread is not None else ''}"


def _leak(row: Published) -> str:
    return f"{_LEAKS[row.leaks]}: {row.reason}"


def _change(row: AblationRow) -> str:
    if row.change is None:
        return "the card's own way"
    interval = (
        "" if row.change.low is None or row.change.high is None else f" [{row.change.low:+.3f}, {row.change.high:+.3f}]"
    )
    return formatting.plain(f"{row.change.value:+.3f}{interval}")
