"""The matrix of two raters, whose cells can be clicked; knows nothing of Streamlit."""

from collections.abc import Sequence

import plotly.graph_objects as go

from pages.ui.agreement_values import Matrix
from pages.ui.charts import COLOURS
from pages.ui.evaluation_charts import inert

_TEXT = 14  # px, the smallest text of any page
# The accent, so thin that dark text on white and light text on black stay readable on the fullest cell.
_SHADES = ((0, "rgba(27,127,134,0.03)"), (1, "rgba(27,127,134,0.65)"))
_HEIGHT = 240  # px


def matrix(found: Matrix, chosen: int | None, ink: str) -> go.Figure:
    """Draw one rater's labels by the other's; point n of the last trace is cell n, row by row.

    The chosen cell is framed. `ink` is the colour of the numbers: the theme paints those of points grey.
    """
    rows, columns = len(found.rows), len(found.columns)
    most = max(1, *(count for row in found.counts for count in row))
    shares = [[count / most for count in row] for row in found.counts]
    cells = [(row, column) for row in range(rows) for column in range(columns)]
    figure = go.Figure(go.Heatmap(z=shares, zmin=0, zmax=1, colorscale=_SHADES, showscale=False, hoverinfo="skip"))
    # plotly selects points but not the cells of a heat map: an unseen marker in each cell takes the click.
    figure.add_trace(
        go.Scatter(
            x=[column for _, column in cells],
            y=[row for row, _ in cells],
            text=[f"{found.counts[row][column]:,}" for row, column in cells],
            mode="markers+text",
            textfont={"size": _TEXT + 4, "color": ink},
            marker={"size": 30, "opacity": 0},
            selected={"marker": {"opacity": 0}, "textfont": {"color": ink}},
            unselected={"marker": {"opacity": 0}, "textfont": {"color": ink}},
            customdata=[inert(cell.words) for cell in found.cells],
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
        )
    )
    if chosen is not None:
        row, column = divmod(chosen, columns)
        line = {"color": COLOURS[0], "width": 3}
        figure.add_shape(x0=column - 0.5, x1=column + 0.5, y0=row - 0.5, y1=row + 0.5, type="rect", line=line)
    frame = {"fixedrange": True, "zeroline": False, "showgrid": False, "title_font_size": _TEXT, "automargin": True}
    ticks = {"tickfont": {"size": _TEXT}}
    figure.update_xaxes(
        title_text=inert(found.raters[1]),
        range=[-0.5, columns - 0.5],
        tickvals=list(range(columns)),
        ticktext=_ticks(found.columns),
        tickangle=0,
        **ticks,
        **frame,
    )
    figure.update_yaxes(
        title_text=inert(found.raters[0]),
        range=[rows - 0.5, -0.5],
        tickvals=list(range(rows)),
        ticktext=_ticks(found.rows),
        **ticks,
        **frame,
    )
    # -1: however far from the middle of a cell the click falls, the nearest middle is that of its own cell.
    return figure.update_layout(
        height=_HEIGHT, margin={"l": 10, "r": 10, "t": 30, "b": 10}, hovermode="closest", hoverdistance=-1
    )


def _ticks(labels: Sequence[str]) -> list[str]:
    """Put the word of a label below its sign, so that it stands upright in a narrow window."""
    return [label.replace(" ", "<br>", 1) for label in labels]
