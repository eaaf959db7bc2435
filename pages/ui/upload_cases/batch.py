"""Following a batch of images that the server stores, and the outcome for each of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import streamlit as st

from core.wording import count_words
from db import store
from db.values.reading import ImageRow
from pages.ui import components, formatting, resources, scales
from pages.ui.upload_cases import case_plan, chosen_images
from pages.ui.upload_cases.chosen_images import ChosenFile
from service.batches import Batch, BatchProgress
from service.intake import CasePlan, IntakeResult, Received

_POLL_SECONDS = 2
_LOOK_SECONDS = 0.2  # between two looks at a batch that is being stored
_TABLE_ROWS = 8  # more rows scroll inside the table
# Keys of the session state: the batch it follows, the chosen files in it, and the last outcome.
_BATCH, _SENT, _TAKEN = "batch", "sent", "taken"
FORM = "upload"  # whose fields are empty again after each batch


def store_chosen(plan: CasePlan, images: Sequence[ChosenFile]) -> None:
    """Hand the chosen images to the server, unless this session follows a batch already."""
    if _BATCH not in st.session_state:
        st.session_state[_SENT] = frozenset(images)
    store_batch(plan, [(image.name, image.data) for image in images], len(images))


def store_batch(plan: CasePlan, images: Iterable[Received], received: int) -> None:
    """Hand a batch to the server, unless this session follows one already."""
    if not received:
        st.error("There is nothing to store. Choose images first.")
    elif _BATCH not in st.session_state:
        try:
            st.session_state[_BATCH] = resources.installation().batches.store(plan, images, received)
        except ValueError as error:
            st.error(formatting.escape(f"Nothing was stored: {error}."))


def follow_batch() -> None:
    """Show how far the batch of this session is, or one that this account has left behind, until it has ended."""
    own: Batch | None = st.session_state.get(_BATCH)
    batch = own or resources.installation().batches.unseen(resources.account().id)
    if batch is None:
        return
    bar = st.progress(0.0, "Storing images …")
    while not batch.wait(_LOOK_SECONDS):
        bar.progress(*_write_storing(batch.progress))
    progress = batch.progress
    bar.progress(*_write_storing(progress))
    if not progress.ended:
        _show_stopped(batch, progress)
        return
    bar.empty()
    batch.was_seen = True
    st.session_state.pop(_BATCH, None)
    if progress.refused:
        st.error(formatting.escape(f"Nothing was stored: {progress.refused.rstrip('.')}."))
        return
    st.session_state[_TAKEN] = progress.results
    if own is not None:
        # A new case number, and no chosen files, so that another click does not store the batch again.
        components.empty_form(FORM)
        chosen_images.forget_images(st.session_state.pop(_SENT, frozenset()))
    st.rerun()


def _write_storing(progress: BatchProgress) -> tuple[float, str]:
    words = f"{progress.stored} of {progress.received} images stored"
    if progress.waits_for:
        words += f". Waiting, because {progress.waits_for} …"
    return len(progress.results) / progress.received, words


def _show_stopped(batch: Batch, progress: BatchProgress) -> None:
    left = progress.received - len(progress.results)
    st.warning(
        f"Storing has stopped: {formatting.escape(progress.stopped_by)}. {progress.stored} of {progress.received} "
        f"images are stored; still to be stored: {left:,}. "
        "The case is incomplete until then."
    )
    if st.button("Continue storing", type="primary"):
        batch.start()
        st.rerun()


def show_stored_images() -> None:
    """Show the outcome of the last batch, updated until all images are analysed."""
    intakes: Sequence[IntakeResult] = st.session_state.get(_TAKEN, ())
    if intakes:
        case_plan.show_name_warning([intake.name for intake in intakes])
        _show_not_stored(intakes)
        rows = _load_rows(intakes)
        pending = any(formatting.is_pending((row,)) for row in rows.values())
        st.fragment(_show_progress, run_every=_POLL_SECONDS if pending else None)(intakes, pending)
        _offer_correction(intakes, rows)


def _offer_correction(intakes: Sequence[IntakeResult], rows: Mapping[int, ImageRow]) -> None:
    """Offer to correct the scale of the images that were just stored, until somebody has read them."""
    reader = resources.account().id
    stored = [intake for intake in intakes if intake.case_id is not None and intake.image_id in rows]
    with resources.sessions().read() as session:
        cases = {intake.case_id for intake in stored if intake.case_id is not None}
        unread = {case for case in cases if store.scales.can_set_scale(session, reader, case)}
    # Numbered as in the table above, where each may have a case of its own.
    images = [
        replace(rows[intake.image_id], position=place)
        for place, intake in enumerate(stored, start=1)
        if intake.case_id in unread and intake.image_id is not None
    ]
    if images:
        with st.popover("Set or correct the scale"):
            scales.ask_correction(images, "correct-scale")


def _show_not_stored(intakes: Sequence[IntakeResult]) -> None:
    names = [intake.name for intake in intakes if intake.image_id is None and not intake.already_in]
    if names:
        count = f"{len(names)} of {count_words(len(intakes), 'file')}"
        named = formatting.escape(", ".join(names))
        st.warning(f"{count} {'was' if len(names) == 1 else 'were'} not stored: {named}. The table says why.")


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
    if first is not None:
        st.caption(
            "Until somebody opens the case, you can add images or change their order with *Add to a case* above."
        )
    with st.container(height=360 if len(intakes) > _TABLE_ROWS else "content", border=False):
        st.table(
            {
                "Image": [formatting.escape(intake.name) for intake in intakes],
                "Size": [f"{intake.width} x {intake.height}" if intake.width else "–" for intake in intakes],
                "Scale": [formatting.escape(_write_scale(intake, rows)) for intake in intakes],
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


def _write_scale(intake: IntakeResult, rows: Mapping[int, ImageRow]) -> str:
    row = rows.get(intake.image_id or 0)
    return scales.write_scale(row.scale) if row else "–"


def _write_quality(intake: IntakeResult) -> str:
    if intake.already_in:
        return f"same image as in {intake.already_in}"
    if intake.quality is None:
        return f"x {intake.message}"
    return formatting.quality_words(intake.quality)


def _write_state(intake: IntakeResult, rows: dict[int, ImageRow]) -> str:
    if intake.already_in:
        return "already stored"
    row = rows.get(intake.image_id or 0)
    return formatting.job_words(row) if row else "not stored"
