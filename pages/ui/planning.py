"""The filters, the table and the buttons of the page Planning."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from db import store
from db.values.worklist import AssignableReader, CaseFilter, PlannedCase
from pages.ui import components, formatting, resources

_NOBODY = "nobody yet"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cases are wanted, and to whom they are assigned; None means whoever."""

    cases: CaseFilter
    reader: str | None
    signed_off: bool

    def among(self, cases: Sequence[PlannedCase]) -> list[PlannedCase]:
        """Leave out the cases of other readers, and those that are signed off."""
        return [case for case in cases if self._of_reader(case) and (self.signed_off or not case.signed_off)]

    @property
    def narrowed(self) -> bool:
        """Say whether any case can be left out."""
        return self != Wanted(CaseFilter(), None, signed_off=True)

    def _of_reader(self, case: PlannedCase) -> bool:
        if self.reader is None:
            return True
        return not case.readers if self.reader == _NOBODY else self.reader in case.readers


def filters(readers: Sequence[AssignableReader]) -> Wanted:
    """Ask which cases are wanted."""
    text, magnification, reader, signed = st.columns([1.5, 1.3, 1.8, 1.2], vertical_alignment="center")
    number = components.ask_case_number(text, "planning")
    power = components.ask_magnification(magnification, "planning-magnification")
    whose = reader.selectbox(
        "Assigned to",
        [_NOBODY, *(one.name for one in readers)],
        index=None,
        placeholder="assigned to",
        label_visibility="collapsed",
        key="planning-reader",
        persist_state="session",
    )
    with_signed = signed.toggle("signed off too", key="planning-signed", persist_state="session")
    return Wanted(CaseFilter(text=number, magnification=power), whose, with_signed)


def pick_cases(cases: Sequence[PlannedCase]) -> list[PlannedCase]:
    """Draw the cases; those that are ticked are given."""
    shown: dict[str, list[object]] = {
        "case": [case.accession for case in cases],
        "magnification": [formatting.magnification_words(case.magnification) for case in cases],
        "images": [case.images for case in cases],
        "added": [case.created_at for case in cases],
        "priority": ["urgent" if case.urgent else "" for case in cases],
        "assigned to": [", ".join(case.readers) for case in cases],
        "readers finished": [case.finished for case in cases],
        "state": ["signed off" if case.signed_off else "" for case in cases],
    }
    chosen = st.dataframe(
        {name: cells for name, cells in shown.items() if name != "state" or any(cells)},
        column_config={"added": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm")},
        hide_index=True,
        height=components.table_height(len(cases), 420),
        on_select="rerun",
        selection_mode="multi-row",
        # Rows are picked by their place: with other cases in the table nothing may stay picked.
        key=f"planning-{hash(tuple(case.id for case in cases))}",
    )
    return [cases[row] for row in chosen.selection.rows]


def actions(picked: Sequence[PlannedCase], readers: Sequence[AssignableReader]) -> None:
    """Offer what can be done with the picked cases."""
    none = not picked
    who, give, take, urgent, routine = st.columns([2.2, 1, 1, 1, 1], vertical_alignment="center")
    # By name alone: with the number that wait beside it the choice would be lost when that changes.
    name = who.selectbox(
        "Reader",
        [one.name for one in readers],
        index=None,
        placeholder="reader to assign to",
        label_visibility="collapsed",
        key="planning-to",
    )
    reader = next((one for one in readers if one.name == name), None)
    nobody = none or reader is None
    if give.button("Assign", type="primary", width="stretch", disabled=nobody) and reader:
        _assign(picked, reader, active=True)
    if take.button("Take back", width="stretch", disabled=nobody) and reader:
        _assign(picked, reader, active=False)
    if urgent.button("Urgent", width="stretch", disabled=none):
        _set_priority(picked, urgent=True)
    if routine.button("Routine", width="stretch", disabled=none):
        _set_priority(picked, urgent=False)
    waiting = ", ".join(f"{formatting.plain(one.name)} {one.waiting}" for one in readers)
    told = (
        f"{formatting.count_words(len(picked), 'case')} picked."
        if picked
        else "Tick cases to assign them or to set their priority."
    )
    st.caption(f"{told} Assigned and not yet read: {waiting}." if waiting else f"{told} There is no reader yet.")


def _assign(picked: Sequence[PlannedCase], reader: AssignableReader, *, active: bool) -> None:
    by = resources.account().id
    try:
        with resources.sessions().begin() as session:
            changed = store.planning.assign(session, by, [case.id for case in picked], reader.id, active=active)
    except ValueError as error:
        st.error(formatting.plain(str(error)))
        return
    way = "assigned to" if active else "taken back from"
    before = "assigned before" if active else "not assigned"
    _finish(
        f"{formatting.count_words(changed, 'case')} {way} {formatting.plain(reader.name)}",
        len(picked) - changed,
        before,
    )


def _set_priority(picked: Sequence[PlannedCase], *, urgent: bool) -> None:
    by = resources.account().id
    with resources.sessions().begin() as session:
        changed = store.planning.set_priority(session, by, [case.id for case in picked], urgent=urgent)
    word = "urgent" if urgent else "routine"
    _finish(f"{formatting.count_words(changed, 'case')} made {word}", len(picked) - changed, f"{word} before")


def _finish(words: str, unchanged: int, why: str) -> None:
    components.announce(
        f"{words}; {unchanged} {'was' if unchanged == 1 else 'were'} {why}." if unchanged else f"{words}."
    )
