"""Draw agreement: tables of figures, clickable matrices, and the cases behind each of them."""

from collections.abc import Sequence
from functools import partial

import plotly.graph_objects as go
import streamlit as st

from core.reading.agreement import count_cases, count_readings, find_without_opinion
from core.reading.scope_words import NO_OPINION
from core.results import Reading, ReadOpinion
from core.wording import count_words
from db import store
from db.values.agreement import ReadCase, SlowReading
from pages.ui import components, formatting
from pages.ui.agreement import choices
from pages.ui.agreement.counted import Counted, find_readings
from pages.ui.agreement.figures import FigureReadings, Matrix, Table
from pages.ui.charts import MARGIN, TEXT_SIZE, as_png, draw_clickable_matrix, escape_markup, text_colour
from pages.ui.paging import Pages

_MATRIX_HEIGHT = 240  # px
_TABLE_HEIGHT = 400  # px; more rows scroll inside the table
_PAGES: Pages[ReadCase | SlowReading] = Pages("agreement", store.agreement.PAGE, (ReadCase, SlowReading))


def draw_empty_page(*, reads: bool) -> None:
    """Explain what the first figure needs; `reads` says whether this account may read cases."""
    st.subheader("No finished case yet")
    if not reads:
        st.markdown("Agreement is calculated from finished cases only: first opinion, reveal, final opinion.")
        return
    st.markdown(
        "Agreement is calculated only from cases you have finished: first opinion, reveal, final opinion. What the "
        "model and other readers say about any other case stays hidden until then."
    )
    st.page_link("worklist.py", label="Worklist")


def draw_headline(readings: Sequence[Reading], *, reads: bool) -> None:
    """Draw the numbers of cases, readings, readers and models; `reads` says whether the cases are the account's own."""
    whose, rest = ("you have", "; cases you have not finished are left out") if reads else ("a reader has", "")
    cases = count_words(count_cases(readings), "case")
    how_many = count_words(count_readings(readings), "reading")
    readers = count_words(len({one.reader for one in readings}), "reader")
    versions = sorted({one.model_version for one in readings if one.model_version})
    st.markdown(
        f"**{cases} {whose} finished**, {how_many} by {readers}, "
        f"{'model ' + ', '.join(versions) if versions else 'no model'}{rest}."
    )
    if len(versions) > 1:
        st.warning("Readers saw different models: choose one above before you compare readers with the model.")


def draw_figures(table: Table) -> None:
    """Draw a table of figures; a click on a figure shows the cases behind it."""
    key = f"agreement-table-{table.columns[0]}-{st.session_state.get(choices.CLICKS, 0)}"
    columns = {
        formatting.capitalise(column): [line.cells[place].text for line in table.lines]
        for place, column in enumerate(table.columns)
    }
    st.dataframe(
        {formatting.capitalise(table.of): [line.name for line in table.lines], **columns},
        hide_index=True,
        height=components.table_height(len(table.lines), _TABLE_HEIGHT),
        on_select=partial(_show_cases_of_figure, table, key),
        selection_mode="single-cell",
        key=key,
    )


def _show_cases_of_figure(table: Table, key: str) -> None:
    cells = st.session_state[key].selection.cells
    if cells:
        row, column = cells[0]
        columns = [formatting.capitalise(each) for each in table.columns]
        place = columns.index(column) if column in columns else 0
        choices.choose_figure(table.behind(row, place))


def draw_matrices(counted: Sequence[Matrix]) -> None:
    """Draw matrices below one another; a click on a cell shows its cases."""
    for each in counted:
        st.markdown(f"**{formatting.escape(each.name)}**")
        key = f"agreement-matrix-{each.name}-{st.session_state.get(choices.CLICKS, 0)}"
        words = [cell.words for cell in each.cells]
        chosen = choices.chosen_figure()
        st.plotly_chart(
            draw_matrix(each, words.index(chosen) if chosen in words else None, text_colour()),
            key=key,
            on_select=partial(_show_cases_of_cell, each, key),
            selection_mode="points",
            config=as_png("matrix"),
            alt=f"Matrix of {each.raters[0]} and {each.raters[1]}. The list of figures opens the same cells.",
        )


