"""What is asked before images are stored: names that may identify a person, and the case that images join."""

from collections.abc import Sequence

import streamlit as st

from core.reading.identifying_words import find_identifying_reasons
from db import store
from db.errors import CaseChangedError
from db.values.intakes import OwnCase
from pages.ui import components, formatting, resources
from pages.ui.upload_cases import image_order
from service.intake import warn_of_identifying_names

_THUMBNAIL_ROWS = 5  # more rows scroll inside the table


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


def list_own_cases() -> list[OwnCase]:
    """Return the cases of this account whose images can still be changed."""
    with resources.sessions().read() as session:
        return store.intakes.own_cases(session, resources.account().id)


def ask_order(case: OwnCase) -> None:
    """Show the images of a case that nobody has opened, and let its uploader change their order."""
    names = [f"image {place}" for place in range(1, len(case.images) + 1)]
    with st.expander(f"Images of {formatting.escape(case.accession)} in their order"):
        st.dataframe(
            {"Image": names, "Tissue": [components.write_thumbnail_address(image_id) for image_id in case.images]},
            column_config={"Tissue": st.column_config.ImageColumn(width="medium")},
            row_height=72,
            height=components.table_height(2 * min(len(names), _THUMBNAIL_ROWS)),
            hide_index=True,
            key=f"images-{case.id}",
        )
        if (moved := image_order.ask_move(names, f"move-stored-{case.id}")) is not None:
            _order(case, image_order.move(case.images, *moved))


def _order(case: OwnCase, images: Sequence[int]) -> None:
    try:
        with resources.sessions().begin() as session:
            store.intakes.order_images(session, resources.account().id, case.id, images)
    except (CaseChangedError, ValueError) as error:
        st.error(formatting.escape(f"Not changed: {error}."))
        return
    components.announce("The images are in the new order.")
