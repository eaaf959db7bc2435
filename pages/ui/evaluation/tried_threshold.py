"""Move the threshold along the ROC curve, to see what it would change; nothing of this is stored."""

from collections.abc import Sequence

import streamlit as st

from core.statistics.evaluation import Figure, TriedThreshold
from core.statistics.figure_names import RECALL, THRESHOLD_RATES
from core.wording import interval_words
from pages.ui import formatting, resources
from pages.ui.charts import as_png, text_colour
from pages.ui.evaluation import charts
from pages.ui.evaluation.charts import model_words
from pages.ui.evaluation.choices import StoredEvaluation

_STEP = 0.01
_WORDS = {RECALL: "Sensitivity"}
_CAUTION = (
    "A threshold chosen on these images looks better on them than it will on others. The locked threshold stays in "
    "use, all other figures on this page are at that threshold, and nothing is stored."
)


@st.fragment
def draw_roc(chosen: Sequence[StoredEvaluation], marks: str) -> None:
    """Draw the ROC curve of each evaluation, and let its threshold be moved; matrix and rates follow below."""
    chart = st.container()
    tried = [_ask_threshold(stored, named=len(chosen) > 1) for stored in chosen]
    figure = charts.draw_curve("roc", [stored.evaluation for stored in chosen])
    if figure is None:
        return
    for place, (stored, other) in enumerate(zip(chosen, tried, strict=True)):
        if other is not None:
            charts.mark_tried(figure, other, stored.evaluation, place)
    version = "-".join(stored.evaluation.model_version for stored in chosen)
    with chart:
        st.plotly_chart(figure, config=as_png(f"roc-{version}"), alt="ROC curve")
        st.caption(f"{marks} An open marker is a threshold that you try.")
    for stored, other in zip(chosen, tried, strict=True):
        if other is not None:
            _draw_tried(stored, other)


def _ask_threshold(stored: StoredEvaluation, *, named: bool) -> TriedThreshold | None:
    """Ask for a threshold; return what it gives, or None while it is the locked one."""
    if stored.hidden is not None and stored.hidden.without_hashes:
        return None  # the figures are of images that this reader may not see
    locked = stored.evaluation.threshold
    name = f" for {formatting.escape(model_words(stored.evaluation))}" if named else ""
    threshold = st.slider(
        f"Try another malignant threshold{name} (exploration only)",
        min(_STEP, locked),
        max(1 - _STEP, locked),
        locked,
        _STEP,
        key=f"{stored.key}-tried-threshold",
    )
    if threshold == locked:
        return None
    return resources.try_threshold(resources.account().id, stored.hidden, stored.row, threshold)


def _draw_tried(stored: StoredEvaluation, tried: TriedThreshold) -> None:
    """Draw the matrix and the rates at a tried threshold, the rates beside those at the locked one."""
    evaluation = stored.evaluation
    name = formatting.escape(model_words(evaluation))
    with st.container(border=True):
        st.markdown(
            f"**Exploration only.** {name} at threshold **{tried.threshold:.2f}** instead of the locked "
            f"{evaluation.threshold:.2f}"
        )
        st.plotly_chart(
            charts.draw_matrix(tried.confusion, "counts", ink=text_colour()),
            key=f"{stored.key}-tried-matrix",
            config=as_png(f"exploration-matrix-{evaluation.model_version}-threshold-{tried.threshold:.2f}"),
            alt="Confusion matrix at the tried threshold",
        )
        at_tried = {figure.name: figure for figure in tried.figures}
        st.table(
            {
                "Rate": [formatting.capitalise(_WORDS.get(rate, rate)) for rate in THRESHOLD_RATES],
                f"At {tried.threshold:.2f} (tried)": [_words(at_tried.get(rate)) for rate in THRESHOLD_RATES],
                f"At {evaluation.threshold:.2f} (locked)": [
                    _words(evaluation.figure(rate)) for rate in THRESHOLD_RATES
                ],
            },
            hide_index=True,
            border="horizontal",
        )
        st.caption(_CAUTION)


def _words(figure: Figure | None) -> str:
    return formatting.escape(interval_words(figure))
