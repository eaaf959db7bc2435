"""Upload images: the server stores them, checks their quality, and analyses them in the background."""

from pathlib import Path

import streamlit as st

from db import store
from db.values.intakes import OwnCase
from pages.ui import components, formatting, intakes, resources, scales
from pages.ui.upload_cases import batch, case_plan, chosen_images, previews
from service.intake import CasePlan, FolderNotAllowedError, add_demo_case, list_folder, read_folder

_SCALE = "Scale, if the file has none"
_ONE, _EACH, _JOIN = "One case", "One case per image", "Add to a case"


def _ask_plan(batch_number: int) -> CasePlan | None:
    """Ask how the images become cases; None while no case is chosen that they join."""
    left, middle, scale, right = st.columns([1.1, 0.9, 1.2, 1.5], vertical_alignment="bottom")
    how = right.segmented_control(
        "Create", [_ONE, _EACH, _JOIN], default=_ONE, required=True, key="upload-how", persist_state="session"
    )
    reader, card = resources.account().id, resources.checkpoint().card
    if how == _JOIN:
        case = left.selectbox(
            "Case that nobody has opened", case_plan.list_own_cases(), format_func=_write_case, key="upload-join"
        )
        if case is None:
            return None
        chosen = scales.ask_scale(scale, _SCALE, "upload-scale", kept=True)
        case_plan.ask_order(case)
        return CasePlan(reader, None, case_id=case.id, card=card, scale=chosen)
    with resources.sessions().read() as session:
        remembered = store.cases.remembered_magnification(session, reader)
    accession = left.text_input(
        "Case number",
        placeholder="Automatic (C-0001, …)",
        disabled=how == _EACH,
        max_chars=64,
        key=f"accession-{batch_number}",
        persist_state="session",
    )
    magnification = components.ask_magnification(middle, "upload-magnification", "Choose or type", suggested=remembered)
    chosen = scales.ask_scale(scale, _SCALE, "upload-scale", kept=True)
    own = accession if how == _ONE else None
    return CasePlan(reader, magnification, own, one_case=how == _ONE, card=card, scale=chosen)


def _write_case(case: OwnCase) -> str:
    return f"{case.accession} ({len(case.images)})"


def _store(plan: CasePlan | None, folder: str, images: list[chosen_images.ChosenFile]) -> None:
    if plan is None:
        st.error("You have no unopened case to add images to. Nothing has been stored.")
    elif folder:
        root = resources.settings().import_root
        try:
            batch.store_batch(plan, read_folder(Path(folder), root), len(list_folder(Path(folder), root)))
        except FolderNotAllowedError as error:
            st.error(formatting.escape(str(error)))
    else:
        batch.store_chosen(plan, images)


def _add_demo() -> None:
    with st.spinner("Generating tissue …"):
        case_id = add_demo_case(resources.sessions(), resources.files(), resources.account().id)
    st.switch_page("read_case.py", query_params={"case": str(case_id)})


components.show_announcement()
for intake in intakes.list_interrupted():
    intakes.draw_interrupted(intake, whose="Add the missing images to it here, or complete it without them.")
number = components.form_number(batch.FORM)
plan = _ask_plan(number)
accession = (plan and plan.accession) or ""
confirmed = case_plan.ask_to_confirm_number(accession, f"confirmed-{number}-{accession}")
images = chosen_images.ask_images()
case_plan.show_name_warning([image.name for image in images])
previews.show_previews([(image.name, image.data) for image in images])
import_root = resources.settings().import_root
folder = (
    st.text_input(f"Or a folder in {formatting.escape(str(import_root))}", key=f"folder-{number}").strip()
    if import_root
    else ""
)
save, demo, _ = st.columns([1.4, 1.4, 3])
if save.button("Store images", type="primary", width="stretch"):
    if not confirmed:
        st.error("Nothing has been stored. Choose another case number, or confirm this one.")
    else:
        _store(plan, folder, images)
if demo.button("Create a demo case", width="stretch") or bool(st.query_params.pop("demo", "")):
    _add_demo()
batch.follow_batch()
batch.show_stored_images()
