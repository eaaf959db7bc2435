"""Storing a batch of uploaded images, and the outcome for each; a rerun continues where the last one stopped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import streamlit as st

from core.reading.identifying_words import find_identifying_reasons
from db import store
from db.values.reading import ImageRow
from pages.ui import formatting, resources
from service.intake import FolderNotAllowedError, IntakeResult, warn_of_identifying_names

_POLL_SECONDS = 2
_TABLE_ROWS = 8  # more rows scroll inside the table


@dataclass(slots=True)
class UploadBatch:
    """A batch being stored; it is kept in the session, so that a second click or a rerun does not start another."""

    incoming: Iterator[IntakeResult]
    total: int
    done: list[IntakeResult] = field(default_factory=list)


def ask_to_confirm_number(accession: str, key: str) -> bool:
    """Ask for confirmation if a case number may identify a person; return False until the reader confirms it."""
    reasons = find_identifying_reasons(accession)
    if not reasons:
        return True
    st.warning(
        f"This case number contains {', '.join(reasons)}. All readers will see it, and it cannot be deleted. "
        "Choose a neutral number, or leave the field empty to number the case automatically."
    )
    return st.checkbox("It does not identify anyone: store it unchanged", key=key)


def show_name_warning(names: Sequence[str]) -> None:
    """Show a note if names of files may identify a person."""
    if words := warn_of_identifying_names(names):
        st.caption(formatting.escape(words))


def store_batch() -> None:
    """Store the images of the batch one by one."""
    batch: UploadBatch | None = st.session_state.get("batch")
    if batch is None:
        return
    bar = st.progress(0.0, "Storing images …")
    try:
        for intake in batch.incoming:
            batch.done.append(intake)
            bar.progress(len(batch.done) / batch.total, f"{len(batch.done)} of {batch.total} images stored")
    except (ValueError, FolderNotAllowedError) as error:
        bar.empty()
        st.error(f"Nothing was stored: {formatting.escape(str(error).rstrip('.'))}.")
    else:
        st.session_state["taken"] = batch.done
        # A new key empties the uploader and the case number, so that another click does not store the batch again.
        st.session_state["upload-round"] = st.session_state.get("upload-round", 0) + 1
    del st.session_state["batch"]
    if st.session_state.get("taken") is batch.done:
        st.rerun()


def show_stored_images() -> None:
    """Show the outcome of the last batch, updated until all images are analysed."""
    intakes: list[IntakeResult] = st.session_state.get("taken", [])
    if intakes:
        show_name_warning([intake.name for intake in intakes])
        pending = any(formatting.is_pending((row,)) for row in _load_rows(intakes).values())
        st.fragment(_show_progress, run_every=_POLL_SECONDS if pending else None)(intakes, pending)


def _show_progress(intakes: Sequence[IntakeResult], pending_before: bool) -> None:
    rows = _load_rows(intakes)
    waiting = [row for row in rows.values() if formatting.is_pending((row,))]
    if pending_before and not waiting:
        st.rerun()
    if rows:
        st.progress((len(rows) - len(waiting)) / len(rows), _write_progress(rows, waiting))
    first = next((intake.case_id for intake in intakes if intake.case_id is not None), None)
    if first is not None and st.button("Read this case", type="primary", shortcut="N"):
        st.switch_page("read_case.py", query_params={"case": str(first)})
    with st.container(height=360 if len(intakes) > _TABLE_ROWS else "content", border=False):
        st.table(
            {
                "Image": [formatting.escape(intake.name) for intake in intakes],
                "Size": [f"{intake.width} x {intake.height}" if intake.width else "–" for intake in intakes],
                "Quality": [formatting.escape(_write_quality(intake)) for intake in intakes],
                "State": [formatting.escape(_write_state(intake, rows)) for intake in intakes],
            },
            hide_index=True,
        )


def _load_rows(intakes: Sequence[IntakeResult]) -> dict[int, ImageRow]:
    cases = {intake.case_id for intake in intakes if intake.case_id is not None}
    with resources.sessions().read() as session:
        rows = [row for case_id in cases for row in store.open_case.case_images(session, case_id)]
    mine = {intake.image_id for intake in intakes}
    return {row.id: row for row in rows if row.id in mine}


def _write_progress(rows: dict[int, ImageRow], waiting: Sequence[ImageRow]) -> str:
    left = max((row.seconds_left or 0 for row in waiting), default=0)
    about = f", about {left:.0f} s left" if left >= 1 else ""
    return f"{len(rows) - len(waiting)} of {len(rows)} images ready{about}"


def _write_quality(intake: IntakeResult) -> str:
    if intake.already_in:
        return f"same image as in {intake.already_in}"
    if intake.quality is None:
        return f"x {intake.message}"
    return "; ".join(filter(None, [formatting.quality_words(intake.quality), intake.message]))


def _write_state(intake: IntakeResult, rows: dict[int, ImageRow]) -> str:
    if intake.already_in:
        return "already stored"
    row = rows.get(intake.image_id or 0)
    return formatting.job_words(row) if row else "not stored"
