"""What stands at the top of an evaluation, and its curves, groups and patients."""

from collections.abc import Sequence
from functools import partial
from textwrap import shorten

import streamlit as st

from core.statistics import figure_names
from core.statistics.evaluation import CurveKind, Evaluation, Figure, Group, Unit
from pages.ui import components, formatting, resources
from pages.ui.evaluation import charts, choices
from pages.ui.evaluation.charts import figure_words, model_words
from pages.ui.evaluation.choices import EVERY, Stored

_HEADLINE: tuple[tuple[str, str, Unit], ...] = (
    (figure_names.AUC, "AUC", "image"),
    (figure_names.PATIENT_RECOGNITION_RATE, "patient recognition rate", "patient"),
    (figure_names.RECALL, "sensitivity", "image"),
    (figure_names.SPECIFICITY, "specificity", "image"),
    (figure_names.CLASS_ACCURACY, "accuracy over all classes", "image"),
)
_CURVES: dict[CurveKind, str] = {
    "roc": "ROC",
    "precision_recall": "precision, recall",
    "reliability": "reliability",
    "risk_coverage": "risk, coverage",
}
_MARKS: dict[CurveKind, str] = {
    "roc": "The marker is the locked threshold; the dotted line is chance.",
    "precision_recall": "The marker is the locked threshold.",
    "reliability": "On the dotted line a probability means what it says; a larger point stands for more images.",
    "risk_coverage": "The marker, if there is one, is the locked abstention on these images.",
}
_GROUP_FIGURES = (
    figure_names.ACCURACY,
    figure_names.AUC,
    figure_names.RECALL,
    figure_names.SPECIFICITY,
    figure_names.PATIENT_RECOGNITION_RATE,
    figure_names.CLASS_ACCURACY,
)
_WORDS = {figure_names.RECALL: "sensitivity"}
_LONGEST_CAUTION = 150  # characters; the rest is told in full further down
_CUT = " … (in full below)"


def headline(chosen: Sequence[Stored]) -> None:
    """Draw the main figures of each model with their intervals, and how the two differ."""
    found = [stored.found for stored in chosen]
    wanted = [of for of in _HEADLINE if any(one.figure(of[0], of[2]) for one in found)]
    models = {"model": [f"**{formatting.plain(model_words(one))}**" for one in found]} if len(found) > 1 else {}
    with st.container(key="evaluation-headline"):
        st.table(
            models
            | {words: [_headline_words(one.figure(name, unit)) for one in found] for name, words, unit in wanted},
            hide_index=True,
            border="horizontal",
        )
    if len(chosen) > 1:
        _difference(chosen[0], chosen[1])


def notes(chosen: Sequence[Stored]) -> None:
    """Say under which protocol each was measured, and what a reviewer has to know."""
    for stored in chosen:
        found = stored.found
        name = f"{model_words(found)}: " if len(chosen) > 1 else ""
        if found.warnings or found.demonstration:
            with st.container(key=f"evaluation-cautions-{stored.row.id}"):
                st.warning(f"**! Before you believe {formatting.plain(model_words(found))}**\n{_cautions(found)}")
        locked = f"locked on {found.locked_on}" if found.locked_on else "nobody wrote down where it was locked"
        st.caption(
            formatting.plain(
                f"{name}{found.images:,} images of {found.patients:,} patients; {found.protocol}. Malignant is called "
                f"from {found.threshold:.2f}, {locked}."
            )
        )


def curves(chosen: Sequence[Stored]) -> None:
    """Draw one curve of each model."""
    kind = st.segmented_control(
        "Curve",
        list(_CURVES),
        default="roc",
        required=True,
        format_func=_CURVES.__getitem__,
        key="evaluation-curve",
        label_visibility="collapsed",
        persist_state="session",
    )
    figure = charts.curve(kind, [stored.found for stored in chosen])
    if figure is None:
        st.markdown("This curve needs benign and malignant images; here there is only one of the two.")
        return
    version = "-".join(stored.found.model_version for stored in chosen)
    st.plotly_chart(figure, config=charts.as_png(f"{kind}-{version}"), alt=f"{_CURVES[kind]} curve")
    st.caption(_MARKS[kind])
    for stored in chosen:
        if kind == "risk_coverage" and (kept := stored.found.abstention):
            st.caption(
                formatting.plain(
                    f"{model_words(stored.found)} abstains at risk {kept.risk:.0%}: it has an opinion on "
                    f"{kept.coverage:.0%} of the images and errs on {kept.error:.1%} of these ({kept.protocol})."
                )
            )


