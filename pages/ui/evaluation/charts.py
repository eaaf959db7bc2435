"""The charts of evaluations: confusion matrices, curves of one or two models, and figures of groups with intervals."""

from collections.abc import Sequence
from typing import Literal

import plotly.graph_objects as go

from core.statistics.evaluation import Confusion, CurveKind, Evaluation, Group, TriedThreshold
from core.statistics.figure_names import AUC, PR_AUC, PRECISION, RECALL, SPECIFICITY
from core.wording import count_words, interval_words
from pages.ui.charts import COLOURS, DASHES, GREY, MARGIN, SIGNS, TEXT_SIZE, draw_clickable_matrix, escape_markup

Shows = Literal["counts", "row %", "patients"]

_CURVE_HEIGHT = 400  # px
_AXES: dict[CurveKind, tuple[str, str]] = {
    "roc": ("1 - specificity", "sensitivity"),
    "precision_recall": ("recall (sensitivity)", "precision"),
    "reliability": ("mean malignant probability", "share of malignant images"),
    "risk_coverage": ("coverage: share of images kept, most certain first", "error rate among these images"),
}


def draw_matrix(
    confusion: Confusion, shows: Shows, chosen: tuple[int, int] | None = None, ink: str = "#22282c"
) -> go.Figure:
    """Draw true classes in rows and predicted ones in columns; the chosen cell is framed.

    Point `row * classes + column` of the last trace is that cell. Shades are shares of the row, so that a rare class
    shows as clearly as a frequent one. `ink` is the colour of the numbers; by default the theme would draw them grey.
    """
    size = len(confusion.classes)
    shares = [[count / max(1, sum(row)) for count in row] for row in confusion.counts]
    cells = [(row, column) for row in range(size) for column in range(size)]
    names = [escape_markup(label.replace("_", " ")) for label in confusion.classes]
    figure = draw_clickable_matrix(
        shares,
        [_cell_text(confusion, shows, row, column) for row, column in cells],
        [_cell_words(confusion, names, row, column) for row, column in cells],
        chosen,
        {"size": TEXT_SIZE if size > 4 else TEXT_SIZE + 4, "color": ink},
    )
    ticks = {"tickvals": list(range(size)), "ticktext": names, "tickfont": {"size": TEXT_SIZE}, "showgrid": False}
    frame = {"fixedrange": True, "zeroline": False, "title_font_size": TEXT_SIZE, "automargin": True}
    figure.update_xaxes(title_text="predicted", range=[-0.5, size - 0.5], **ticks, **frame)
    figure.update_yaxes(title_text="truth", range=[size - 0.5, -0.5], **ticks, **frame)
    return figure.update_layout(height=260 if size == 2 else 180 + 40 * size, margin=MARGIN)


def draw_curve(kind: CurveKind, evaluations: Sequence[Evaluation]) -> go.Figure | None:
    """Draw one curve of each model, with a marker at its locked threshold; return None if no model has this curve."""
    figure = go.Figure()
    for place, evaluation in enumerate(evaluations):
        _add_curve(figure, kind, evaluation, place)
    if not figure.data:
        return None
    if kind in ("roc", "reliability"):
        figure.add_shape(x0=0, x1=1, y0=0, y1=1, type="line", line={"color": GREY, "width": 1, "dash": "dot"})
    x, y = _AXES[kind]
    share = {"range": [-0.02, 1.02], "fixedrange": True, "zeroline": False, "title_font_size": TEXT_SIZE}
    figure.update_xaxes(title_text=x, tickfont_size=TEXT_SIZE, **share)
    figure.update_yaxes(
        title_text=y, tickfont_size=TEXT_SIZE, **(share if kind != "risk_coverage" else _from_zero(share))
    )
    return figure.update_layout(
        height=_CURVE_HEIGHT,
        margin=MARGIN,
        showlegend=True,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1, "x": 0, "font": {"size": TEXT_SIZE}},
        hovermode="closest",
    )


def mark_tried(figure: go.Figure, tried: TriedThreshold, evaluation: Evaluation, place: int) -> None:
    """Add where a tried threshold lies on the ROC curve, as an open marker."""
    rates = {one.name: one.value for one in tried.figures}
    if RECALL not in rates or SPECIFICITY not in rates:
        return
    _add_marker(
        figure,
        (1 - rates[SPECIFICITY], rates[RECALL]),
        f"{model_words(evaluation)}, tried threshold {tried.threshold:.2f}",
        {"color": COLOURS[place], "symbol": f"{SIGNS[place]}-open", "size": 16, "line": {"width": 3}},
    )


