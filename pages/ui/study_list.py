"""The studies with the progress of their readers, and the button that closes one."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.errors import CaseChangedError
from db.study_values import StudyRow
from pages.ui import components, panels, reads_export, resources


def show(studies: Sequence[StudyRow]) -> None:
    """Draw all studies, the newest first."""
    if not studies:
        st.markdown("There is no study yet.")
    for study in studies:
        state = f"closed on {panels.day_and_clock(study.closed_at)}" if study.closed_at else "open"
        with st.expander(f"**{panels.plain(study.name)}** · {state} · {study.done} of {study.total} read"):
            _details(study)


def _details(study: StudyRow) -> None:
    said = [
        f"made by {panels.plain(study.created_by)} on {panels.day_and_clock(study.created_at)}",
        f"seed {study.seed}",
        f"washout {study.washout_days:g} days",
        "counterbalanced" if study.counterbalanced else "the same arms for everyone",
    ]
    st.caption(" · ".join(said))
    st.dataframe(
        {
            "reader": [part.reader for part in study.progress],
            "round": [part.round for part in study.progress],
            "arm": [str(part.arm) for part in study.progress],
            "read": [part.done for part in study.progress],
            "of": [part.of for part in study.progress],
            "progress": [part.done / part.of for part in study.progress],
        },
        column_config={"progress": st.column_config.ProgressColumn(format="percent")},
        hide_index=True,
    )
    with st.container(horizontal=True, key=f"study-actions-{study.id}"):
        reads_export.study_exports(study.id)
        if study.closed_at is None:
            _close(study)


def _close(study: StudyRow) -> None:
    with st.popover("Close the study"):
        left = study.total - study.done
        st.markdown(
            f"{left} of {study.total} readings are missing. " * bool(left)
            + "Nothing more is read in it, its cases come back to the worklist, and it cannot be opened again."
        )
        if not st.button("Yes, close it", key=f"close-{study.id}", type="primary"):
            return
        by = resources.account().id
        try:
            with resources.sessions().begin() as session:
                store.close_study(session, by, study.id)
        except CaseChangedError as error:
            st.error(panels.plain(str(error)))
            return
    components.announce(f"The study {panels.plain(study.name)} is closed.")
