"""Draw the main figures and cautions of evaluations, and their curves, patients and groups."""

from collections.abc import Sequence
from functools import partial
from textwrap import shorten

import streamlit as st

from core.statistics import figure_names
from core.statistics.evaluation import CurveKind, Evaluation, Figure, Group, Unit
from core.wording import count_words, interval_words
from pages.ui import components, formatting, resources
from pages.ui.charts import as_png
from pages.ui.evaluation import charts, choices, tried_threshold
from pages.ui.evaluation.charts import model_words
from pages.ui.evaluation.choices import EVERY, StoredEvaluation

_HEADLINE: tuple[tuple[str, str, Unit], ...] = (
    (figure_names.AUC, "AUC", "image"),
    (figure_names.PATIENT_RECOGNITION_RATE, "Patient recognition rate", "patient"),
    (figure_names.RECALL, "Sensitivity", "image"),
    (figure_names.SPECIFICITY, "Specificity", "image"),
    (figure_names.CLASS_ACCURACY, "Accuracy over all classes", "image"),
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
    "reliability": "On the dotted line, predicted and observed shares are equal; larger points stand for more images.",
    "risk_coverage": "The marker, if shown, is the locked abstention on these images.",
}
_GROUP_FIGURES = (
    figure_names.ACCURACY,
    figure_names.AUC,
    figure_names.RECALL,
    figure_names.SPECIFICITY,
    figure_names.PATIENT_RECOGNITION_RATE,
    figure_names.CLASS_ACCURACY,
)
_COLUMN_WORDS = {figure_names.RECALL: "sensitivity"}
_LONGEST_CAUTION = 150  # characters; the full text is further down the page
_CUT = " … (in full below)"
_SHIPPED = (
    "**Shipped with the model**: measured by its developers, not on this computer. The images are not included; to "
    "show them, set SECOND_READ_IMPORT_ROOT to the folder of the dataset or its parent folder."
)


def draw_headline(chosen: Sequence[StoredEvaluation]) -> None:
    """Draw the main figures of each model with their intervals, and the difference between two models."""
    evaluations = [stored.evaluation for stored in chosen]
    present = [column for column in _HEADLINE if any(one.figure(column[0], column[2]) for one in evaluations)]
    names = [f"**{formatting.escape(model_words(one))}**" for one in evaluations]
    with st.container(key="evaluation-headline"):
        st.table(
            ({"Model": names} if len(names) > 1 else {})
            | {
                words: [_headline_words(one.figure(name, unit)) for one in evaluations] for name, words, unit in present
            },
            hide_index=True,
            border="horizontal",
        )
    if len(chosen) > 1:
        _draw_difference(chosen[0], chosen[1])


def draw_notes(chosen: Sequence[StoredEvaluation]) -> None:
    """Draw the cautions of each evaluation, its protocol and its threshold."""
    if any(stored.row.shipped for stored in chosen):
        st.caption(_SHIPPED)
    for stored in chosen:
        evaluation = stored.evaluation
        name = f"{model_words(evaluation)}: " if len(chosen) > 1 else ""
        if evaluation.warnings or evaluation.demonstration:
            with st.container(key=f"evaluation-cautions-{stored.row.id}"):
                st.warning(
                    f"**! Before you rely on {formatting.escape(model_words(evaluation))}**\n"
                    f"{_caution_lines(evaluation)}"
                )
        source = (
            f", locked on {evaluation.locked_on}" if evaluation.locked_on else ". Source of the threshold not recorded"
        )
        st.caption(
            formatting.escape(
                f"{name}{evaluation.images:,} images of {evaluation.patients:,} patients; {evaluation.protocol}. "
                f"Malignant threshold {evaluation.threshold:.2f}{source}."
            )
        )


def draw_curves(chosen: Sequence[StoredEvaluation]) -> None:
    """Ask for a kind of curve, and draw it for each model."""
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
    figure = charts.draw_curve(kind, [stored.evaluation for stored in chosen])
    if figure is None:
        st.markdown("This curve needs both benign and malignant images.")
        return
    if kind == "roc":
        tried_threshold.draw_roc(chosen, _MARKS[kind])
        return
    version = "-".join(stored.evaluation.model_version for stored in chosen)
    st.plotly_chart(figure, config=as_png(f"{kind}-{version}"), alt=f"{_CURVES[kind]} curve")
    st.caption(_MARKS[kind])
    for stored in chosen:
        if kind == "risk_coverage" and (abstention := stored.evaluation.abstention):
            st.caption(
                formatting.escape(
                    f"{model_words(stored.evaluation)} abstains at a risk of {abstention.risk:.0%}: it gives an "
                    f"opinion on {abstention.coverage:.0%} of the images and is wrong on {abstention.error:.1%} "
                    f"of these ({abstention.protocol})."
                )
            )


