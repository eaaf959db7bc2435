"""The table of the worklist."""

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from db.values import CaseState
from db.worklist_values import CaseRow
from pages.ui import components, panels

_WAITS = (CaseState.WAITING, CaseState.READY, CaseState.IN_READING, CaseState.FIRST_READ, CaseState.REVEALED)
_SOMETIMES = ("priority", "reader", "kind")  # columns that are left out where they would be empty
_READER_WIDTH = 180  # px; a short name and since when
_MINUTE, _HOUR, _DAY = 60, 3600, 86400  # seconds


def pick_case(rows: Sequence[CaseRow]) -> CaseRow | None:
    """Draw the cases; a click anywhere in a row gives its case."""
    now = datetime.now(UTC)
    columns: dict[str, list[object]] = {
        "case": [row.accession for row in rows],
        "state": [panels.STATE_WORDS[row.state] for row in rows],
        "priority": ["urgent" if row.urgent else "" for row in rows],
        "images": [panels.images_words(row) for row in rows],
        "magnification": [panels.magnification_words(row.magnification) for row in rows],
        "waiting": [waiting_words(row.created_at, now) if row.state in _WAITS else "" for row in rows],
        "reader": [_reader(row) for row in rows],
        "added": [row.created_at for row in rows],
        "kind": ["generated demo case" if row.demonstration else "" for row in rows],
    }
    # What one reader alone has no use for is not shown to them.
    shown = {name: cells for name, cells in columns.items() if name not in _SOMETIMES or any(cells)}
    picked = components.draw_clickable_table(
        shown,
        key="worklist-table",
        column_config={
            "reader": st.column_config.TextColumn(width=_READER_WIDTH),
            "added": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
        },
    )
    return None if picked is None else rows[picked]


def waiting_words(since: datetime, now: datetime) -> str:
    """Write how long something waits, in the largest unit that fits."""
    seconds = max((now - since).total_seconds(), 0)
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min"
    return f"{int(seconds // _HOUR)} h" if seconds < 2 * _DAY else f"{int(seconds // _DAY)} d"


def _reader(row: CaseRow) -> str:
    if row.open_with and row.open_since:
        return f"{row.open_with}: open since {panels.clock(row.open_since)[:5]}"
    if row.assigned_to_me:
        return "assigned to you"
    return "assigned to others" if row.assigned_to_others else ""
