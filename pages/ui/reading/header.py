"""The line above the tissue: the case, its context, what was saved last, and the keys."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from db.values.reading import CaseView, Place
from pages.ui import formatting, times
from pages.ui.reading import mode, saved
from pages.ui.reading.keyboard_help import show_keyboard_help


def draw_routine_header(case: CaseView, to_read: int) -> None:
    """Draw the line above the tissue in routine reading; `to_read` is the number of waiting cases."""
    skip = partial(mode.open_next, case.id) if case.final_read is None else None
    draw_header_line(case, ("**ROUTINE**", f"{to_read} to read", *_write_other_readers(case)), skip)


def draw_header_line(case: CaseView, context: Sequence[str], skip: Callable[[], None] | None) -> None:
    """Draw the line above the tissue: the case, its context, and a button to skip it where that is possible."""
    parts = [f"**{formatting.escape(case.accession)}**", *_write_kind(case), *context]
    _draw(parts, ("Skip to next", "N", skip) if skip else None)


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
    return [f"open with {formatting.escape(other.reader)} since {times.format_minute(other.since)}" for other in others]


def _write_kind(case: CaseView) -> tuple[str, str]:
    images = formatting.count_words(len(case.images), "image")
    if case.demonstration:
        return images, "generated demo case"
    return images, formatting.escape(case.magnification or "no magnification")


def _draw(parts: Sequence[str], leave: tuple[str, str, Callable[[], None]] | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", wrap=False):
        st.markdown(" &nbsp;·&nbsp; ".join(parts), width="stretch")
        saved.show_last_saved()
        if leave is not None and st.button(leave[0], shortcut=leave[1], type="tertiary"):
            leave[2]()
        show_keyboard_help()
