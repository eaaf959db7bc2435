"""Training runs and their curves, updated while a run goes on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from core.run_history import HISTORY_FILE, Epoch, PartHistory, find_best_epoch, read_document, read_lines
from core.wording import count_words
from db import store
from db.values.evaluations import RunRow, RunState
from pages.ui import downloads, formatting, resources, times
from pages.ui.charts import COLOURS, GREY, SIGNS, TEXT_SIZE, escape_markup
from pages.ui.csv_tables import history_csv

_NO_RUN = "This database has no training runs yet. Start one with the same SECOND_READ_DATA as this app:"
_COMMAND = "python -m training.train training/configs/recipes/lite0_head_fine.toml --data FOLDER"
_REFRESH = "3s"  # while a run goes on
_CURVES_HEIGHT = 460  # px
_EPOCHS_NUMBERED = 12  # up to so many, the axis numbers each epoch; with more, Plotly chooses
_FONT = {"size": TEXT_SIZE}
_MEASURES = (("loss", "training"), ("validation loss", "validation"), ("validation AUC", "validation"))


@dataclass(frozen=True, slots=True)
class Progress:
    """The epochs of a run so far; `problem` says why there are none, `heard_at` when the last one was written."""

    parts: tuple[PartHistory, ...] = ()
    heard_at: datetime | None = None
    problem: str | None = None


def read_progress(run: RunRow) -> Progress:
    """Read the history of a run, from the database once it has finished, from its folder before."""
    try:
        if run.history is not None:
            return Progress(read_document(run.history), run.finished_at)
        file = Path(run.folder) / HISTORY_FILE
        if not file.is_file():
            return Progress(problem=f"No epoch has finished yet, or the folder {run.folder} is not on this computer.")
        heard_at = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return Progress(read_lines(file.read_text(encoding="utf-8")), heard_at)
    except (OSError, ValueError) as error:
        return Progress(problem=f"The history of this run cannot be read: {error}")


def draw_training_runs(runs: Sequence[RunRow]) -> None:
    """Ask for a training run, and draw its curves."""
    if not runs:
        st.markdown(_NO_RUN)
        st.code(_COMMAND, "bash")
        return
    by_id = {run.id: run for run in runs}
    chosen = st.selectbox("Run", list(by_id), format_func=lambda number: _run_words(by_id[number]), key="run")
    running = by_id[chosen].state is RunState.RUNNING
    st.fragment(_draw_curves, run_every=_REFRESH if running else None)(chosen, running)


def _draw_curves(number: int, live: bool) -> None:
    with resources.sessions().read() as session:
        run = store.models.run(session, number)
    if run is None:
        return
    if live and run.state is not RunState.RUNNING:
        st.rerun()
    progress = read_progress(run)
    st.caption(formatting.escape(_state_words(run, progress)))
    if progress.problem:
        st.warning(formatting.escape(progress.problem))
        return
    if not progress.parts:
        st.markdown("No epoch has finished yet.")
        return
    parts = _ask_parts(progress.parts, number)
    st.plotly_chart(draw_training_curves(parts), key=f"curves-{number}")
    st.caption("Dotted lines: training; solid lines: validation. A ring marks the best epoch of each part.")
    downloads.draw_download("Epochs", f"epochs of training run {run.name}", history_csv(progress.parts))


def _ask_parts(parts: Sequence[PartHistory], number: int) -> list[PartHistory]:
    if len(parts) < 2:
        return list(parts)
    names = [part.part for part in parts]
    selection = st.pills(
        "Parts (all if none is selected)",
        names,
        selection_mode="multi",
        format_func=formatting.escape,
        key=f"parts-{number}",
    )
    return [part for part in parts if not selection or part.part in selection]


def _run_words(run: RunRow) -> str:
    return f"{run.name} – {run.state.value}, started {times.format_date_time(run.started_at)}"


def _state_words(run: RunRow, progress: Progress) -> str:
    count = sum(len(part.epochs) for part in progress.parts)
    epochs = count_words(count, "epoch")
    if run.finished_at:
        return f"{run.state.value} {times.format_date_time(run.finished_at)}, {epochs}, in {run.folder}"
    last = f", the last one at {times.format_date_time(progress.heard_at)}" if progress.heard_at and count else ""
    return f"{run.state.value}, {epochs} so far{last}, in {run.folder}"


def draw_training_curves(parts: Sequence[PartHistory]) -> go.Figure:
    """Draw training against validation loss, and validation AUC below, with the phases marked.

    Training lines are dotted, validation lines solid; parts differ by colour and marker, and a ring marks the best
    epoch of each.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.55, 0.45])
    for place, part in enumerate(parts):
        for measure, kind in _MEASURES:
            _add_line(figure, part, place, measure, kind)
        _add_best(figure, part)
    _mark_phases(figure, parts)
    figure.update_yaxes(title_text="loss", rangemode="tozero", row=1, col=1)
    figure.update_yaxes(title_text="AUC", row=2, col=1)
    last = max((epoch.number for part in parts for epoch in part.epochs), default=1)
    figure.update_xaxes(range=(0.3, last + 0.7), dtick=1 if last <= _EPOCHS_NUMBERED else None, tickformat="d")
    figure.update_xaxes(title_text="epoch", row=2, col=1)
    return _enlarge_text(figure).update_layout(
        height=_CURVES_HEIGHT,
        margin={"l": 60, "r": 10, "t": 30, "b": 40},
        legend={"orientation": "v"},
        hovermode="closest",
    )


