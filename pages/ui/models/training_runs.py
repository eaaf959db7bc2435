"""Training runs and their curves, live while a run goes on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from core.fitting.history import HISTORY_FILE, Epoch, PartHistory, best_of, read_document, read_lines
from db import store
from db.values.evaluations import RunRow, RunState
from pages.ui import downloads, formatting, resources
from pages.ui.csv_tables import history_csv

# Quiet, 3 : 1 on white and on the dark background, told apart by the colour-blind; each has a sign of its own as well.
COLOURS = ("#1b7f86", "#b06a2c", "#6b6fb5", "#a34f7a", "#6f7f2f", "#7a7f85")
SIGNS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
GREY = "#7f878c"
_TEXT = {"size": 14}  # px
_CURVES_HEIGHT = 460  # px
_EPOCHS_NAMED = 12  # up to so many, each has its number; of more, Plotly chooses
# The accent, so thin that dark text on white and light text on black stay readable on the fullest cell.
_SHADES = ((0, "rgba(27,127,134,0.03)"), (1, "rgba(27,127,134,0.65)"))
_MEASURES = (("loss", "training"), ("validation loss", "validation"), ("validation AUC", "validation"))

_REFRESH = "3s"  # while a run goes on
_NONE = """
No training run is known to this database. Start one, with the same SECOND_READ_DATA as this app:
"""
_COMMAND = "python -m training.train training/configs/starter.toml --data FOLDER"


def training_curves(parts: Sequence[PartHistory]) -> go.Figure:
    """Draw training against validation loss, and validation AUC below, with the phases marked.

    Training is a dotted line and validation a full one; the parts differ by colour and sign, and a ring
    marks the best epoch of each.
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
    figure.update_xaxes(range=(0.3, last + 0.7), dtick=1 if last <= _EPOCHS_NAMED else None, tickformat="d")
    figure.update_xaxes(title_text="epoch", row=2, col=1)
    return _readable(figure).update_layout(
        height=_CURVES_HEIGHT,
        margin={"l": 60, "r": 10, "t": 30, "b": 40},
        legend={"orientation": "v"},
        hovermode="closest",
    )


def _readable(figure: go.Figure) -> go.Figure:
    figure.update_xaxes(tickfont=_TEXT, title_font=_TEXT)
    figure.update_yaxes(tickfont=_TEXT, title_font=_TEXT)
    figure.update_annotations(font=_TEXT)
    return figure.update_layout(legend_font=_TEXT, hoverlabel_font=_TEXT)


def _add_line(figure: go.Figure, part: PartHistory, place: int, measure: str, kind: str) -> None:
    points = [(epoch, _value(epoch, measure)) for epoch in part.epochs]
    shown = [(epoch, value) for epoch, value in points if value is not None]
    if not shown:
        return
    colour, below = COLOURS[place % len(COLOURS)], measure == "validation AUC"
    figure.add_trace(
        go.Scatter(
            x=[epoch.number for epoch, _ in shown],
            y=[value for _, value in shown],
            name=f"{part.part} {kind}",
            legendgroup=f"{part.part} {kind}",
            showlegend=not below,
            mode="lines+markers",
            line={"color": colour, "dash": "dot" if kind == "training" else "solid", "width": 2},
            marker={"symbol": SIGNS[place % len(SIGNS)], "size": 6},
            hovertemplate=f"{part.part}, epoch %{{x}} (%{{customdata}})<br>{measure} %{{y:.3f}}<extra></extra>",
            customdata=[epoch.phase for epoch, _ in shown],
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
    best = best_of(part.epochs)
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
                    hovertemplate=f"{part.part}: best epoch {best.number}<extra></extra>",
                ),
                row=row,
                col=1,
            )


def _mark_phases(figure: go.Figure, parts: Sequence[PartHistory]) -> None:
    """Draw a line where a phase begins; parts that stopped early begin it sooner, and each gets its line."""
    named: set[str] = set()
    for start, phase in sorted({begun for part in parts for begun in _phase_starts(part.epochs)}):
        figure.add_vline(x=start - 0.5, line={"color": GREY, "width": 1, "dash": "dash"}, row="all", col=1)
        if phase not in named:
            figure.add_annotation(
                x=start - 0.5, y=1, yref="y domain", text=phase, showarrow=False, xanchor="left", yanchor="bottom"
            )
        named.add(phase)


def _phase_starts(epochs: Iterable[Epoch]) -> list[tuple[int, str]]:
    starts: dict[str, int] = {}
    for epoch in epochs:
        starts.setdefault(epoch.phase, epoch.number)
    return [(number, phase) for phase, number in starts.items()]


