"""The line above the tissue: the case, its context, what was saved last, and the keys."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from core.wording import count_words
from db import store
from db.errors import CaseChangedError
from db.values.reading import CaseView, Place
from pages.ui import components, formatting, resources, scales, times
from pages.ui.reading import mode, saved
from pages.ui.reading.keyboard_help import show_keyboard_help

_NO_MAGNIFICATION = "magnification not recorded"

_Leave = tuple[str, str, Callable[[], None]]  # words, key, and what leaves the case


def draw_routine_header(case: CaseView, to_read: int, *, can_set_scale: bool) -> None:
    """Draw the line above the tissue in routine reading; `to_read` is the number of waiting cases."""
    skip = partial(mode.open_next, case.id) if case.final_read is None else None
    context = ("**ROUTINE**", f"{to_read} to read", *_write_other_readers(case))
    missing = case.magnification is None and not case.demonstration
    kind = _write_kind(case)[:1] if missing else _write_kind(case)
    asks = [partial(_ask_missing_magnification, case)] if missing else []
    if can_set_scale and not case.demonstration:
        asks.append(partial(_ask_scale, case))
    elif not case.demonstration:
        kind = (*kind, scales.write_scales(case.images))
    _draw([f"**{formatting.escape(case.accession)}**", *kind, *context], _leave_by_skipping(skip), asks)


def draw_header_line(case: CaseView, context: Sequence[str], skip: Callable[[], None] | None) -> None:
    """Draw the line above the tissue: the case, its context, and a button to skip it where that is possible."""
    parts = [f"**{formatting.escape(case.accession)}**", *_write_kind(case), *context]
    _draw(parts, _leave_by_skipping(skip))


def _leave_by_skipping(skip: Callable[[], None] | None) -> _Leave | None:
    return ("Skip to next", "N", skip) if skip else None


def draw_study_header(case: CaseView, place: Place, rounds: int, pause: Callable[[], None]) -> None:
    """Draw the line above the tissue in a study, without the case number: readers could recognise the case by it."""
    where = f"round {place.round} of {rounds}" if rounds > 1 else "round 1"
    parts = [
        f"**STUDY** {formatting.escape(place.study)}",
        str(place.arm),
        where,
        f"case {place.position} of {place.of}",
    ]
    _draw([*parts, "no going back", *_write_kind(case)], ("Pause", "Q", pause))


def _write_other_readers(case: CaseView) -> list[str]:
    """Write who else has the case open now; two readers may read it, and both reads are saved."""
    others = case.open_elsewhere if case.final_read is None else ()
    return [
        f"also open: {formatting.escape(other.reader)}, since {times.format_minute(other.since)}" for other in others
    ]


def _write_kind(case: CaseView) -> tuple[str, str]:
    images = count_words(len(case.images), "image")
    if case.demonstration:
        return images, "generated demo case"
    return images, formatting.escape(case.magnification) if case.magnification else f":orange[{_NO_MAGNIFICATION}]"


def _ask_missing_magnification(case: CaseView) -> None:
    """Draw that a case has no magnification, as a word that opens the field to record it."""
    with st.popover(f":orange[{_NO_MAGNIFICATION}]", type="tertiary", key=f"missing-magnification-{case.id}"):
        st.caption("Once recorded, it applies to all readers and cannot be changed. The images are not analysed again.")
        chosen = components.ask_magnification(st.container(), f"magnification-{case.id}", "Choose or type", kept=False)
        if not st.button("Record", key=f"record-magnification-{case.id}", disabled=chosen is None) or chosen is None:
            return
        try:
            with resources.sessions().begin() as session:
                store.cases.set_magnification(session, resources.account().id, case.id, chosen)
        except (CaseChangedError, ValueError) as error:
            st.error(formatting.escape(f"Not recorded: {error}."))
            return
    st.rerun()


def _ask_scale(case: CaseView) -> None:
    """Draw the scale of the images, as a word that opens the field to record or correct it."""
    words = scales.write_scales(case.images)
    known = all(image.scale for image in case.images)
    with st.popover(words if known else f":orange[{words}]", type="tertiary", key=f"scale-{case.id}"):
        scales.ask_correction(case.images, f"scale-{case.id}")


def _draw(parts: Sequence[str], leave: _Leave | None, asks: Sequence[Callable[[], None]] = ()) -> None:
    with st.container(horizontal=True, vertical_alignment="center", wrap=False, key="case-line"):
        st.markdown(" &nbsp;·&nbsp; ".join(parts), width="stretch")
        for ask in asks:
            ask()
        saved.show_last_saved()
        if leave is not None and st.button(leave[0], shortcut=leave[1], type="tertiary"):
            leave[2]()
        show_keyboard_help()
