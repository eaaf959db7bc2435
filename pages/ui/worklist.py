"""The worklist: its table, filters and order, kept while a case is visited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import streamlit as st

from db.values.reading import CaseState
from db.values.worklist import CaseFilter, CaseOrder, CaseRow
from pages.ui import components, formatting, resources

# States that a reader counts together, by what is to be done.
_GROUPS = {
    "to read": (CaseState.READY,),
    "in reading": (CaseState.IN_READING, CaseState.FIRST_READ, CaseState.REVEALED),
    "final": (CaseState.FINAL,),
    "discordant": (CaseState.DISCORDANT,),
    "in adjudication": (CaseState.ADJUDICATION,),
    "resolved": (CaseState.RESOLVED,),
    "signed off": (CaseState.SIGNED_OFF, CaseState.AMENDED),
    "being analysed": (CaseState.WAITING,),
    "unreadable": (CaseState.UNREADABLE,),
}
# Days back from now at which the case was added: from, until.
_ADDED: dict[str, tuple[int | None, int | None]] = {
    "last 24 hours": (1, None),
    "last 7 days": (7, None),
    "last 30 days": (30, None),
    "over 30 days ago": (None, 30),
}
_LIMITS = {
    CaseOrder.UNCERTAINTY: "Only cases of which you have saved a first opinion: this order tells what the model says.",
    CaseOrder.DISCORDANCE: "Only cases that you have read to the end: this order tells what the model says.",
}

_WAITS = (CaseState.WAITING, CaseState.READY, CaseState.IN_READING, CaseState.FIRST_READ, CaseState.REVEALED)
_SOMETIMES = ("priority", "reader", "kind")  # columns that are left out where they would be empty
_READER_WIDTH = 180  # px; a short name and since when
_MINUTE, _HOUR, _DAY = 60, 3600, 86400  # seconds


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the reader wants to see, and what has to be said about it."""

    cases: CaseFilter
    order: CaseOrder
    limit: str


def state_pills(counts: Mapping[CaseState, int]) -> list[CaseState] | None:
    """Draw the number of cases in each group of states, which are filters too; None means all of them."""
    amounts = {words: sum(counts.get(state, 0) for state in states) for words, states in _GROUPS.items()}
    chosen = st.session_state.get("worklist-states") or []
    groups = st.pills(
        "State",
        # A group that is chosen stays when its last case leaves it, or the choice would be lost unseen.
        [words for words, amount in amounts.items() if amount or words in chosen],
        selection_mode="multi",
        format_func=lambda words: f"{amounts[words]} {words}",
        label_visibility="collapsed",
        wrap=True,
        key="worklist-states",
        persist_state="session",
    )
    return [state for words in groups for state in _GROUPS[words]] or None


def filters(states: list[CaseState] | None) -> Wanted:
    """Draw the other filters and the order."""
    text, magnification, added, order, mine = st.columns([1.5, 1.2, 1.3, 2, 1.2], vertical_alignment="center")
    number = components.ask_case_number(text, "worklist")
    power = components.ask_magnification(magnification, "worklist-magnification")
    when = added.selectbox(
        "Added",
        list(_ADDED),
        index=None,
        placeholder="added",
        label_visibility="collapsed",
        key="worklist-added",
        persist_state="session",
    )
    sorting = (
        order.selectbox(
            "Sort by",
            list(CaseOrder),
            format_func=str,
            label_visibility="collapsed",
            key="worklist-order",
            persist_state="session",
        )
        or CaseOrder.WORK
    )
    # Nobody assigns anything where only one reader reads.
    own = not resources.single_reader_mode() and mine.toggle(
        "assigned to me", key="worklist-mine", persist_state="session"
    )
    since, until = _ADDED[when] if when else (None, None)
    cases = CaseFilter(number, states, power, own, _days_ago(since), _days_ago(until))
    return Wanted(cases, sorting, _LIMITS.get(sorting, ""))


def _days_ago(days: int | None) -> datetime | None:
    return datetime.now().astimezone() - timedelta(days=days) if days is not None else None


def pick_case(rows: Sequence[CaseRow]) -> CaseRow | None:
    """Draw the cases; a click anywhere in a row gives its case."""
    now = datetime.now(UTC)
    columns: dict[str, list[object]] = {
        "case": [row.accession for row in rows],
        "state": [formatting.STATE_WORDS[row.state] for row in rows],
        "priority": ["urgent" if row.urgent else "" for row in rows],
        "images": [formatting.images_words(row) for row in rows],
        "magnification": [formatting.magnification_words(row.magnification) for row in rows],
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
        return f"{row.open_with}: open since {formatting.clock(row.open_since)[:5]}"
    if row.assigned_to_me:
        return "assigned to you"
    return "assigned to others" if row.assigned_to_others else ""
