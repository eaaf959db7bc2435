"""Draw the filters, the table of cases and the buttons of the Planning page."""

from collections.abc import Sequence

import streamlit as st

from core.wording import count_words
from db import store
from db.values.worklist import AssignableReader, CaseFilter, PlanFilter, PlannedCase
from pages.ui import components, formatting, resources, times

_UNASSIGNED = "no reader yet"


def ask_filter(readers: Sequence[AssignableReader]) -> PlanFilter:
    """Ask which cases to list."""
    text, power, reader, signed = st.columns([1.5, 1.3, 1.8, 1.2], vertical_alignment="center")
    number = components.ask_case_number(text, "planning")
    magnification = components.ask_magnification(power, "planning-magnification")
    assigned_to = reader.selectbox(
        "Assigned to",
        [_UNASSIGNED, *(one.name for one in readers)],
        index=None,
        placeholder="assigned to",
        label_visibility="collapsed",
        key="planning-reader",
        persist_state="session",
    )
    with_signed = signed.toggle("include signed-off cases", key="planning-signed", persist_state="session")
    return PlanFilter(
        CaseFilter(text=number, magnification=magnification),
        reader=next((one.id for one in readers if one.name == assigned_to), None),
        unassigned=assigned_to == _UNASSIGNED,
        signed_off=with_signed,
    )


def ask_cases(cases: Sequence[PlannedCase]) -> list[PlannedCase]:
    """Draw the cases, and return those that are ticked."""
    columns: dict[str, list[object]] = {
        "Case": [case.accession for case in cases],
        "Magnification": [formatting.magnification_words(case.magnification) for case in cases],
        "Images": [case.images for case in cases],
        "Added": [case.created_at for case in cases],
        "Priority": ["urgent" if case.urgent else "" for case in cases],
        "Assigned to": [", ".join(case.readers) for case in cases],
        "Readers finished": [case.finished for case in cases],
        "State": ["incomplete" if case.incomplete else "signed off" if case.signed_off else "" for case in cases],
    }
    table = st.dataframe(
        {name: cells for name, cells in columns.items() if name != "State" or any(cells)},
        column_config={"Added": times.make_time_column()},
        hide_index=True,
        height=components.table_height(len(cases), 420),
        on_select="rerun",
        selection_mode="multi-row",
        # Rows are selected by position: with other cases in the table, no selection may remain.
        key=f"planning-{hash(tuple(case.id for case in cases))}",
    )
    return [cases[row] for row in table.selection.rows]


def draw_actions(picked: Sequence[PlannedCase], readers: Sequence[AssignableReader]) -> None:
    """Draw the buttons that assign the picked cases or set their priority."""
    field, assign, unassign, urgent, routine = st.columns([2.2, 1, 1, 1, 1], vertical_alignment="center")
    # By name alone: with the number of waiting cases in it, the choice would be lost when that number changes.
    name = field.selectbox(
        "Reader",
        [one.name for one in readers],
        index=None,
        placeholder="choose a reader",
        label_visibility="collapsed",
        key="planning-to",
    )
    reader = next((one for one in readers if one.name == name), None)
    incomplete = not picked or reader is None
    if assign.button("Assign", type="primary", width="stretch", disabled=incomplete) and reader:
        _assign(picked, reader, active=True)
    if unassign.button("Unassign", width="stretch", disabled=incomplete) and reader:
        _assign(picked, reader, active=False)
    if urgent.button("Urgent", width="stretch", disabled=not picked):
        _set_priority(picked, urgent=True)
    if routine.button("Routine", width="stretch", disabled=not picked):
        _set_priority(picked, urgent=False)
    waiting = ", ".join(f"{formatting.escape(one.name)} {one.waiting}" for one in readers)
    selection = (
        f"{count_words(len(picked), 'case')} selected."
        if picked
        else "Tick cases to assign them or set their priority."
    )
    st.caption(
        f"{selection} Assigned and not yet read: {waiting}." if waiting else f"{selection} There are no readers yet."
    )


def _assign(picked: Sequence[PlannedCase], reader: AssignableReader, *, active: bool) -> None:
    by = resources.account().id
    try:
        with resources.sessions().begin() as session:
            changed = store.planning.assign(session, by, [case.id for case in picked], reader.id, active=active)
    except ValueError as error:
        st.error(formatting.escape(str(error)))
        return
    action = "assigned to" if active else "unassigned from"
    why = "already assigned" if active else "not assigned"
    _finish(
        f"{count_words(changed, 'case')} {action} {formatting.escape(reader.name)}",
        len(picked) - changed,
        why,
    )


def _set_priority(picked: Sequence[PlannedCase], *, urgent: bool) -> None:
    by = resources.account().id
    with resources.sessions().begin() as session:
        changed = store.planning.set_priority(session, by, [case.id for case in picked], urgent=urgent)
    word = "urgent" if urgent else "routine"
    _finish(f"{count_words(changed, 'case')} set to {word}", len(picked) - changed, f"already {word}")


def _finish(words: str, unchanged: int, why: str) -> None:
    """Announce what was done, how many cases were left unchanged, and why."""
    components.announce(
        f"{words}; {unchanged} {'was' if unchanged == 1 else 'were'} {why}." if unchanged else f"{words}."
    )