def draw_matrix(
    shares: Sequence[Sequence[float]],
    texts: Sequence[str],
    words: Sequence[str],
    chosen: tuple[int, int] | None,
    font: dict[str, object],
) -> go.Figure:
    """Draw a matrix whose cells can be clicked; point `row * columns + column` of its last trace is that cell.

    Args:
        shares: How full each cell is, from 0 to 1, row by row.
        texts: What stands in the cells, in the order of the points.
        words: What the cells say under the mouse, in that order.
        chosen: Row and column of the cell that is framed.
        font: Size and colour of what stands in the cells: the theme paints the text of points grey.
    """
    cells = [(row, column) for row, line in enumerate(shares) for column in range(len(line))]
    figure = go.Figure(go.Heatmap(z=shares, zmin=0, zmax=1, colorscale=_SHADES, showscale=False, hoverinfo="skip"))
    # plotly selects points but not the cells of a heat map: an unseen marker in each cell takes the click.
    unseen = {"marker": {"opacity": 0}, "textfont": {"color": font["color"]}}
    figure.add_trace(
        go.Scatter(
            x=[column for _, column in cells],
            y=[row for row, _ in cells],
            text=texts,
            mode="markers+text",
            textfont=font,
            marker={"size": 30, "opacity": 0},
            selected=unseen,
            unselected=unseen,
            customdata=words,
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
        )
    )
    if chosen is not None:
        row, column = chosen
        line = {"color": COLOURS[0], "width": 3}
        figure.add_shape(x0=column - 0.5, x1=column + 0.5, y0=row - 0.5, y1=row + 0.5, type="rect", line=line)
    # -1: however far from the middle of a cell the click falls, the nearest middle is that of its own cell.
    return figure.update_layout(hovermode="closest", hoverdistance=-1)


@dataclass(frozen=True, slots=True)
class Progress:
    """The epochs of a run so far; `problem` says why there are none, `heard_at` when the last one was written."""

    parts: tuple[PartHistory, ...] = ()
    heard_at: datetime | None = None
    problem: str | None = None


def progress_of(run: RunRow) -> Progress:
    """Read the history of a run."""
    try:
        if run.history is not None:
            return Progress(read_document(run.history), run.finished_at)
        file = Path(run.folder) / HISTORY_FILE
        if not file.is_file():
            return Progress(problem=f"no epoch has ended yet, or the folder {run.folder} is not on this computer")
        heard_at = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        return Progress(read_lines(file.read_text(encoding="utf-8")), heard_at)
    except (OSError, ValueError) as error:
        return Progress(problem=f"the history of the run cannot be read: {error}")


def training_runs(runs: Sequence[RunRow]) -> None:
    """Draw the curves of the chosen run."""
    if not runs:
        st.markdown(_NONE)
        st.code(_COMMAND, "bash")
        return
    by_id = {run.id: run for run in runs}
    chosen = st.selectbox("Run", list(by_id), format_func=lambda number: _words(by_id[number]), key="run")
    running = by_id[chosen].state is RunState.RUNNING
    st.fragment(_curves, run_every=_REFRESH if running else None)(chosen, running)


def _curves(number: int, live: bool) -> None:
    with resources.sessions().read() as session:
        run = store.models.run(session, number)
    if run is None:
        return
    if live and run.state is not RunState.RUNNING:
        st.rerun()
    progress = progress_of(run)
    st.caption(formatting.plain(_state(run, progress)))
    if progress.problem:
        st.warning(formatting.plain(progress.problem))
        return
    if not progress.parts:
        st.markdown("No epoch has ended yet.")
        return
    parts = _chosen_parts(progress.parts, number)
    st.plotly_chart(training_curves(parts), key=f"curves-{number}")
    st.caption("Training dotted, validation full lines; a ring marks the best epoch of each part.")
    downloads.offer("Epochs as CSV", f"epochs of training run {run.name}", history_csv(progress.parts))


def _chosen_parts(parts: Sequence[PartHistory], number: int) -> list[PartHistory]:
    if len(parts) < 2:
        return list(parts)
    names = [part.part for part in parts]
    wanted = st.pills("Parts; all of them if none is chosen", names, selection_mode="multi", key=f"parts-{number}")
    return [part for part in parts if not wanted or part.part in wanted]


def _words(run: RunRow) -> str:
    return f"{run.name} – {run.state.value}, started {formatting.day_and_clock(run.started_at)}"


def _state(run: RunRow, progress: Progress) -> str:
    count = sum(len(part.epochs) for part in progress.parts)
    epochs = formatting.count_words(count, "epoch")
    if run.finished_at:
        return f"{run.state.value} {formatting.day_and_clock(run.finished_at)}, {epochs}, in {run.folder}"
    heard = f", the last at {formatting.day_and_clock(progress.heard_at)}" if progress.heard_at and count else ""
    return f"{run.state.value}, {epochs} so far{heard}, in {run.folder}"
