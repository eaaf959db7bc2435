"""Intakes that were interrupted: what is missing of them, and how they are completed."""

import streamlit as st

from core.wording import count_words
from db import store
from db.values.intakes import OpenIntake, write_positions
from pages.ui import components, formatting, resources, times


def list_interrupted() -> list[OpenIntake]:
    """Return the intakes of this account, or of all for a planner, that this server is not storing."""
    by, running = resources.account().id, resources.installation().batches.running_intakes()
    with resources.sessions().read() as session:
        found = store.intakes.open_intakes(session, by)
    return [intake for intake in found if intake.id not in running]


def draw_interrupted(intake: OpenIntake, *, whose: str = "") -> None:
    """Show what is missing of an intake, and offer to complete it; `whose` says who can add the missing images."""
    missing = write_positions(intake.missing)
    images = "image" if len(intake.missing) == 1 else "images"
    what = f"{images} {missing} of {intake.received}, in upload order" if missing else ""
    when = times.format_date_time(intake.begun_at)
    with st.container(border=True, key=f"intake-{intake.id}"):
        if intake.case_id is None:
            st.markdown(
                f"The upload of {when} (one case per image) was interrupted. Not stored: {what or 'nothing'}. "
                "Choose its files again: those already stored are recognised."
            )
            label = "Dismiss"
        else:
            case = formatting.escape(intake.accession or "")
            st.markdown(
                f"Case **{case}** is incomplete: storing its images was interrupted on {when}. "
                f"Missing: {what or 'nothing'}. Nobody can read the case until it is complete. {whose}"
            )
            label = f"Complete the case with the {count_words(intake.stored, 'image')} already stored"
        if st.button(label, key=f"end-intake-{intake.id}"):
            _end(intake)


def _end(intake: OpenIntake) -> None:
    with resources.sessions().begin() as session:
        store.intakes.end_intake(session, resources.account().id, intake.id)
    name = formatting.escape(intake.accession or "The batch")
    components.announce(f"{name} is complete." if intake.case_id else "Dismissed.")
