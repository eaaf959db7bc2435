"""Upload images: they are stored immediately, checked for quality, and analysed in the background."""

from pathlib import Path

import streamlit as st

from db import store
from pages.ui import components, formatting, image_previews, resources, upload_cases
from service.intake import CasePlan, FolderNotAllowedError, add_demo_case, add_folder, add_images, list_folder

_TYPES = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "webp")
_ONE, _EACH = "One case", "One case per image"


def _ask_plan(batch_number: int) -> CasePlan:
    """Ask how the images become cases; the magnification of the last case is suggested."""
    reader = resources.account().id
    with resources.sessions().read() as session:
        remembered = store.cases.remembered_magnification(session, reader)
    left, middle, right = st.columns([1.2, 1.2, 1.4], vertical_alignment="bottom")
    how = right.segmented_control("Create", [_ONE, _EACH], default=_ONE, required=True, key="upload-how")
    accession = left.text_input(
        "Case number",
        placeholder="Automatic (C-0001, …)",
        disabled=how == _EACH,
        max_chars=64,
        key=f"accession-{batch_number}",
    )
    magnification = components.ask_magnification(middle, "upload-magnification", "Choose or type", suggested=remembered)
    own = accession if how == _ONE else None
    return CasePlan(reader, magnification, own, one_case=how == _ONE, card=resources.checkpoint().card)


def _store(batch: upload_cases.UploadBatch | None) -> None:
    if batch is None or batch.total == 0:
        st.error("There is nothing to store. Choose images first.")
    else:
        st.session_state.setdefault("batch", batch)


def _open_folder(plan: CasePlan, folder: Path) -> upload_cases.UploadBatch | None:
    root = resources.settings().import_root
    try:
        total = len(list_folder(folder, root))
    except FolderNotAllowedError as error:
        st.error(formatting.escape(str(error)))
        return None
    return upload_cases.UploadBatch(add_folder(resources.sessions(), resources.files(), plan, folder, root), total)


def _add_demo() -> None:
    with st.spinner("Generating tissue …"):
        case_id = add_demo_case(resources.sessions(), resources.files(), resources.account().id)
    st.switch_page("read_case.py", query_params={"case": str(case_id)})


number = st.session_state.get("upload-round", 0)
plan = _ask_plan(number)
confirmed = upload_cases.ask_to_confirm_number(plan.accession or "", f"confirmed-{number}-{plan.accession}")
uploads = st.file_uploader("PNG, JPEG or TIFF images", type=_TYPES, accept_multiple_files=True, key=f"uploads-{number}")
upload_cases.show_name_warning([upload.name for upload in uploads])
image_previews.show_previews([(upload.name, upload.getvalue()) for upload in uploads])
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
    elif folder:
        _store(_open_folder(plan, Path(folder)))
    else:
        named = [(upload.name, upload.getvalue()) for upload in uploads]
        _store(upload_cases.UploadBatch(add_images(resources.sessions(), resources.files(), plan, named), len(named)))
if demo.button("Create a demo case", width="stretch") or bool(st.query_params.pop("demo", "")):
    _add_demo()
upload_cases.store_batch()
upload_cases.show_stored_images()
