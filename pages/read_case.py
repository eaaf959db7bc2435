"""Read one case: a blind first opinion, the reveal and the final opinion beside the tissue."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.errors import CaseChangedError, IncompleteCaseError, InStudyError, UnknownCaseError
from db.values.reading import CaseState, CaseView, Read
from pages.ui import components, formatting, meet_model, resources, times
from pages.ui.reading import forms, header, inputs, sign_off, similar_cases, tissue
from pages.ui.reading.form_state import ReadForm
from pages.ui.reading.mode import make_routine_mode

_READING = "reading"  # the last case of this session


def _chosen_case() -> int | None:
    """Return the case in the address, else the last case of this session, else the next waiting case."""
    chosen = components.number_in_address("case")
    if chosen is not None:
        return chosen
    if _READING in st.session_state:
        return int(st.session_state[_READING])
    reader = resources.account().id
    with resources.sessions().read() as session:
        return store.worklist.find_next_case(session, reader)


def _draw_opinion(case: CaseView, reads: Sequence[Read]) -> None:
    mode = make_routine_mode(case)
    if sign_off.show_why_no_opinion(case):
        return
    if case.first_read is None:
        forms.ask_first_opinion(mode)
        return
    forms.show_unsaved_opinions(case, mode, reads)
    if case.unmet is not None:
        meet_model.ask_before_reveal(case.unmet)
    elif case.final_read is not None:
        forms.show_saved_opinion(case, reads)
    elif forms.must_wait_for_model(case):
        forms.show_wait_for_model(case)
    else:
        forms.ask_final_opinion(case, case.first_read, mode)


def _draw_tissue(case: CaseView, *, can_set_scale: bool) -> None:
    mode = make_routine_mode(case)
    saved = {mode.first_form: case.first_read, mode.final_form: case.final_read}
    tissue.draw_tissue(
        tissue.list_viewed_images(case),
        key=f"viewer-{case.id}",
        form=tissue.find_open_form(case, mode),
        before=tissue.list_saved_marks(case),
        overtaken=tuple(form for form, read in saved.items() if read),
        unread=case.images if can_set_scale else (),
    )


def _show_nothing_to_read(message: str) -> None:
    st.subheader(formatting.escape(message))
    st.markdown("Choose a case in the worklist or upload images.")
    st.page_link("worklist.py", label="Worklist")
    st.page_link("upload_cases.py", label="Upload cases")


def _show_in_study(case_id: int, reason: str) -> None:
    st.subheader("This case belongs to a study")
    st.markdown(f"{formatting.escape(reason[:1].upper() + reason[1:].rstrip('.'))}.")
    reading = str(case_id)  # the key of its forms in routine reading
    inputs.show_unsaved(ReadForm.first(reading), ReadForm.final(reading))
    st.page_link("read_study.py", label="Study")
    st.page_link("worklist.py", label="Worklist")


def _show_incomplete(reason: str) -> None:
    st.subheader("This case is incomplete")
    st.markdown(
        f"{formatting.escape(reason[:1].upper() + reason[1:])}. It can be read as soon as it is complete. Its uploader "
        "can add the missing images on the Upload cases page; an administrator can complete it without them."
    )
    st.page_link("worklist.py", label="Worklist")
    st.page_link("upload_cases.py", label="Upload cases")


def _draw_case(case_id: int) -> None:
    reader = resources.account().id
    try:
        with resources.sessions().read() as session:
            case = store.open_case.case_view(session, case_id, reader, met_only=True)
            reads = store.reads.own_reads(session, reader, case_id=case_id)
            counts = store.worklist.state_counts(session, reader)
            can_set_scale = store.scales.can_set_scale(session, reader, case_id)
        # A separate session: while one session writes, all others wait.
        with resources.sessions().begin() as session:
            case = store.open_case.record_opened(session, case, reader)
    except UnknownCaseError:
        st.session_state.pop(_READING, None)
        _show_nothing_to_read("Case not found")
        return
    except InStudyError as error:
        st.session_state.pop(_READING, None)
        _show_in_study(case_id, times.localise_message(str(error)))
        return
    except IncompleteCaseError as error:
        st.session_state.pop(_READING, None)
        _show_incomplete(str(error))
        return
    except CaseChangedError:
        # Images joined it, or changed places, between looking at it and opening it.
        st.rerun()
    st.session_state[_READING] = case_id
    if st.query_params.get("case") != str(case_id):
        st.query_params["case"] = str(case_id)
    components.show_announcement(briefly=True)
    header.draw_routine_header(case, counts.get(CaseState.READY, 0), can_set_scale=can_set_scale)
    left, right = st.columns([3, 1.15], gap="small", wrap=False)
    with left:
        _draw_tissue(case, can_set_scale=can_set_scale)
        similar_cases.draw_similar_cases(case)
    with right, st.container(key="opinion"):
        _draw_opinion(case, reads)


chosen = _chosen_case()
if chosen is None:
    _show_nothing_to_read("No cases are waiting for you")
else:
    _draw_case(chosen)