def draw_matrix(counted: Matrix, chosen: int | None, ink: str) -> go.Figure:
    """Draw one rater's labels by the other's; the chosen cell is framed.

    Point n of the last trace is cell n, row by row. `ink` is the colour of the numbers; by default the theme would draw
    them grey.
    """
    rows, columns = len(counted.rows), len(counted.columns)
    most = max(1, *(count for row in counted.counts for count in row))
    shares = [[count / most for count in row] for row in counted.counts]
    figure = draw_clickable_matrix(
        shares,
        [f"{count:,}" for row in counted.counts for count in row],
        [escape_markup(cell.words) for cell in counted.cells],
        None if chosen is None else divmod(chosen, columns),
        {"size": TEXT_SIZE + 4, "color": ink},
    )
    frame = {"fixedrange": True, "zeroline": False, "showgrid": False, "title_font_size": TEXT_SIZE, "automargin": True}
    ticks = {"tickfont": {"size": TEXT_SIZE}}
    figure.update_xaxes(
        title_text=escape_markup(counted.raters[1]),
        range=[-0.5, columns - 0.5],
        tickvals=list(range(columns)),
        ticktext=_ticks(counted.columns),
        tickangle=0,
        **ticks,
        **frame,
    )
    figure.update_yaxes(
        title_text=escape_markup(counted.raters[0]),
        range=[rows - 0.5, -0.5],
        tickvals=list(range(rows)),
        ticktext=_ticks(counted.rows),
        **ticks,
        **frame,
    )
    return figure.update_layout(height=_MATRIX_HEIGHT, margin=MARGIN)


def _ticks(labels: Sequence[str]) -> list[str]:
    """Put the word of a label below its sign, so that it is not rotated in a narrow window."""
    return [label.replace(" ", "<br>", 1) for label in labels]


def _show_cases_of_cell(counted: Matrix, key: str) -> None:
    points = st.session_state[key].selection.points
    if points:
        choices.choose_figure(counted.cells[int(points[0]["point_index"])])


def ask_figure(tables: Sequence[Table], counted: Sequence[Matrix], readings: Sequence[Reading]) -> FigureReadings:
    """Ask which cases to show: those of all readings, without an opinion of the model, of a figure, or of a cell."""
    every = FigureReadings(f"all readings ({count_readings(readings):,})", tuple(readings))
    withheld = find_without_opinion(readings)
    without = FigureReadings(f"no model opinion ({count_readings(withheld):,})", tuple(withheld))
    of_tables = (
        table.behind(line, column)
        for table in tables
        for line in range(len(table.lines))
        for column in range(len(table.columns))
    )
    of_cells = (cell for each in counted for cell in each.cells)
    # An empty figure is not worth offering, but may have been clicked.
    clicked = choices.chosen_figure()
    offered = (one for one in (*of_tables, *of_cells) if one.readings or one.words == clicked)
    return choices.ask_figure([every, *([without] if withheld else []), *offered])


def draw_cases(chosen: FigureReadings, counted: Counted) -> int | None:
    """Draw a page of the readings behind a figure, and return the id of the case whose row was clicked."""
    if not chosen.readings:
        st.markdown("No cases match.")
        return None
    start = _PAGES.end_of_previous((counted.comparison, counted.wanted, counted.given, chosen.words))
    page = find_readings(chosen, counted, start)
    if not page.rows and start is not None:
        _PAGES.show_first()
    readings = [one.reading for one in page.rows]
    has_references = bool(counted.references)
    labels = {"Reference": [choices.reference_words(one.reference) for one in page.rows]} if has_references else {}
    picked = components.draw_clickable_table(
        {
            "Case": [one.accession for one in readings],
            "Reader": [one.reader for one in readings],
            "Before": [_read_words(one.first) for one in readings],
            "After": [_read_words(one.final) for one in readings],
            "Model": [_model_words(one.standing) for one in readings],
            **labels,
            "Amended": [_read_words(one.standing) if one.standing != one.final else "" for one in readings],
            "Map useful": [one.vote or "" for one in readings],
            "Seconds": [round(one.first.seconds) for one in readings],
            "Magnification": [formatting.magnification_words(one.magnification) for one in readings],
        },
        key="agreement-cases",
        most=_TABLE_HEIGHT,
    )
    _PAGES.draw_buttons(len({one.case_id for one in readings}), page.last, None, "case")
    return None if picked is None else readings[picked].case_id


def _read_words(read: ReadOpinion | None) -> str:
    if read is None:
        return "–"
    return f"{formatting.label_words(read.label)}{f' ({read.confidence}/5)' if read.confidence else ''}"


def _model_words(standing: ReadOpinion | None) -> str:
    if standing is None or (standing.model is None and not standing.withheld):
        return "–"
    return NO_OPINION if standing.withheld else formatting.label_words(standing.model)
