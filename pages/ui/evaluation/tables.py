"""Draw the tables below an evaluation: published results, the ablation, all figures, and the images left out."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.labels import MAGNIFICATIONS
from core.statistics.evaluation import AblationRow, Evaluation
from core.statistics.published import HUMAN_REFERENCE, PUBLISHED, Published, PublishedFigure
from db import store
from pages.ui import csv_tables, downloads, formatting, resources
from pages.ui.evaluation.charts import figure_words, model_words
from pages.ui.evaluation.choices import StoredEvaluation

_LEAKS = {True: "✗ leaks", False: "✓ no leak found", None: "? unknown"}


def draw_published(chosen: Sequence[StoredEvaluation]) -> None:
    """Draw published results on this dataset beside ours, each with its protocol and whether patients leaked."""
    evaluations = [stored.evaluation for stored in chosen]
    dataset = evaluations[0].dataset
    rows = [row for row in PUBLISHED if row.dataset.casefold() == dataset.casefold()]
    st.markdown("##### Beside published results")
    if not rows:
        st.markdown("No published results are listed for this dataset.")
        return
    lines = [(row, figure) for row in rows for figure in row.figures]
    ours = {
        formatting.escape(model_words(one)): [_our_words(one, figure) for _, figure in lines]
        for one in evaluations
        if one.dataset == dataset
    }
    st.table(
        {
            "system": [row.system if figure is row.figures[0] else "" for row, figure in lines],
            "figure": [f"{figure.name}{f', {figure.of}' if figure.of else ''}" for _, figure in lines],
            "published": [_published_words(figure) for _, figure in lines],
            **ours,
            "published protocol": [row.protocol if figure is row.figures[0] else "" for row, figure in lines],
            "patient leak": [_leak_words(row) if figure is row.figures[0] else "" for row, figure in lines],
        },
        hide_index=True,
        border="horizontal",
    )
    for one in evaluations:
        st.caption(
            formatting.escape(
                f"{model_words(one)}: {one.images:,} images of {one.patients:,} patients of {one.dataset}; "
                f"{one.protocol}"
            )
        )
    people = ", ".join(f"{_published_words(figure)} {figure.of}".strip() for figure in HUMAN_REFERENCE.figures)
    st.caption(f"Human performance: {people} ({HUMAN_REFERENCE.system}: {HUMAN_REFERENCE.protocol}).")


def _our_words(evaluation: Evaluation, figure: PublishedFigure) -> str:
    """Write our figure of the same name, on the same magnification where one is named."""
    if figure.of in MAGNIFICATIONS:
        group = next((g for g in evaluation.groups if (g.kind, g.name) == ("magnification", figure.of)), None)
        measured = next((f for f in group.figures if f.name == figure.name), None) if group else None
        return formatting.escape(figure_words(measured))
    return formatting.escape(figure_words(evaluation.figure(figure.name) or evaluation.figure(figure.name, "patient")))


def _published_words(figure: PublishedFigure) -> str:
    return f"{figure.value:.3f}{f' ± {figure.spread:.3f}' if figure.spread is not None else ''}"


def _leak_words(row: Published) -> str:
    return f"{_LEAKS[row.leaks]}: {row.reason}"


def draw_details(chosen: Sequence[StoredEvaluation]) -> None:
    """Draw the less frequently needed tables, folded."""
    for stored in chosen:
        name = f" – {formatting.escape(model_words(stored.evaluation))}" if len(chosen) > 1 else ""
        evaluation = stored.evaluation
        with st.expander(f"Ablation: views, stain and quality control{name}"):
            _draw_ablation(evaluation)
        with st.expander(f"All {len(evaluation.figures)} figures{name}"):
            _draw_all_figures(evaluation)
        with st.expander(f"{len(evaluation.excluded):,} images left out, and all warnings in full{name}"):
            _draw_left_out(evaluation)


def _draw_ablation(evaluation: Evaluation) -> None:
    """Draw the effect of views, stain and quality control on the same images."""
    if not evaluation.ablation:
        st.markdown("Not measured. Run `python -m training.evaluate` with `--ablation`.")
        return
    st.table(
        {
            "views": [row.views for row in evaluation.ablation],
            "stain": [row.stain for row in evaluation.ablation],
            "quality control": ["on" if row.quality_control else "off" for row in evaluation.ablation],
            "images": [f"{row.images:,}" for row in evaluation.ablation],
            "AUC": [formatting.escape(figure_words(row.auc)) for row in evaluation.ablation],
            "paired change": [_change_words(row) for row in evaluation.ablation],
        },
        hide_index=True,
        border="horizontal",
    )


def _change_words(row: AblationRow) -> str:
    if row.change is None:
        return "settings of the card"
    interval = (
        "" if row.change.low is None or row.change.high is None else f" [{row.change.low:+.3f}, {row.change.high:+.3f}]"
    )
    return formatting.escape(f"{row.change.value:+.3f}{interval}")


def _draw_all_figures(evaluation: Evaluation) -> None:
    """List all figures with their intervals."""
    st.dataframe(
        {
            "figure": [figure.name for figure in evaluation.figures],
            "of": [f"{figure.n:,} {figure.unit}s" for figure in evaluation.figures],
            "value [95 % interval]": [figure_words(figure) for figure in evaluation.figures],
        },
        hide_index=True,
    )


def _draw_left_out(evaluation: Evaluation) -> None:
    """List all warnings in full, and the images without a prediction, each with its reason."""
    for warning in evaluation.warnings:
        st.markdown(f"- {formatting.escape(' '.join(warning.words.split()))}")
    if evaluation.notes:
        st.dataframe({"image and how its file was read": [note.words for note in evaluation.notes]}, hide_index=True)
    if not evaluation.excluded:
        st.markdown("All images have a prediction.")
        return
    st.dataframe({"image and reason": [image.words for image in evaluation.excluded]}, hide_index=True)


def draw_exports(chosen: Sequence[StoredEvaluation]) -> None:
    """Offer the figures and the predictions of all images as CSV files."""
    with st.container(horizontal=True, gap="small"):
        for stored in chosen:
            name = f" of {formatting.escape(model_words(stored.evaluation))}" if len(chosen) > 1 else ""
            downloads.draw_download(
                f"Figures{name} as CSV",
                f"figures of evaluation {stored.row.id}",
                csv_tables.figures_csv(stored.evaluation),
                key=f"{stored.key}-figures",
            )
            downloads.draw_lazy_download(
                f"Predictions{name} as CSV",
                f"predictions of evaluation {stored.row.id}",
                partial(_predictions, stored),
                f"predictions-{stored.row.id}-{stored.evaluation.model_version}.csv",
                key=f"{stored.key}-predictions",
            )
        st.caption("Each chart has a camera button that saves it as a PNG.")


def _predictions(stored: StoredEvaluation) -> bytes:
    with resources.sessions().read() as session:
        images = store.evaluations.evaluated_images(session, stored.row.id, limit=max(1, stored.row.images))
    return csv_tables.predictions_csv(stored.images(images), stored.evaluation.label_set.classes).data
