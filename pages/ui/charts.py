"""What the charts of several pages share: colours and markers, a matrix with clickable cells, and saving as PNG."""

import html
from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

# Muted, 3 : 1 on white and on the dark background, distinguishable by the colour-blind; each has its own marker too.
COLOURS = ("#1b7f86", "#b06a2c", "#6b6fb5", "#a34f7a", "#6f7f2f", "#7a7f85")
SIGNS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
DASHES = ("solid", "dash")  # of the first and the second of two things compared
GREY = "#7f878c"
TEXT_SIZE = 14  # px, the smallest text on any page
MARGIN = {"l": 10, "r": 10, "t": 30, "b": 10}  # px; Plotly's buttons lie in the top margin
# The accent colour, thin enough that dark text on white and light text on black stay readable on the fullest cell.
_SHADES = ((0, "rgba(27,127,134,0.03)"), (1, "rgba(27,127,134,0.65)"))


def draw_clickable_matrix(
    shares: Sequence[Sequence[float]],
    texts: Sequence[str],
    words: Sequence[str],
    chosen: tuple[int, int] | None,
    font: dict[str, object],
) -> go.Figure:
    """Draw a matrix whose cells can be clicked; point `row * columns + column` of its last trace is that cell.

    Args:
        shares: The shade of each cell, from 0 to 1, row by row.
        texts: The text in each cell, in the order of the points.
        words: The text shown when the mouse is over a cell, in the same order.
        chosen: Row and column of the cell to frame; None for no frame.
        font: Size and colour of the text in the cells; by default the theme would draw it grey.
    """
    cells = [(row, column) for row, line in enumerate(shares) for column in range(len(line))]
    figure = go.Figure(go.Heatmap(z=shares, zmin=0, zmax=1, colorscale=_SHADES, showscale=False, hoverinfo="skip"))
    # Plotly selects points, not the cells of a heat map: an invisible marker in each cell takes the click.
    invisible = {"marker": {"opacity": 0}, "textfont": {"color": font["color"]}}
    figure.add_trace(
        go.Scatter(
            x=[column for _, column in cells],
            y=[row for row, _ in cells],
            text=texts,
            mode="markers+text",
            textfont=font,
            marker={"size": 30, "opacity": 0},
            selected=invisible,
            unselected=invisible,
            customdata=words,
            hovertemplate="%{customdata}<extra></extra>",
            showlegend=False,
        )
    )
    if chosen is not None:
        row, column = chosen
        line = {"color": COLOURS[0], "width": 3}
        figure.add_shape(x0=column - 0.5, x1=column + 0.5, y0=row - 0.5, y1=row + 0.5, type="rect", line=line)
    # -1 sets no limit: wherever a click falls, the nearest marker is that of the clicked cell.
    return figure.update_layout(hovermode="closest", hoverdistance=-1)


def text_colour() -> str:
    """Return the text colour of the theme that this reader sees."""
    return str(st.get_option(f"theme.{st.context.theme.type or 'light'}.textColor"))


def as_png(name: str) -> dict[str, object]:
    """Return Plotly settings that leave one button, which saves the chart as a PNG of this name."""
    return {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "resetScale2d"],
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 3},
    }


def escape_markup(text: str) -> str:
    """Escape text, so that a name cannot act as one of the tags and links that Plotly understands."""
    return html.escape(text, quote=False)
