"""Taking a batch of images in, and what became of each; a rerun in the middle goes on where it stopped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import streamlit as st

from core.reading.identifying_words import identifying
from db import store
from db.values.reading import ImageRow
from pages.ui import formatting, resources
from service.intake import FolderNotAllowedError, Intake, name_warning

_POLL_SECONDS = 2
_TABLE_ROWS = 8  # more scroll inside the table


@dataclass(slots=True)
class Batch:
    """Images on their way in; kept by the session, so that a second click or a rerun starts no second one."""

    incoming: Iterator[Intake]
    total: int
    done: list[Intake] = field(default_factory=list)


def confirmed(accession: str, key: str) -> bool:
    """Ask before a case number is stored that looks as if it identified a person; True where there is no need."""
    reasons = identifying(accession)
    if not reasons:
        return True
    st.warning(
        f"This case number holds {', '.join(reasons)}. All readers will see it, and it is never deleted. "
        "Choose a neutral one, or leave it empty for an automatic one."
    )
    return st.checkbox("It identifies nobody: store it as it is", key=key)


def warn_of_names(names: Sequence[str]) -> None:
    """Say quietly that names of files look as if they identified a person."""
    if words := name_warning(names):
        st.caption(formatting.plain(words))


def take_in_batch() -> None:
    """Store the images of the batch one by one, then show what became of them."""
    batch: Batch | None = st.session_state.get("batch")
    if batch is None:
        return
    bar = st.progress(0.0, "Storing the images …")
    try:
        for intake in batch.incoming:
            batch.done.append(intake)
            bar.progress(len(batch.done) / batch.total, f"{len(batch.done)} of {batch.total} images stored")
    except (ValueError, FolderNotAllowedError) as error:
        bar.empty()
        st.error(f"Nothing was stored: {error}.")
    else:
        st.session_state["taken"] = batch.done
        # A new key empties the uploader and the case number: another click finds nothing to store again.
        st.session_state["upload-round"] = st.session_state.get("upload-round", 0) + 1
    del st.session_state["batch"]
    if st.session_state.get("taken") is batch.done:
        st.rerun()


def taken_images() -> None:
    """Show what became of the last batch, drawn anew until everything is analysed."""
    taken: list[Intake] = st.session_state.get("taken", [])
    if taken:
        warn_of_names([intake.name for intake in taken])
        pending = any(formatting.pending((row,)) for row in _rows(taken).values())
        st.fragment(_progress, run_every=_POLL_SECONDS if pending else None)(taken, pending)


def _progress(taken: Sequence[Intake], pending_before: bool) -> None:
    rows = _rows(taken)
    waiting = [row for row in rows.values() if formatting.pending((row,))]
    if pending_before and not waiting:
        st.rerun()
    if rows:
        st.progress((len(rows) - len(waiting)) / len(rows), _ready_words(rows, waiting))
    first = next((intake.case_id for intake in taken if intake.case_id is not None), None)
    if first is not None and st.button("Read this case", type="primary", shortcut="N"):
        st.switch_page("read_case.py", query_params={"case": str(first)})
    with st.container(height=360 if len(taken) > _TABLE_ROWS else "content", border=False):
        st.table(
            {
                "image": [formatting.plain(intake.name) for intake in taken],
                "size": [f"{intake.width} x {intake.height}" if intake.width else "–" for intake in taken],
                "quality": [formatting.plain(_quality(intake)) for intake in taken],
                "state": [formatting.plain(_state(intake, rows)) for intake in taken],
            },
            hide_index=True,
        )


def _rows(taken: Sequence[Intake]) -> dict[int, ImageRow]:
    cases = {intake.case_id for intake in taken if intake.case_id is not None}
    with resources.sessions().read() as session:
        rows = [row for case_id in cases for row in store.open_case.case_images(session, case_id)]
    mine = {intake.image_id for intake in taken}
    return {row.id: row for row in rows if row.id in mine}


def _ready_words(rows: dict[int, ImageRow], waiting: Sequence[ImageRow]) -> str:
    left = max((row.seconds_left or 0 for row in waiting), default=0)
    about = f", about {left:.0f} s left" if left >= 1 else ""
    return f"{len(rows) - len(waiting)} of {len(rows)} images ready{about}"


def _quality(intake: Intake) -> str:
    if intake.already_in:
        return f"same image as in {intake.already_in}"
    if intake.quality is None:
        return f"x {intake.message}"
    return "; ".join(filter(None, [formatting.quality_words(intake.quality), intake.message]))


def _state(intake: Intake, rows: dict[int, ImageRow]) -> str:
    if intake.already_in:
        return "already there"
    row = rows.get(intake.image_id or 0)
    return formatting.job_words(row) if row else "not taken in"