def patients(chosen: Sequence[Stored]) -> None:
    """List who holds the errors; a click on a row opens that patient's images."""
    for stored in chosen:
        groups = sorted(_groups(stored.found, "patient"), key=lambda group: (-group.wrong, group.name))
        wrong = sum(group.wrong for group in groups)
        holders = sum(group.wrong > 0 for group in groups)
        st.markdown(
            f"{formatting.plain(model_words(stored.found))}: **{wrong:,} wrong images in {holders:,} of {len(groups):,}"
            " patients.** A click on a row opens the patient's images."
        )
        key = f"{stored.key}-patients"
        st.dataframe(
            {
                "patient": [group.name for group in groups],
                "wrong": [group.wrong for group in groups],
                "of images": [group.images for group in groups],
                "share wrong": [group.wrong / group.images for group in groups],
            },
            column_config={"share wrong": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)},
            hide_index=True,
            height=components.table_height(len(groups), 420 // len(chosen)),
            on_select=partial(_patient_picked, stored, key, [group.name for group in groups]),
            selection_mode=["single-row", "single-cell"],
            key=key,
        )


def groups(chosen: Sequence[Stored]) -> None:
    """Draw the figures of every magnification and subtype with their intervals."""
    for stored in chosen:
        if len(chosen) > 1:
            st.markdown(f"**{formatting.plain(model_words(stored.found))}**")
        both = _groups(stored.found, "magnification") + _groups(stored.found, "subtype")
        figure = charts.intervals(both, figure_names.ACCURACY)
        if figure is None:
            st.markdown("Neither magnifications nor subtypes are known of these images.")
            continue
        name = f"groups-{stored.found.model_version}"
        st.caption("Images called benign or malignant rightly, with 95 % intervals (images of patients)")
        st.plotly_chart(
            figure,
            config=charts.as_png(name),
            key=f"{stored.key}-groups",
            alt="Share of rightly called images by magnification and subtype",
        )
        columns = [n for n in _GROUP_FIGURES if any(f.name == n for group in both for f in group.figures)]
        st.dataframe(
            {
                "group": [group.name.replace("_", " ") for group in both],
                "images": [group.images for group in both],
                "patients": [group.patients for group in both],
                "wrong": [group.wrong for group in both],
            }
            | {_WORDS.get(name, name): [_figure(group, name) for group in both] for name in columns},
            hide_index=True,
        )


def _headline_words(figure: Figure | None) -> str:
    value, _, interval = figure_words(figure).partition(" ")
    return f"**{value}** {formatting.plain(interval)}".replace(", ", ",\N{NO-BREAK SPACE}")


def _difference(first: Stored, second: Stored) -> None:
    paired = resources.paired(first.row, second.row)
    names = [formatting.plain(model_words(stored.found)) for stored in (first, second)]
    if paired.comparison is None:
        st.info(f"No paired difference: {formatting.plain(paired.problem)}.")
        return
    found, accuracy = paired.comparison, paired.accuracy
    alone = (
        f" The two did not judge the same images: {paired.only_first:,} were judged by {names[0]} alone and "
        f"{paired.only_second:,} by {names[1]} alone; these are left out."
        if paired.only_first or paired.only_second
        else ""
    )
    st.markdown(
        f"AUC of {names[0]} minus that of {names[1]}, on the same {found.n:,} images: **{found.difference:+.3f}**"
        f"{_bounds(found.low, found.high)}, {_p(found.p_patients)} by resampled patients ({_p(found.p_delong)} by "
        f"DeLong, which takes images of one patient for independent).{alone}"
    )
    if accuracy is not None:
        st.markdown(
            f"Accuracy of benign against malignant, each at its own locked threshold: **{accuracy.difference:+.3f}**"
            f"{_bounds(accuracy.low, accuracy.high)}, {_p(accuracy.p_patients)} by resampled patients "
            f"({_p(accuracy.p_mcnemar)} by McNemar, which takes images of one patient for independent)."
        )


def _bounds(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else formatting.plain(f" [{low:+.3f}, {high:+.3f}]")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _cautions(found: Evaluation) -> str:
    demonstration = ("a demonstration model, not to be relied on",) if found.demonstration else ()
    cautions = (*(caution.words for caution in found.warnings), *demonstration)
    short = [shorten(caution, _LONGEST_CAUTION, placeholder=_CUT) for caution in cautions]
    return "\n".join(f"- {formatting.plain(caution)}" for caution in short)


def _groups(found: Evaluation, kind: str) -> list[Group]:
    return sorted((group for group in found.groups if group.kind == kind), key=_in_order)


def _in_order(group: Group) -> tuple[int, str]:
    """Put 40X before 100X."""
    return (len(group.name) if group.kind == "magnification" else 0, group.name)


def _figure(group: Group, name: str) -> str:
    return figure_words(next((figure for figure in group.figures if figure.name == name), None))


def _patient_picked(stored: Stored, key: str, names: Sequence[str]) -> None:
    selection = st.session_state[key].selection
    picked = [*selection.rows, *(row for row, _ in selection.cells)]
    if picked:
        choices.show_images(stored, EVERY, names[picked[0]])