def _enlarge_text(figure: go.Figure) -> go.Figure:
    figure.update_xaxes(tickfont=_FONT, title_font=_FONT)
    figure.update_yaxes(tickfont=_FONT, title_font=_FONT)
    figure.update_annotations(font=_FONT)
    return figure.update_layout(legend_font=_FONT, hoverlabel_font=_FONT)


def _add_line(figure: go.Figure, part: PartHistory, place: int, measure: str, kind: str) -> None:
    points = [(epoch, _value(epoch, measure)) for epoch in part.epochs]
    measured = [(epoch, value) for epoch, value in points if value is not None]
    if not measured:
        return
    name = escape_markup(part.part)
    colour, below = COLOURS[place % len(COLOURS)], measure == "validation AUC"
    figure.add_trace(
        go.Scatter(
            x=[epoch.number for epoch, _ in measured],
            y=[value for _, value in measured],
            name=f"{name} {kind}",
            legendgroup=f"{name} {kind}",
            showlegend=not below,
            mode="lines+markers",
            line={"color": colour, "dash": "dot" if kind == "training" else "solid", "width": 2},
            marker={"symbol": SIGNS[place % len(SIGNS)], "size": 6},
            hovertemplate=f"{name}, epoch %{{x}} (%{{customdata}})<br>{measure} %{{y:.3f}}<extra></extra>",
            customdata=[escape_markup(epoch.phase) for epoch, _ in measured],
        ),
        row=2 if below else 1,
        col=1,
    )


def _value(epoch: Epoch, measure: str) -> float | None:
    values = {
        "loss": epoch.loss,
        "validation loss": epoch.validation_loss,
        "validation AUC": epoch.validation_auc,
    }
    return values[measure]


def _add_best(figure: go.Figure, part: PartHistory) -> None:
    best = find_best_epoch(part.epochs)
    if best is None:
        return
    for row, value in ((1, best.validation_loss), (2, best.validation_auc)):
        if value is not None:
            figure.add_trace(
                go.Scatter(
                    x=[best.number],
                    y=[value],
                    name="best epoch",
                    mode="markers",
                    marker={"symbol": "circle-open", "size": 14, "color": GREY, "line": {"width": 2}},
                    showlegend=False,
                    hovertemplate=f"{escape_markup(part.part)}: best epoch {best.number}<extra></extra>",
                ),
                row=row,
                col=1,
            )


def _mark_phases(figure: go.Figure, parts: Sequence[PartHistory]) -> None:
    """Draw a line where a phase begins; a part that stopped early begins it sooner, so each part has its own line."""
    labelled: set[str] = set()
    for start, phase in sorted({start for part in parts for start in _phase_starts(part.epochs)}):
        figure.add_vline(x=start - 0.5, line={"color": GREY, "width": 1, "dash": "dash"}, row="all", col=1)
        if phase not in labelled:
            figure.add_annotation(
                x=start - 0.5,
                y=1,
                yref="y domain",
                text=escape_markup(phase),
                showarrow=False,
                xanchor="left",
                yanchor="bottom",
            )
        labelled.add(phase)


def _phase_starts(epochs: Iterable[Epoch]) -> list[tuple[int, str]]:
    starts: dict[str, int] = {}
    for epoch in epochs:
        starts.setdefault(epoch.phase, epoch.number)
    return [(number, phase) for phase, number in starts.items()]
