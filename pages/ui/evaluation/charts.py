"""The figures of evaluations: matrices whose cells can be clicked, curves of one or two models, intervals of groups."""

import html
from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

from core.statistics.evaluation import Confusion, CurveKind, Evaluation, Figure, Group
from core.statistics.figure_names import AUC, PR_AUC, PRECISION, RECALL, SPECIFICITY
from pages.ui.models.training_runs import COLOURS, GREY, SIGNS, draw_matrix

Shows = Literal["counts", "row %", "patients"]

_TEXT = 14  # px, the smallest text of any page
_MARGIN = {"l": 10, "r": 10, "t": 30, "b": 10}  # px; plotly's buttons lie above what is drawn
_HEIGHT = 400  # px
_AXES: dict[CurveKind, tuple[str, str]] = {
    "roc": ("1 - specificity", "sensitivity"),
    "precision_recall": ("recall (sensitivity)", "precision"),
    "reliability": ("mean malignant probability", "share of malignant images"),
    "risk_coverage": ("coverage: share of images kept, surest first", "share of wrong calls among them"),
}
_DASHES = ("solid", "dash")


def matrix(
    confusion: Confusion, shows: Shows, chosen: tuple[int, int] | None = None, ink: str = "#22282c"
) -> go.Figure:
    """Draw truth by call; point `row * classes + column` of the last trace is that cell, the chosen one is framed.

    Shades are shares of the row, so that a rare class shows as clearly as a frequent one. `ink` is the colour of the
    numbers: the theme paints those of points grey.
    """
    size = len(confusion.classes)
    shares = [[count / max(1, sum(row)) for count in row] for row in confusion.counts]
    cells = [(row, column) for row in range(size) for column in range(size)]
    names = [inert(label.replace("_", " ")) for label in confusion.classes]
    figure = draw_matrix(
        shares,
        [_cell_text(confusion, shows, row, column) for row, column in cells],
        [_cell_words(confusion, names, row, column) for row, column in cells],
        chosen,
        {"size": _TEXT if size > 4 else _TEXT + 4, "color": ink},
    )
    ticks = {"tickvals": list(range(size)), "ticktext": names, "tickfont": {"size": _TEXT}, "showgrid": False}
    frame = {"fixedrange": True, "zeroline": False, "title_font_size": _TEXT, "automargin": True}
    figure.update_xaxes(title_text="called", range=[-0.5, size - 0.5], **ticks, **frame)
    figure.update_yaxes(title_text="truth", range=[size - 0.5, -0.5], **ticks, **frame)
    return figure.update_layout(height=260 if size == 2 else 180 + 40 * size, margin=_MARGIN)


def curve(kind: CurveKind, evaluations: Sequence[Evaluation]) -> go.Figure | None:
    """Draw one curve of each model, with where its locked threshold lies; None if no model has it."""
    figure = go.Figure()
    for place, evaluation in enumerate(evaluations):
        _add_curve(figure, kind, evaluation, place)
    if not figure.data:
        return None
    if kind in ("roc", "reliability"):
        figure.add_shape(x0=0, x1=1, y0=0, y1=1, type="line", line={"color": GREY, "width": 1, "dash": "dot"})
    x, y = _AXES[kind]
    share = {"range": [-0.02, 1.02], "fixedrange": True, "zeroline": False, "title_font_size": _TEXT}
    figure.update_xaxes(title_text=x, tickfont_size=_TEXT, **share)
    figure.update_yaxes(title_text=y, tickfont_size=_TEXT, **(share if kind != "risk_coverage" else _from_zero(share)))
    return figure.update_layout(
        height=_HEIGHT,
        margin=_MARGIN,
        showlegend=True,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1, "x": 0, "font": {"size": _TEXT}},
        hovermode="closest",
    )


def intervals(groups: Sequence[Group], name: str) -> go.Figure | None:
    """Draw one figure of every group with its interval, the first group on top; None if no group has it."""
    found = [
        (group, figure) for group in groups for figure in group.figures if (figure.name, figure.unit) == (name, "image")
    ]
    if not found:
        return None
    figure = go.Figure(
        go.Scatter(
            x=[measured.value for _, measured in found],
            y=[_group_words(group) for group, _ in found],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [(m.value if m.high is None else m.high) - m.value for _, m in found],
                "arrayminus": [m.value - (m.value if m.low is None else m.low) for _, m in found],
                "thickness": 2,
            },
            mode="markers",
            marker={"color": COLOURS[0], "size": 9},
            customdata=[figure_words(measured) for _, measured in found],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text=name, range=[-0.02, 1.02], fixedrange=True, zeroline=False, tickfont_size=_TEXT)
    figure.update_yaxes(autorange="reversed", fixedrange=True, tickfont_size=_TEXT, automargin=True)
    return figure.update_layout(height=90 + 34 * len(found), margin=_MARGIN)


