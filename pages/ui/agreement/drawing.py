"""Draw agreement: tables of figures, clickable matrices, and the cases behind each of them."""

from collections.abc import Mapping, Sequence
from functools import partial

import plotly.graph_objects as go
import streamlit as st

from core.labels import Malignancy
from core.results import Reading, SavedRead
from pages.ui import components, formatting
from pages.ui.agreement import choices
from pages.ui.agreement.figures import Behind, Matrix, Table
from pages.ui.evaluation.charts import as_png, inert
from pages.ui.models.training_runs import draw_matrix

_TEXT = 14  # px, the smallest text of any page
_HEIGHT = 240  # px

_TALLEST = 400  # px


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


def nothing_yet(*, reads: bool) -> None:
    """Say how the first figure comes about; `reads` says whether whoever asks may read cases."""
    st.subheader("No finished case yet")
    if not reads:
        st.markdown("Agreement is told of cases that a reader has finished: first opinion, reveal, final opinion.")
        return
    st.markdown(
        "Agreement is told of cases that you have finished: first opinion, reveal, final opinion. What the model and "
        "other readers say of any other case stays hidden until then."
    )
    st.page_link("worklist.py", label="Worklist")


def headline(readings: Sequence[Reading], *, reads: bool) -> None:
    """Say of how many cases, readers and models all this is; `reads` says whether the cases are one's own."""
    whose, rest = ("you have", "; cases you have not finished stay out") if reads else ("a reader has", "")
    cases, readers = len({one.case_id for one in readings}), len({one.reader for one in readings})
    versions = sorted({one.model_version for one in readings if one.model_version})
    st.markdown(
        f"**{formatting.count_words(cases, 'case')} that {whose} finished**, "
        f"{formatting.count_words(len(readings), 'reading')} by {formatting.count_words(readers, 'reader')}, "
        f"{'model ' + ', '.join(versions) if versions else 'no model'}{rest}."
    )
    if len(versions) > 1:
        st.warning("These readings saw different models: choose one above before you compare with the model.")


def figures(table: Table) -> None:
    """Draw a table of figures; a click on one turns to the cases behind it."""
    key = f"agreement-table-{table.columns[0]}-{st.session_state.get(choices.CLICKS, 0)}"
    columns = {column: [line.cells[place].text for line in table.lines] for place, column in enumerate(table.columns)}
    st.dataframe(
        {table.of: [line.name for line in table.lines], **columns},
        hide_index=True,
        height=components.table_height(len(table.lines), _TALLEST),
        on_select=partial(_picked, table, key),
        selection_mode="single-cell",
        key=key,
    )


def matrices(found: Sequence[Matrix]) -> None:
    """Draw matrices below one another; a click on a cell turns to its cases."""
    for each in found:
        st.markdown(f"**{formatting.plain(each.name)}**")
        key = f"agreement-matrix-{each.name}-{st.session_state.get(choices.CLICKS, 0)}"
        words = [cell.words for cell in each.cells]
        shown = choices.shown()
        st.plotly_chart(
            matrix(each, words.index(shown) if shown in words else None, _ink()),
            key=key,
            on_select=partial(_clicked, each, key),
            selection_mode="points",
            config=as_png("matrix"),
            alt=f"Matrix of {each.raters[0]} and {each.raters[1]}; the list of figures opens the same cells.",
        )


def behind(tables: Sequence[Table], drawn: Sequence[Matrix], every: Behind) -> Behind:
    """Ask which figure's cases are shown: those of all readings, of a figure, or of a cell."""
    of_tables = (
        table.behind(line, column)
        for table in tables
        for line in range(len(table.lines))
        for column in range(len(table.columns))
    )
    of_cells = (cell for each in drawn for cell in each.cells)
    # What is empty is not worth choosing, but may have been clicked.
    clicked = choices.shown()
    found = (one for one in (*of_tables, *of_cells) if one.readings or one.words == clicked)
    return choices.behind([every, *found])


def cases(chosen: Behind, references: Mapping[int, Malignancy]) -> int | None:
    """Draw the readings behind a figure; a click anywhere in a row gives its case."""
    if not chosen.readings:
        st.markdown("No case here.")
        return None
    found = chosen.readings
    held = {"reference": [choices.reference_words(one, references) for one in found]} if references else {}
    picked = components.draw_clickable_table(
        {
            "case": [one.accession for one in found],
            "reader": [one.reader for one in found],
            "before": [_said(one.first) for one in found],
            "after": [_said(one.final) for one in found],
            "model": [formatting.label_words(m) if (m := _model(one)) else "–" for one in found],
            **held,
            "amended": [_said(one.standing) if one.standing != one.final else "" for one in found],
            "map useful": [one.vote or "" for one in found],
            "seconds": [round(one.first.seconds) for one in found],
            "magnification": [formatting.magnification_words(one.magnification) for one in found],
        },
        key="agreement-cases",
        most=_TALLEST,
    )
    return None if picked is None else found[picked].case_id


def _picked(table: Table, key: str) -> None:
    cells = st.session_state[key].selection.cells
    if cells:
        row, column = cells[0]
        place = table.columns.index(column) if column in table.columns else 0
        choices.show(table.behind(row, place))


def _clicked(drawn: Matrix, key: str) -> None:
    points = st.session_state[key].selection.points
    if points:
        choices.show(drawn.cells[int(points[0]["point_index"])])


def _ink() -> str:
    """Give the text colour of the theme that this reader sees."""
    return str(st.get_option(f"theme.{st.context.theme.type or 'light'}.textColor"))


def _said(read: SavedRead | None) -> str:
    if read is None:
        return "–"
    return f"{formatting.label_words(read.label)}{f' ({read.confidence}/5)' if read.confidence else ''}"


def _model(reading: Reading) -> Malignancy | None:
    return reading.standing.model if reading.standing else None
