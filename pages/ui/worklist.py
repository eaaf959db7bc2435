"""The table, filters and order of the worklist; the choices stay while the reader visits a case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import streamlit as st

from db.values.reading import CaseState
from db.values.worklist import CaseFilter, CaseOrder, CaseRow, WorklistPage
from pages.ui import components, formatting, resources, times

# States counted together, because the reader has the same to do.
_GROUPS = {
    "to read": (CaseState.READY,),
    "in reading": (CaseState.IN_READING, CaseState.FIRST_READ, CaseState.REVEALED),
    "final": (CaseState.FINAL,),
    "discordant": (CaseState.DISCORDANT,),
    "in adjudication": (CaseState.ADJUDICATION,),
    "resolved": (CaseState.RESOLVED,),
    "signed off": (CaseState.SIGNED_OFF, CaseState.AMENDED),
    "incomplete": (CaseState.INCOMPLETE,),
    "being analysed": (CaseState.WAITING,),
    "unreadable": (CaseState.UNREADABLE,),
}
# When the case was added, in days before now: from, until.
_ADDED: dict[str, tuple[int | None, int | None]] = {
    "Last 24 hours": (1, None),
    "Last 7 days": (7, None),
    "Last 30 days": (30, None),
    "Over 30 days ago": (None, 30),
}
_ORDERS = {
    CaseOrder.WORK: "Next to read first",
    CaseOrder.NEWEST: "Newest first",
    CaseOrder.OLDEST: "Oldest first",
    CaseOrder.ACCESSION: "Case number",
    CaseOrder.UNCERTAINTY: "Model least certain first",
    CaseOrder.DISCORDANCE: "Largest difference from the model first",
}
_LIMITS = {
    CaseOrder.UNCERTAINTY: "Only cases with your first opinion are listed: this order would reveal the model's. "
    "Cases without a model opinion come last.",
    CaseOrder.DISCORDANCE: "Only cases with your final opinion are listed: this order would reveal the model's. "
    "Cases that you read without a model opinion come last.",
}

_WAITING = (
    CaseState.INCOMPLETE,
    CaseState.WAITING,
    CaseState.READY,
    CaseState.IN_READING,
    CaseState.FIRST_READ,
    CaseState.REVEALED,
)
_OPTIONAL_COLUMNS = ("Priority", "Reader", "Kind")  # left out when they would be empty
_ROW_HEIGHT, _THUMBNAIL_WIDTH = 48, 80  # px
_READER_WIDTH = 180  # px; a short name and a time
_MINUTE, _HOUR, _DAY = 60, 3600, 86400  # seconds


@dataclass(frozen=True, slots=True)
class WorklistQuery:
    """The cases the reader has asked for, and why some may be missing."""

    cases: CaseFilter
    order: CaseOrder
    added: str | None  # when the cases were added, in words
    limit: str

    def without_times(self) -> "WorklistQuery":
        """Return it without its times, which move with the clock: what they were chosen as stays."""
        return replace(self, cases=replace(self.cases, since=None, until=None))


def explain_cut(page: WorklistPage) -> str:
    """Return what to do if more cases match the text than can be listed; empty otherwise."""
    return "Too many case numbers match: only the first are listed. Type more of the number." if page.cut else ""


def ask_states(counts: Mapping[CaseState, int]) -> list[CaseState] | None:
    """Ask for states, each shown with its number of cases; None means all states."""
    amounts = {words: sum(counts.get(state, 0) for state in states) for words, states in _GROUPS.items()}
    chosen = st.session_state.get("worklist-states") or []
    groups = st.pills(
        "State",
        # A chosen group stays when its last case leaves it; otherwise the choice would vanish unnoticed.
        [words for words, amount in amounts.items() if amount or words in chosen],
        selection_mode="multi",
        format_func=lambda words: f"{amounts[words]} {words}",
        label_visibility="collapsed",
        wrap=True,
        key="worklist-states",
        persist_state="session",
    )
    return [state for words in groups for state in _GROUPS[words]] or None


def ask_filters(states: list[CaseState] | None) -> WorklistQuery:
    """Ask for the other filters and the order."""
    text, magnification, added, order, mine = st.columns([1.5, 1.2, 1.3, 2, 1.2], vertical_alignment="center")
    number = components.ask_case_number(text, "worklist")
    power = components.ask_magnification(magnification, "worklist-magnification")
    when = added.selectbox(
        "Added",
        list(_ADDED),
        index=None,
        placeholder="Added",
        label_visibility="collapsed",
        key="worklist-added",
        persist_state="session",
    )
    sorting = (
        order.selectbox(
            "Sort by",
            list(CaseOrder),
            format_func=_ORDERS.__getitem__,
            label_visibility="collapsed",
            key="worklist-order",
            persist_state="session",
        )
        or CaseOrder.WORK
    )
    # In an installation with one reader, cases are not assigned.
    own = not resources.single_reader_mode() and mine.toggle(
        "Assigned to me", key="worklist-mine", persist_state="session"
    )
    since, until = _ADDED[when] if when else (None, None)
    cases = CaseFilter(number, states, power, own, _days_ago(since), _days_ago(until))
    return WorklistQuery(cases, sorting, when, _LIMITS.get(sorting, ""))


def _days_ago(days: int | None) -> datetime | None:
    return datetime.now().astimezone() - timedelta(days=days) if days is not None else None


def draw_case_table(rows: Sequence[CaseRow]) -> CaseRow | None:
    """Draw the cases; return the case whose row was clicked."""
    now = datetime.now(UTC)
    columns: dict[str, list[object]] = {
        "Tissue": [_find_thumbnail(row) for row in rows],
        "Case": [row.accession for row in rows],
        "State": [formatting.STATE_WORDS[row.state] for row in rows],
        "Priority": ["urgent" if row.urgent else "" for row in rows],
        "Images": [formatting.images_words(row) for row in rows],
        "Magnification": [formatting.magnification_words(row.magnification) for row in rows],
        "Waiting": [write_waiting_time(row.created_at, now) if row.state in _WAITING else "" for row in rows],
        "Reader": [_write_reader(row) for row in rows],
        "Added": [row.created_at for row in rows],
        "Kind": ["generated demo case" if row.demonstration else "" for row in rows],
    }
    picked = components.draw_clickable_table(
        {name: cells for name, cells in columns.items() if name not in _OPTIONAL_COLUMNS or any(cells)},
        key="worklist-table",
        column_config={
            "Reader": st.column_config.TextColumn(width=_READER_WIDTH),
            "Added": times.make_time_column(),
            # The browser loads those of the rows on the screen, from an address that asks whether they may be seen.
            "Tissue": st.column_config.ImageColumn(width=_THUMBNAIL_WIDTH),
        },
        row_height=_ROW_HEIGHT,
    )
    return None if picked is None else rows[picked]


def _find_thumbnail(row: CaseRow) -> str | None:
    """Return the address of the image that stands for a case; nobody else sees those of an incomplete one."""
    return None if row.state is CaseState.INCOMPLETE else components.write_thumbnail_address(row.first_image)


def write_waiting_time(since: datetime, now: datetime) -> str:
    """Write how long a case has been waiting, in the largest unit that fits."""
    seconds = max((now - since).total_seconds(), 0)
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min"
    return f"{int(seconds // _HOUR)} h" if seconds < 2 * _DAY else f"{int(seconds // _DAY)} d"


def _write_reader(row: CaseRow) -> str:
    if row.open_with and row.open_since:
        return f"{row.open_with}, open since {times.format_minute(row.open_since)}"
    if row.assigned_to_me:
        return "assigned to you"
    return "assigned to others" if row.assigned_to_others else ""