def draw_patients(chosen: Sequence[StoredEvaluation]) -> None:
    """List the patients by number of errors; a click on a row opens that patient's images."""
    for stored in chosen:
        by_errors = sorted(_groups_of(stored.evaluation, "patient"), key=lambda group: (-group.wrong, group.name))
        wrong = sum(group.wrong for group in by_errors)
        with_errors = sum(group.wrong > 0 for group in by_errors)
        st.markdown(
            f"{formatting.escape(model_words(stored.evaluation))}: **{count_words(wrong, 'misclassified image')} in "
            f"{with_errors:,} of {len(by_errors):,} patients.** Click a row to open the patient's images."
        )
        key = f"{stored.key}-patients"
        st.dataframe(
            {
                "Patient": [group.name for group in by_errors],
                "Wrong": [group.wrong for group in by_errors],
                "Images": [group.images for group in by_errors],
                "Error rate": [group.wrong / group.images for group in by_errors],
            },
            column_config={"Error rate": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)},
            hide_index=True,
            height=components.table_height(len(by_errors), 420 // len(chosen)),
            on_select=partial(_open_patient, stored, key, [group.name for group in by_errors]),
            selection_mode=["single-row", "single-cell"],
            key=key,
        )


def draw_groups(chosen: Sequence[StoredEvaluation]) -> None:
    """Draw the figures of each magnification and subtype with their intervals."""
    for stored in chosen:
        if len(chosen) > 1:
            st.markdown(f"**{formatting.escape(model_words(stored.evaluation))}**")
        both = _groups_of(stored.evaluation, "magnification") + _groups_of(stored.evaluation, "subtype")
        figure = charts.draw_intervals(both, figure_names.ACCURACY)
        if figure is None:
            st.markdown("Neither magnification nor subtype is known for these images.")
            continue
        name = f"groups-{stored.evaluation.model_version}"
        st.caption("Accuracy of benign against malignant, with 95% intervals; in brackets: images of patients")
        st.plotly_chart(
            figure,
            config=as_png(name),
            key=f"{stored.key}-groups",
            alt="Accuracy by magnification and subtype",
        )
        columns = [n for n in _GROUP_FIGURES if any(f.name == n for group in both for f in group.figures)]
        st.dataframe(
            {
                "Group": [group.name.replace("_", " ") for group in both],
                "Images": [group.images for group in both],
                "Patients": [group.patients for group in both],
                "Wrong": [group.wrong for group in both],
            }
            | {
                formatting.capitalise(_COLUMN_WORDS.get(name, name)): [_group_figure(group, name) for group in both]
                for name in columns
            },
            hide_index=True,
        )


def _headline_words(figure: Figure | None) -> str:
    value, _, interval = interval_words(figure).partition(" ")
    return f"**{value}** {formatting.escape(interval)}".replace(", ", ",\N{NO-BREAK SPACE}")


def _draw_difference(first: StoredEvaluation, second: StoredEvaluation) -> None:
    hidden = first.hidden, second.hidden
    paired = resources.compare_pair(resources.account().id, hidden, first.row, second.row)
    names = [formatting.escape(model_words(stored.evaluation)) for stored in (first, second)]
    if paired.comparison is None:
        st.info(f"The models cannot be compared image by image: {formatting.escape(paired.problem)}.")
        return
    auc, accuracy = paired.comparison, paired.accuracy
    unpaired = (
        f" The two models were not evaluated on the same images: {paired.only_first:,} only by {names[0]} and "
        f"{paired.only_second:,} only by {names[1]}; these are left out."
        if paired.only_first or paired.only_second
        else ""
    )
    st.markdown(
        f"AUC of {names[0]} minus AUC of {names[1]}, on the same {auc.n:,} images: **{auc.difference:+.3f}**"
        f"{_bounds(auc.low, auc.high)}, {_p(auc.p_patients)} by resampling patients ({_p(auc.p_delong)} by the DeLong "
        f"test, which treats images of one patient as independent).{unpaired}"
    )
    if accuracy is not None:
        st.markdown(
            f"Accuracy of benign against malignant, each at its own locked threshold: **{accuracy.difference:+.3f}**"
            f"{_bounds(accuracy.low, accuracy.high)}, {_p(accuracy.p_patients)} by resampling patients "
            f"({_p(accuracy.p_mcnemar)} by the McNemar test, which treats images of one patient as independent)."
        )


def _bounds(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else formatting.escape(f" [{low:+.3f}, {high:+.3f}]")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _caution_lines(evaluation: Evaluation) -> str:
    demonstration = ("a demonstration model, not to be relied on",) if evaluation.demonstration else ()
    cautions = (*(caution.words for caution in evaluation.warnings), *demonstration)
    short = [shorten(caution, _LONGEST_CAUTION, placeholder=_CUT) for caution in cautions]
    return "\n".join(f"- {formatting.escape(caution)}" for caution in short)


def _groups_of(evaluation: Evaluation, kind: str) -> list[Group]:
    return sorted((group for group in evaluation.groups if group.kind == kind), key=_sort_key)


def _sort_key(group: Group) -> tuple[int, str]:
    """Return a key that sorts 40X before 100X."""
    return (len(group.name) if group.kind == "magnification" else 0, group.name)


def _group_figure(group: Group, name: str) -> str:
    return interval_words(next((figure for figure in group.figures if figure.name == name), None))


def _open_patient(stored: StoredEvaluation, key: str, names: Sequence[str]) -> None:
    selection = st.session_state[key].selection
    picked = [*selection.rows, *(row for row, _ in selection.cells)]
    if picked:
        choices.choose_images(stored, EVERY, names[picked[0]])
