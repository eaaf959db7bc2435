"""The charts of a comparison of two image sets: densities of the statistics, images as points, and what helps."""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.statistics.shift import Distribution, Shift, Side, Step
from pages.ui.charts import COLOURS, DASHES, GREY, MARGIN, SIGNS, TEXT_SIZE, escape_markup
from pages.ui.domain_shift import explanations

_SIDES: tuple[Side, Side] = ("source", "target")
_FILLS = ("rgba(27,127,134,0.25)", "rgba(176,106,44,0.25)")
_COLUMNS = 2
_ROW_HEIGHT = 170  # px, title and axis included
_POINTS_HEIGHT = 380  # px
_LEGEND = {"orientation": "h", "yanchor": "bottom", "x": 0, "font": {"size": TEXT_SIZE}}


def draw_statistics(shift: Shift) -> go.Figure:
    """Draw the density of each statistic in both sets, the most different first, each on its own scale."""
    distributions = sort_by_difference(shift)
    rows = -(-len(distributions) // _COLUMNS)
    figure = make_subplots(
        rows=rows,
        cols=_COLUMNS,
        subplot_titles=[
            f"<b>{escape_markup(each.name)}</b><br>{explanations.difference_words(each)}" for each in distributions
        ],
        vertical_spacing=85 / (rows * _ROW_HEIGHT),
        horizontal_spacing=0.08,
    )
    for number, each in enumerate(distributions):
        place = {"row": number // _COLUMNS + 1, "col": number % _COLUMNS + 1}
        for side in (0, 1):
            figure.add_trace(_density(shift, each, side, legend=number == 0), **place)
    figure.update_xaxes(fixedrange=True, zeroline=False, showgrid=False, tickfont_size=TEXT_SIZE, nticks=5)
    figure.update_yaxes(fixedrange=True, showticklabels=False, rangemode="tozero", showgrid=False)
    figure.update_annotations(font_size=TEXT_SIZE)
    return figure.update_layout(
        height=rows * _ROW_HEIGHT + 60,
        margin=MARGIN | {"t": 70},
        showlegend=True,
        legend=_LEGEND | {"y": 1 + 42 / (rows * _ROW_HEIGHT)},
        hovermode="closest",
    )


def sort_by_difference(shift: Shift) -> list[Distribution]:
    """Return the statistics of both sets, the most different first."""
    return sorted(shift.distributions, key=lambda each: -abs(each.difference))


def draw_points(shift: Shift) -> go.Figure:
    """Draw each image as a point in the network's feature space; the sets differ by marker as well as by colour."""
    figure = go.Figure()
    for place, side in enumerate(_SIDES):
        of_side = [point for point in shift.points if point.side == side]
        figure.add_trace(
            go.Scatter(
                x=[point.x for point in of_side],
                y=[point.y for point in of_side],
                name=_set_name(shift, place),
                mode="markers",
                marker={
                    "color": COLOURS[place],
                    "symbol": SIGNS[place],
                    "size": 8,
                    "opacity": 0.7,
                    "line": {"width": 1, "color": GREY},
                },
                customdata=[escape_markup(point.patient_id) for point in of_side],
                hovertemplate="patient %{customdata}<extra>%{fullData.name}</extra>",
            )
        )
    for axis, ordinal, share in zip(
        (figure.update_xaxes, figure.update_yaxes), ("first", "second"), shift.explained, strict=True
    ):
        title = f"{ordinal} component, {share:.0%} of the variance"
        axis(title_text=title, title_font_size=TEXT_SIZE, tickfont_size=TEXT_SIZE, zeroline=False)
    return figure.update_layout(
        height=_POINTS_HEIGHT, margin=MARGIN, showlegend=True, legend=_LEGEND | {"y": 1}, hovermode="closest"
    )


def draw_what_helps(shift: Shift) -> go.Figure | None:
    """Draw what each step changes, with its interval; lines mark no change and the whole drop. None without steps.

    Without a drop there is no line for it: nothing is to be recovered.
    """
    steps = [step for step in shift.steps if step.change is not None]
    if not steps:
        return None
    figure = go.Figure(_changes(shift, steps))
    figure.add_vline(x=0, line={"color": GREY, "width": 1})
    if shift.drop is not None and shift.drop.value > 0:
        figure.add_vline(x=shift.drop.value, line={"color": COLOURS[0], "width": 2, "dash": "dot"})
        figure.add_annotation(
            x=shift.drop.value,
            y=1,
            yref="paper",
            yanchor="bottom",
            xanchor="left",
            text="AUC of the source set",
            font={"size": TEXT_SIZE},
            showarrow=False,
        )
    figure.update_xaxes(
        title_text="change in AUC on the target set",
        title_font_size=TEXT_SIZE,
        tickfont_size=TEXT_SIZE,
        fixedrange=True,
    )
    figure.update_xaxes(zeroline=False, tickformat="+.2f", nticks=6)
    figure.update_yaxes(autorange="reversed", fixedrange=True, tickfont_size=TEXT_SIZE, automargin=True)
    return figure.update_layout(height=110 + 34 * len(steps), margin=MARGIN, showlegend=False, hovermode="closest")


def _changes(shift: Shift, steps: Sequence[Step]) -> go.Scatter:
    changes = [step.change for step in steps if step.change is not None]
    return go.Scatter(
        x=[change.value for change in changes],
        y=[escape_markup(explanations.short_step(step)) for step in steps],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [0 if change.high is None else change.high - change.value for change in changes],
            "arrayminus": [0 if change.low is None else change.value - change.low for change in changes],
            "thickness": 2,
        },
        mode="markers",
        marker={"color": COLOURS[1], "symbol": SIGNS[1], "size": 10},
        customdata=[escape_markup(explanations.step_words(shift, step)) for step in steps],
        hovertemplate="%{y}: %{customdata}<extra></extra>",
    )


def _density(shift: Shift, distribution: Distribution, side: int, *, legend: bool) -> go.Scatter:
    shares = (distribution.source, distribution.target)[side]
    width = distribution.edges[1] - distribution.edges[0]
    centres = [edge + width / 2 for edge in distribution.edges[:-1]]
    unit = escape_markup(distribution.unit)
    return go.Scatter(
        x=centres,
        y=shares,
        name=_set_name(shift, side),
        legendgroup=_SIDES[side],
        showlegend=legend,
        mode="lines",
        line={"color": COLOURS[side], "dash": DASHES[side], "width": 2, "shape": "spline", "smoothing": 0.6},
        fill="tozeroy",
        fillcolor=_FILLS[side],
        hovertemplate=f"%{{y:.0%}} of the images at %{{x:.3g}} {unit}<extra>%{{fullData.name}}</extra>",
    )


def _set_name(shift: Shift, side: int) -> str:
    return escape_markup((shift.source, shift.target)[side])
