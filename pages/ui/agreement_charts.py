"""The matrix of two raters, whose cells can be clicked; knows nothing of Streamlit."""

from collections.abc import Sequence

import plotly.graph_objects as go

from pages.ui.agreement_values import Matrix
from pages.ui.charts import draw_matrix
from pages.ui.evaluation_charts import inert

_TEXT = 14  # px, the smallest text of any page
_HEIGHT = 240  # px


def matrix(found: Matrix, chosen: int | None, ink: str) -> go.Figure:
    """Draw one rater's labels by the other's; point n of the last trace is cell n, row by row.

    The chosen cell is framed. `ink` is the colour of the numbers: the theme paints those of points grey.
    """
    rows, columns = len(found.rows), len(found.columns)
    most = max(1, *(count for row in found.counts for count in row))
    shares = [[count / most for count in row] for row in found.counts]
    figure = draw_matrix(
        shares,
        [f"{count:,}" for row in found.counts for count in row],
        [inert(cell.words) for cell in found.cells],
        None if chosen is None else divmod(chosen, columns),
        {"size": _TEXT + 4, "color": ink},
    )
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
    return figure.update_layout(height=_HEIGHT, margin={"l": 10, "r": 10, "t": 30, "b": 10})


def _ticks(labels: Sequence[str]) -> list[str]:
    """Put the word of a label below its sign, so that it stands upright in a narrow window."""
    return [label.replace(" ", "<br>", 1) for label in labels]