def draw_intervals(groups: Sequence[Group], name: str) -> go.Figure | None:
    """Draw one figure of every group with its interval, the first group on top; return None if no group has it."""
    measured = [
        (group, figure) for group in groups for figure in group.figures if (figure.name, figure.unit) == (name, "image")
    ]
    if not measured:
        return None
    figure = go.Figure(
        go.Scatter(
            x=[each.value for _, each in measured],
            y=[_group_words(group) for group, _ in measured],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [(m.value if m.high is None else m.high) - m.value for _, m in measured],
                "arrayminus": [m.value - (m.value if m.low is None else m.low) for _, m in measured],
                "thickness": 2,
            },
            mode="markers",
            marker={"color": COLOURS[0], "size": 9},
            customdata=[interval_words(each) for _, each in measured],
            hovertemplate="%{y}: %{customdata}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text=name, range=[-0.02, 1.02], fixedrange=True, zeroline=False, tickfont_size=TEXT_SIZE)
    figure.update_yaxes(autorange="reversed", fixedrange=True, tickfont_size=TEXT_SIZE, automargin=True)
    return figure.update_layout(height=90 + 34 * len(measured), margin=MARGIN)


def model_words(evaluation: Evaluation) -> str:
    """Return the name and version of the model of an evaluation."""
    return f"{evaluation.model_name} {evaluation.model_version}"


def _add_curve(figure: go.Figure, kind: CurveKind, evaluation: Evaluation, place: int) -> None:
    line = next((one for one in evaluation.curves if one.kind == kind), None)
    if line is None:
        return
    weights = line.weights or (0,) * len(line.x)
    sizes = [6 + 14 * (weight / max(1, *weights)) ** 0.5 for weight in weights]
    style = {"color": COLOURS[place], "symbol": SIGNS[place], "size": sizes}
    figure.add_trace(
        go.Scatter(
            x=line.x,
            y=line.y,
            name=escape_markup(f"{model_words(evaluation)}{_legend_words(kind, evaluation)}"),
            mode="lines+markers" if line.weights else "lines",
            line={"color": COLOURS[place], "dash": DASHES[place], "width": 2},
            marker=style if line.weights else None,
            customdata=[f"<br>{count_words(weight, 'image')}" if weight else "" for weight in weights],
            hovertemplate="%{x:.3f}, %{y:.3f}%{customdata}<extra>%{fullData.name}</extra>",
        )
    )
    point = _locked_point(kind, evaluation)
    if point is not None:
        marker = {"color": COLOURS[place], "symbol": SIGNS[place], "size": 12, "line": {"width": 2, "color": GREY}}
        _add_marker(figure, point[:2], f"{model_words(evaluation)}, {point[2]}", marker)


def _add_marker(figure: go.Figure, point: tuple[float, float], name: str, marker: dict[str, object]) -> None:
    figure.add_trace(
        go.Scatter(
            x=[point[0]],
            y=[point[1]],
            name=escape_markup(name),
            mode="markers",
            showlegend=False,
            marker=marker,
            hovertemplate="%{x:.3f}, %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    )


def _legend_words(kind: CurveKind, evaluation: Evaluation) -> str:
    name = {"roc": AUC, "precision_recall": PR_AUC}.get(kind)
    return f", {name} {interval_words(evaluation.figure(name))}" if name else ""


def _locked_point(kind: CurveKind, evaluation: Evaluation) -> tuple[float, float, str] | None:
    """Return the x, the y and the name of the locked threshold, or of the locked abstention."""
    recall, specificity, precision = (evaluation.figure(name) for name in (RECALL, SPECIFICITY, PRECISION))
    threshold = f"locked threshold {evaluation.threshold:.2f}"
    if kind == "roc" and recall and specificity:
        return 1 - specificity.value, recall.value, threshold
    if kind == "precision_recall" and recall and precision:
        return recall.value, precision.value, threshold
    if kind == "risk_coverage" and (abstention := evaluation.abstention):
        return abstention.coverage, abstention.error, "locked abstention"
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
    return f"{count / total:.0%}" if total else "–"


def _cell_words(confusion: Confusion, names: Sequence[str], row: int, column: int) -> str:
    count, total = confusion.counts[row][column], sum(confusion.counts[row])
    share = f"{count / total:.1%} of this row" if total else "an empty row"
    patients = confusion.patients[row][column]
    extent = f"{count_words(count, 'image')} ({share}) of {count_words(patients, 'patient')}"
    return f"truth {names[row]}, predicted {names[column]}<br>{extent}"


def _group_words(group: Group) -> str:
    return escape_markup(f"{group.name.replace('_', ' ')} ({group.images:,} of {group.patients:,})")
