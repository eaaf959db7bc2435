"""Ask for a comparison of two image sets, and draw it."""

from collections.abc import Sequence

import streamlit as st

from core.statistics.shift import DISCREPANCY, FRECHET, TWO_SAMPLE_AUC, Shift
from core.wording import interval_words
from db.values.evaluations import ShiftRow
from pages.ui import downloads, formatting, times
from pages.ui.charts import as_png
from pages.ui.csv_tables import statistics_csv
from pages.ui.domain_shift import charts, explanations

_COMMAND = (
    "python -m training.shift models/starter.safetensors --source breakhis=FOLDER --source-magnification 100X "
    "--target bach=FOLDER"
)
_TITLES = {
    FRECHET: "Frechet distance",
    DISCREPANCY: "Discrepancy (MMD)",
    TWO_SAMPLE_AUC: "Separability (AUC)",
}
_AUC_HELP = (
    "How well the network, with the settings of its card, ranks malignant above benign images in each set: 0.5 is "
    "guessing, 1.0 is perfect."
)


def draw_empty_page() -> None:
    """Explain how to make the first comparison."""
    st.subheader("No comparison yet")
    st.markdown("Compare two sets of images as a network sees them with the same SECOND_READ_DATA as this app:")
    st.code(_COMMAND, "bash")
    st.markdown(
        "A set is `breakhis`, `bach`, `idc`, or `folder`: a folder of your own images with a `labels.csv` or "
        "`labels.xlsx` (columns `file`, `label`, `patient_id`)."
    )


def ask_comparison(rows: Sequence[ShiftRow]) -> ShiftRow:
    """Ask which comparison to show."""
    by_id = {row.id: row for row in rows}
    chosen = st.selectbox(
        "Comparison",
        list(by_id),
        format_func=lambda number: _row_words(by_id[number]),
        key="shift",
        persist_state="session",
    )
    return by_id[chosen]


def draw_headline(shift: Shift) -> None:
    """Draw whether the two sets differ, how far, and how the AUC changes."""
    st.markdown(f"**{formatting.escape(explanations.verdict(shift))}**")
    boxes = st.columns(len(_TITLES) + 1)
    for box, (name, title) in zip(boxes, _TITLES.items(), strict=False):
        distance = shift.distance(name)
        if distance is not None:
            words = (explanations.distance_words(distance), explanations.halves_words(distance))
            with box:
                _draw_figure(title, *words, explanations.DISTANCE_HELP[name])
    with boxes[-1]:
        _draw_figure("AUC of the network", explanations.auc_words(shift), explanations.drop_words(shift), _AUC_HELP)
    st.caption(
        formatting.escape(
            f"{shift.images[0]:,} images of {shift.patients[0]:,} patients against {shift.images[1]:,} of "
            f"{shift.patients[1]:,}, as seen by {shift.model_name} {shift.model_version}"
            + (f"; {trained_on}" if (trained_on := explanations.trained_on_words(shift)) else "")
            + ("; see the cautions at the end" if shift.warnings else "")
        )
    )


def draw_cautions(shift: Shift) -> None:
    """List what a reviewer has to know before relying on this."""
    if shift.warnings:
        with st.container(key="evaluation-cautions-shift"):
            lines = "\n".join(f"- {formatting.escape(caution.words)}" for caution in shift.warnings)
            st.warning(f"**! Before you rely on this**\n{lines}")


def draw_statistics(shift: Shift, number: int) -> None:
    """Draw the statistics of the images, the most different first."""
    st.markdown("##### What differs in the images", help=_statistics_help(shift))
    if not shift.distributions:
        st.markdown("No colour, stain, sharpness or scale could be measured in both sets.")
        return
    name = f"statistics-{number}"
    figure = charts.draw_statistics(shift)
    st.plotly_chart(figure, config=as_png(name), key=name, alt="Densities of the image statistics in both sets")
    st.caption(
        f"Solid line: {formatting.escape(shift.source)}; dashed: {formatting.escape(shift.target)}. SD: standard "
        "deviation between patients of the source set. Chance is estimated by assigning patients to the sets at random."
    )
    what = f"statistics of the shift from {shift.source} to {shift.target}"
    downloads.draw_download("Statistics", what, statistics_csv(shift))


def draw_points(shift: Shift, number: int) -> None:
    """Draw the images as points in the network's feature space."""
    st.markdown(
        "##### How the network sees them",
        help="Each marker is an image. Images close together look alike to the network; two separate groups mean that "
        "it sees two kinds of image. The first two principal components are drawn.",
    )
    name = f"points-{number}"
    figure = charts.draw_points(shift)
    st.plotly_chart(figure, config=as_png(name), key=name, alt="Images as points in the network's feature space")


def draw_what_helps(shift: Shift, number: int) -> None:
    """Draw how much of the AUC each change in preparing the images recovers."""
    st.markdown("##### Effect of preparation steps", help=explanations.STEP_HELP)
    figure = charts.draw_what_helps(shift)
    if figure is None:
        st.markdown("Not measured: the target set needs at least two benign and two malignant images.")
        return
    if explanations.changes_nothing(shift):
        st.markdown("No step changes the AUC on the target set: every change is 0.00.")
    else:
        name = f"what-helps-{number}"
        st.plotly_chart(figure, config=as_png(name), key=name, alt="Change in AUC with each step")
    with st.expander("As a table"):
        st.table(
            {
                "Step": [formatting.escape(step.name) for step in shift.steps],
                "Images": [str(step.images) for step in shift.steps],
                "AUC [95%]": [formatting.escape(interval_words(step.auc)) for step in shift.steps],
                "Change [95%]": [formatting.escape(explanations.step_words(shift, step)) for step in shift.steps],
            },
            hide_index=True,
        )


def _draw_figure(title: str, value: str, below: str, explanation: str) -> None:
    with st.container(border=True, height="stretch", gap="xxsmall"):
        st.markdown(title, help=explanation)
        st.markdown(f"**{formatting.escape(value)}**")
        st.caption(formatting.escape(below))


def _statistics_help(shift: Shift) -> str:
    names = [each.name for each in charts.sort_by_difference(shift) if each.name in explanations.STATISTIC_HELP]
    return "\n".join(f"- **{name}**: {explanations.STATISTIC_HELP[name]}" for name in names)


def _row_words(row: ShiftRow) -> str:
    when = "shipped with the model" if row.shipped else times.format_date_time(row.at)
    return f"{row.source} → {row.target}, model {row.model_version}, {when}"
