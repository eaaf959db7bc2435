"""What the page of domain shift draws of one comparison of two image sets."""

from collections.abc import Sequence

import streamlit as st

from core.statistics.shift import DISCREPANCY, FRECHET, TOLD_APART, Shift
from db.values.evaluations import ShiftRow
from pages.ui import downloads, formatting
from pages.ui.csv_tables import statistics_csv
from pages.ui.domain_shift import charts, explanations
from pages.ui.evaluation.charts import as_png

_COMMAND = (
    "python -m training.shift models/starter.safetensors --source breakhis=FOLDER --source-magnification 100X "
    "--target bach=FOLDER"
)
_TITLES = {
    FRECHET: "Frechet distance",
    DISCREPANCY: "Discrepancy (MMD)",
    TOLD_APART: "Told apart with AUC",
}
_AUC_HELP = (
    "How well the network ranks malignant above benign images, by the way its card says, on either set: 0.5 is "
    "guessing, 1.0 is perfect."
)


def nothing_yet() -> None:
    """Say how the first comparison is made."""
    st.subheader("No comparison yet")
    st.markdown("Compare two sets of images as a network sees them, with the same SECOND_READ_DATA as this app:")
    st.code(_COMMAND, "bash")
    st.markdown(
        "A set is `breakhis`, `bach`, `idc`, or `folder`: a folder of your own images with a `labels.csv` (columns "
        "`file`, `label`, `patient_id`)."
    )


def choose(rows: Sequence[ShiftRow]) -> ShiftRow:
    """Ask which comparison is looked at."""
    by_id = {row.id: row for row in rows}
    chosen = st.selectbox(
        "Comparison",
        list(by_id),
        format_func=lambda number: _words(by_id[number]),
        key="shift",
        persist_state="session",
    )
    return by_id[chosen]


def headline(shift: Shift) -> None:
    """Say whether the target set lies elsewhere, how far, and what becomes of the AUC."""
    st.markdown(f"**{formatting.plain(explanations.verdict(shift))}**")
    boxes = st.columns(len(_TITLES) + 1)
    for box, (name, title) in zip(boxes, _TITLES.items(), strict=False):
        found = shift.distance(name)
        if found is not None:
            words = (explanations.distance_words(found), explanations.halves_words(found))
            with box:
                _figure(title, *words, explanations.DISTANCE_HELP[name])
    with boxes[-1]:
        _figure("AUC of the network", explanations.auc_words(shift), explanations.drop_words(shift), _AUC_HELP)
    st.caption(
        formatting.plain(
            f"{shift.images[0]:,} images of {shift.patients[0]:,} patients against {shift.images[1]:,} of "
            f"{shift.patients[1]:,}, as seen by {shift.model_name} {shift.model_version}"
            + (f"; {seen}" if (seen := explanations.seen_words(shift)) else "")
            + ("; see the cautions at the end" if shift.warnings else "")
        )
    )


def cautions(shift: Shift) -> None:
    """List what a reviewer has to know before believing this."""
    if shift.warnings:
        with st.container(key="evaluation-cautions-shift"):
            lines = "\n".join(f"- {formatting.plain(caution.words)}" for caution in shift.warnings)
            st.warning(f"**! Before you believe this**\n{lines}")


def statistics(shift: Shift, number: int) -> None:
    """Draw what was measured of the images, the most different first."""
    st.markdown("##### What differs in the images", help=_statistics_help(shift))
    if not shift.distributions:
        st.markdown("No colour, stain, sharpness or scale could be measured in both sets.")
        return
    name = f"statistics-{number}"
    figure = charts.statistics(shift)
    st.plotly_chart(figure, config=as_png(name), key=name, alt="Densities of what was measured of the images")
    st.caption(
        f"Full line {formatting.plain(shift.source)}, dashed {formatting.plain(shift.target)}; SD: how much patients "
        "of the source set differ. Chance is judged by assigning the patients to the two sets at random."
    )
    what = f"statistics of the shift from {shift.source} to {shift.target}"
    downloads.offer("Statistics as CSV", what, statistics_csv(shift))


def points(shift: Shift, number: int) -> None:
    """Draw the images where the network sees them."""
    st.markdown(
        "##### How the network sees them",
        help="Each marker is an image. Images that lie close together look alike to the network; two clouds that do "
        "not mix are two kinds of image to it. Only the two directions that vary most are drawn.",
    )
    name = f"points-{number}"
    figure = charts.points(shift)
    st.plotly_chart(figure, config=as_png(name), key=name, alt="Images as points in the network's feature space")


def what_helps(shift: Shift, number: int) -> None:
    """Draw by how much each change of the preparation brings the AUC back."""
    st.markdown("##### What helps", help=explanations.STEP_HELP)
    figure = charts.what_helps(shift)
    if figure is None:
        st.markdown("Not measured: the target set needs at least two benign and two malignant images.")
        return
    name = f"what-helps-{number}"
    st.plotly_chart(figure, config=as_png(name), key=name, alt="Change of the AUC with each step")
    with st.expander("In figures"):
        st.table(
            {
                "way": [formatting.plain(step.name) for step in shift.steps],
                "images": [str(step.images) for step in shift.steps],
                "AUC [95 %]": [formatting.plain(explanations.figure_words(step.auc)) for step in shift.steps],
                "change [95 %]": [formatting.plain(explanations.step_words(shift, step)) for step in shift.steps],
            },
            hide_index=True,
        )


def _figure(title: str, value: str, below: str, words: str) -> None:
    with st.container(border=True, height="stretch", gap="xxsmall"):
        st.markdown(title, help=words)
        st.markdown(f"**{formatting.plain(value)}**")
        st.caption(formatting.plain(below))


def _statistics_help(shift: Shift) -> str:
    known = [found.name for found in charts.by_difference(shift) if found.name in explanations.STATISTIC_HELP]
    return "\n".join(f"- **{name}**: {explanations.STATISTIC_HELP[name]}" for name in known)


def _words(row: ShiftRow) -> str:
    return f"{row.source} → {row.target}, model {row.model_version}, {formatting.day_and_clock(row.at)}"