def figure_words(figure: Figure | None) -> str:
    """Write a figure with its interval; a dash where it could not be measured."""
    if figure is None:
        return "–"
    interval = "" if figure.low is None or figure.high is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.value:.3f}{interval}"


def model_words(evaluation: Evaluation) -> str:
    """Name a model version."""
    return f"{evaluation.model_name} {evaluation.model_version}"


def as_png(name: str) -> dict[str, object]:
    """Give plotly's settings under which its one button saves a chart as a PNG of this name."""
    return {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "resetScale2d"],
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 3},
    }


def inert(text: str) -> str:
    """Keep names from acting as the tags and links that plotly understands."""
    return html.escape(text, quote=False)


def _add_curve(figure: go.Figure, kind: CurveKind, evaluation: Evaluation, place: int) -> None:
    found = next((one for one in evaluation.curves if one.kind == kind), None)
    if found is None:
        return
    weights = found.weights or (0,) * len(found.x)
    sizes = [6 + 14 * (weight / max(1, *weights)) ** 0.5 for weight in weights]
    looks = {"color": COLOURS[place], "symbol": SIGNS[place], "size": sizes}
    figure.add_trace(
        go.Scatter(
            x=found.x,
            y=found.y,
            name=inert(f"{model_words(evaluation)}{_legend(kind, evaluation)}"),
            mode="lines+markers" if found.weights else "lines",
            line={"color": COLOURS[place], "dash": _DASHES[place], "width": 2},
            marker=looks if found.weights else None,
            customdata=[f"<br>{weight:,} images" if weight else "" for weight in weights],
            hovertemplate="%{x:.3f}, %{y:.3f}%{customdata}<extra>%{fullData.name}</extra>",
        )
    )
    point = _locked(kind, evaluation)
    if point is not None:
        figure.add_trace(
            go.Scatter(
                x=[point[0]],
                y=[point[1]],
                name=inert(f"{model_words(evaluation)}, {point[2]}"),
                mode="markers",
                showlegend=False,
                marker={
                    "color": COLOURS[place],
                    "symbol": SIGNS[place],
                    "size": 12,
                    "line": {"width": 2, "color": GREY},
                },
                hovertemplate="%{x:.3f}, %{y:.3f}<extra>%{fullData.name}</extra>",
            )
        )


def _legend(kind: CurveKind, evaluation: Evaluation) -> str:
    name = {"roc": AUC, "precision_recall": PR_AUC}.get(kind)
    return f", {name} {figure_words(evaluation.figure(name))}" if name else ""


def _locked(kind: CurveKind, evaluation: Evaluation) -> tuple[float, float, str] | None:
    """Give the point of the locked threshold, or of the locked abstention, and its name."""
    recall, specificity, precision = (evaluation.figure(name) for name in (RECALL, SPECIFICITY, PRECISION))
    threshold = f"the locked threshold {evaluation.threshold:.2f}"
    if kind == "roc" and recall and specificity:
        return 1 - specificity.value, recall.value, threshold
    if kind == "precision_recall" and recall and precision:
        return recall.value, precision.value, threshold
    if kind == "risk_coverage" and (kept := evaluation.abstention):
        return kept.coverage, kept.error, "the locked abstention"
    return None


def _from_zero(axis: dict[str, object]) -> dict[str, object]:
    return axis | {"range": None, "rangemode": "tozero"}


def _cell_text(confusion: Confusion, shows: Shows, row: int, column: int) -> str:
    count = confusion.counts[row][column]
    if shows == "patients":
        return f"{confusion.patients[row][column]:,}"
    if shows == "counts":
        return f"{count:,}"
    total = sum(confusion.counts[row])
    return f"{count / total:.0%}".replace("%", " %") if total else "–"


def _cell_words(confusion: Confusion, names: Sequence[str], row: int, column: int) -> str:
    count, total = confusion.counts[row][column], sum(confusion.counts[row])
    share = f"{count / total:.1%} of this row" if total else "an empty row"
    patients = confusion.patients[row][column]
    return f"truth {names[row]}, called {names[column]}<br>{count:,} images ({share}) of {patients:,} patients"


def _group_words(group: Group) -> str:
    return inert(f"{group.name.replace('_', ' ')} ({group.images:,} of {group.patients:,})")
