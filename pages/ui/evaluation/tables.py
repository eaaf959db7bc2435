"""Draw the tables below an evaluation: published results, the ablation, all figures, and the images left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st

from core.labels import BREAKHIS, MAGNIFICATIONS
from core.statistics.evaluation import AblationRow, Evaluation, Figure
from core.statistics.published import HUMAN_REFERENCE, PUBLISHED, Published, PublishedFigure
from core.wording import count_words, interval_words
from pages.ui import csv_tables, downloads, formatting, resources
from pages.ui.evaluation.charts import model_words
from pages.ui.evaluation.choices import StoredEvaluation
from service.visible_evaluations import VisibleEvaluations

_LEAKS_LAST = (False, None, True)
_VALIDATION = "validation"
_LEAKS = {True: "✗ leaks", False: "✓ no leak found", None: "? unknown"}


@dataclass(frozen=True, slots=True)
class _Line:
    """One published figure, and why it cannot be compared with ours ("" if it can)."""

    row: Published
    figure: PublishedFigure
    problem: str


def draw_published(chosen: Sequence[StoredEvaluation]) -> None:
    """Draw published results on this dataset beside ours, grouped by whether patients leaked, each with its protocol.

    Only figures of the same task on the same images are shown, the rest on request.
    """
    evaluations = [stored.evaluation for stored in chosen]
    dataset = evaluations[0].dataset
    lines = _list_published([one for one in evaluations if one.dataset == dataset])
    st.markdown("##### Comparison with published results")
    if not lines:
        st.markdown("No published results are listed for this dataset.")
        return
    comparable = [line for line in lines if not line.problem]
    if not comparable:
        st.markdown("No published result was measured on the same task and the same images.")
    rest = count_words(len(lines) - len(comparable), "figure")
    shows_all = len(comparable) < len(lines) and st.toggle(
        f"Also show {rest} that cannot be compared", key="published-all", persist_state="session"
    )
    if shows_all or comparable:
        _draw_published_table(lines if shows_all else comparable, evaluations, dataset)
    for one in evaluations:
        st.caption(
            formatting.escape(
                f"{model_words(one)}: {one.images:,} images of {one.patients:,} patients of {one.dataset}; "
                f"{one.protocol}"
            )
        )
    people = ", ".join(f"{_published_words(figure)} {figure.of}".strip() for figure in HUMAN_REFERENCE.figures)
    st.caption(f"Human performance: {people} ({HUMAN_REFERENCE.system}: {HUMAN_REFERENCE.protocol}).")


def _list_published(evaluations: Sequence[Evaluation]) -> list[_Line]:
    """List the figures published on the dataset of our evaluations, those without leaks first, then by protocol."""
    dataset = evaluations[0].dataset.casefold()
    rows = [row for row in PUBLISHED if row.dataset.casefold() == dataset]
    rows.sort(key=lambda row: (_LEAKS_LAST.index(row.leaks), row.protocol.casefold()))
    return [_Line(row, figure, _find_problem(row, figure, evaluations)) for row in rows for figure in row.figures]


def _find_problem(row: Published, figure: PublishedFigure, evaluations: Sequence[Evaluation]) -> str:
    """Return why none of our evaluations can be compared with a published figure, or ""."""
    if figure.of == _VALIDATION:
        return "measured on validation images"
    if row.of_subtypes and not any(one.label_set.classes == BREAKHIS.classes for one in evaluations):
        return "another task: eight subtypes"
    if not any(_our_figure(one, figure) for one in evaluations):
        return "not measured here"
    if figure.of or row.dataset != "BreaKHis" or any(_has_all_magnifications(one) for one in evaluations):
        return ""
    return "measured on images of all magnifications"


def _has_all_magnifications(evaluation: Evaluation) -> bool:
    return {group.name for group in evaluation.groups if group.kind == "magnification"} >= set(MAGNIFICATIONS)


def _draw_published_table(lines: Sequence[_Line], evaluations: Sequence[Evaluation], dataset: str) -> None:
    first = [at == 0 or line.row is not lines[at - 1].row for at, line in enumerate(lines)]
    opens = [at == 0 or line.row.leaks is not lines[at - 1].row.leaks for at, line in enumerate(lines)]
    ours = {
        formatting.escape(model_words(one)): [_our_words(one, line.figure) for line in lines]
        for one in evaluations
        if one.dataset == dataset
    }
    problems = {"Not comparable": [line.problem for line in lines]} if any(line.problem for line in lines) else {}
    st.table(
        {
            "Patients": [
                f"**{_LEAKS[line.row.leaks]}**" if begins else "" for line, begins in zip(lines, opens, strict=True)
            ],
            "System": [line.row.system if begins else "" for line, begins in zip(lines, first, strict=True)],
            "Figure": [f"{one.figure.name}{f', {one.figure.of}' if one.figure.of else ''}" for one in lines],
            "Published": [_published_words(line.figure) for line in lines],
            **ours,
            "Published protocol": [
                line.row.protocol if begins else "" for line, begins in zip(lines, first, strict=True)
            ],
            "Patient leak": [
                _leak_words(line.row) if begins else "" for line, begins in zip(lines, first, strict=True)
            ],
            **problems,
        },
        hide_index=True,
        border="horizontal",
    )


def _our_figure(evaluation: Evaluation, figure: PublishedFigure) -> Figure | None:
    """Return our figure of the same name, on the same magnification where one is named."""
    if figure.of in MAGNIFICATIONS:
        group = next((g for g in evaluation.groups if (g.kind, g.name) == ("magnification", figure.of)), None)
        return next((f for f in group.figures if f.name == figure.name), None) if group else None
    return evaluation.figure(figure.name) or evaluation.figure(figure.name, "patient")


def _our_words(evaluation: Evaluation, figure: PublishedFigure) -> str:
    return formatting.escape(interval_words(_our_figure(evaluation, figure)))


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
            if stored.hidden is not None and stored.hidden.positions:
                st.markdown("Not shown: it was measured on all images, including those left out for you.")
            else:
                _draw_ablation(evaluation)
        with st.expander(f"All {len(evaluation.figures)} figures{name}"):
            _draw_all_figures(evaluation)
        with st.expander(f"{count_words(len(evaluation.excluded), 'image')} left out, and all warnings in full{name}"):
            _draw_left_out(evaluation)


def _draw_ablation(evaluation: Evaluation) -> None:
    """Draw the effect of views, stain and quality control on the same images."""
    if not evaluation.ablation:
        st.markdown("Not measured. Run `python -m training.evaluate` with `--ablation`.")
        return
    st.table(
        {
            "Views": [formatting.escape(row.views) for row in evaluation.ablation],
            "Stain": [formatting.escape(row.stain) for row in evaluation.ablation],
            "Quality control": ["on" if row.quality_control else "off" for row in evaluation.ablation],
            "Images": [f"{row.images:,}" for row in evaluation.ablation],
            "AUC": [formatting.escape(interval_words(row.auc)) for row in evaluation.ablation],
            "Paired change": [_change_words(row) for row in evaluation.ablation],
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
            "Figure": [figure.name for figure in evaluation.figures],
            "Of": [f"{figure.n:,} {figure.unit}s" for figure in evaluation.figures],
            "Value [95% interval]": [interval_words(figure) for figure in evaluation.figures],
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
    st.dataframe({"Image and reason": [image.words for image in evaluation.excluded]}, hide_index=True)


def draw_exports(chosen: Sequence[StoredEvaluation]) -> None:
    """Offer the figures and the predictions of all images as tables."""
    with st.container(horizontal=True, gap="small"):
        for stored in chosen:
            name = f" of {formatting.escape(model_words(stored.evaluation))}" if len(chosen) > 1 else ""
            downloads.draw_download(
                f"Figures{name}",
                f"figures of evaluation {stored.row.id}",
                csv_tables.figures_csv(stored.evaluation),
                key=f"{stored.key}-figures",
            )
            downloads.draw_lazy_download(
                f"Predictions{name}",
                f"predictions of evaluation {stored.row.id}",
                partial(_predictions, stored, resources.evaluations()),
                f"predictions-{stored.row.id}-{stored.evaluation.model_version}.csv",
                key=f"{stored.key}-predictions",
            )
        st.caption("Each chart has a camera button that saves it as a PNG.")


def _predictions(stored: StoredEvaluation, evaluations: VisibleEvaluations) -> csv_tables.TableFile:
    images = evaluations.all_images(stored.row)
    return csv_tables.predictions_csv(stored.images(images), stored.evaluation.label_set.classes)
