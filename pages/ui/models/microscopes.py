"""Draw the microscope profiles of the site: the width of a pixel for each objective, which an administrator keeps."""

from collections.abc import Sequence

import streamlit as st

from db import store
from db.errors import NotAllowedError
from db.values.accounts import Permission
from db.values.scales import Objective
from pages.ui import components, formatting, resources

_FORM = "microscopes"
_EXPLANATION = (
    "Readers choose an objective if the file of an image does not state its scale. For example, the pixels of "
    "BreaKHis are 0.49, 0.20, 0.10 and 0.05 µm wide at 40X, 100X, 200X and 400X; its 40X is a 4x objective with a 10x "
    "eyepiece. The width depends on the camera and its adapter too: measure it once with a stage micrometer."
)


def draw_microscopes() -> None:
    """Draw all objectives and, for an administrator, the forms that change them."""
    with resources.sessions().read() as session:
        objectives = store.scales.objectives(session, resources.account().id)
    st.caption(_EXPLANATION)
    if objectives:
        st.dataframe(
            {
                "Microscope": [one.microscope for one in objectives],
                "Objective": [one.objective for one in objectives],
                "µm per pixel": [one.um_per_px for one in objectives],
            },
            hide_index=True,
            height=components.table_height(len(objectives)),
        )
    else:
        st.markdown("No microscope has been entered.")
    if resources.may(Permission.ADMINISTER):
        left, right = st.columns([1.6, 1], gap="medium")
        with left:
            _ask_objective()
        with right:
            _ask_withdrawal(objectives)


def _ask_objective() -> None:
    number = components.form_number(_FORM)
    with st.form(f"objective-{number}"):
        st.markdown("**Enter or correct an objective** – images already stored keep their scale")
        name, objective, width = st.columns([1.6, 1, 1])
        microscope = name.text_input("Microscope", max_chars=100, autocomplete="off", key=f"microscope-{number}")
        lens = objective.text_input("Objective", max_chars=32, placeholder="10x", key=f"lens-{number}")
        um_per_px = width.number_input(
            "µm per pixel", value=None, min_value=0.05, max_value=5.0, format="%.4f", key=f"um-{number}"
        )
        if st.form_submit_button("Record objective", type="primary"):
            if um_per_px is None:
                st.error("Enter how many micrometres wide a pixel is.")
                return
            _record(microscope, lens, um_per_px, "The objective is recorded.")


def _ask_withdrawal(objectives: Sequence[Objective]) -> None:
    with st.form("withdraw-objective"):
        st.markdown("**Withdraw an objective** – it is no longer offered")
        one = st.selectbox("Objective", objectives, format_func=lambda one: one.name, index=None, key="withdrawn-lens")
        if st.form_submit_button("Withdraw objective") and one is not None:
            _record(one.microscope, one.objective, None, "The objective is withdrawn.")


def _record(microscope: str, objective: str, um_per_px: float | None, done: str) -> None:
    try:
        with resources.sessions().begin() as session:
            store.scales.set_objective(session, resources.account().id, microscope, objective, um_per_px)
    except (ValueError, NotAllowedError) as error:
        st.error(formatting.escape(f"Not recorded: {str(error).rstrip('.')}."))
        return
    components.empty_form(_FORM)
    components.announce(done)
