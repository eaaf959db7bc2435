"""The files that were chosen and not stored yet: they stay, in their order, while the reader visits other pages."""

from collections.abc import Collection
from dataclasses import dataclass, field

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from core.natural_order import make_natural_key
from pages.ui import formatting
from pages.ui.upload_cases import image_order

_CHOSEN = "chosen-images"  # key of the session state
_TABLE_ROWS = 6  # more rows scroll inside the table


@dataclass(frozen=True, slots=True)
class ChosenFile:
    """One file that was chosen: its name and content."""

    name: str
    data: bytes = field(repr=False)


@dataclass(slots=True)
class _Choice:
    """The chosen files of a session; `round` numbers the uploader, which is empty and new after each choice."""

    images: list[ChosenFile] = field(default_factory=list)
    was_moved: bool = False
    round: int = 0


def ask_images() -> list[ChosenFile]:
    """Ask for files, and return all that were chosen so far, in natural order unless the reader has moved one."""
    choice = _choice()
    key = f"uploads-{choice.round}"
    # Any name is taken: what a file is, its content tells, and a refusal there says why.
    st.file_uploader("PNG, JPEG or TIFF images", accept_multiple_files=True, key=key, on_change=_keep, args=(key,))
    if choice.images:
        _draw(choice)
    return list(choice.images)


def forget_images(stored: Collection[ChosenFile]) -> None:
    """Forget the files that were handed over to be stored; what was chosen since then stays."""
    choice = _choice()
    left = [image for image in choice.images if image not in stored]
    st.session_state[_CHOSEN] = _Choice(left, choice.was_moved and bool(left), choice.round + 1)


def _choice() -> _Choice:
    choice: _Choice = st.session_state.setdefault(_CHOSEN, _Choice())
    return choice


def _keep(key: str) -> None:
    """Move the files from the uploader, which forgets them when the page is left, into the session."""
    uploads: list[UploadedFile] = st.session_state[key] or []
    choice = _choice()
    new = sorted((ChosenFile(one.name, one.getvalue()) for one in uploads), key=lambda one: make_natural_key(one.name))
    choice.images = list(dict.fromkeys([*choice.images, *new]))
    if not choice.was_moved:
        choice.images.sort(key=lambda one: make_natural_key(one.name))
    choice.round += bool(uploads)


def _draw(choice: _Choice) -> None:
    names = [image.name for image in choice.images]
    with st.container(height=260 if len(names) > _TABLE_ROWS else "content", border=False, key="chosen"):
        st.table(
            {
                "Place": list(range(1, len(names) + 1)),
                "Chosen": [formatting.escape(name) for name in names],
                "Size": [f"{len(image.data) / 1e6:.1f} MB" for image in choice.images],
            },
            hide_index=True,
        )
    with st.expander("Change the order, or leave files out"):
        if (moved := image_order.ask_move(names, f"move-chosen-{choice.round}")) is not None:
            choice.images, choice.was_moved = image_order.move(choice.images, *moved), True
            st.rerun()
        left_out = st.multiselect("Leave out", range(len(names)), format_func=names.__getitem__, key=_leave_key(choice))
        if st.button("Leave these out", disabled=not left_out):
            choice.images = [image for place, image in enumerate(choice.images) if place not in left_out]
            choice.round += 1
            st.rerun()


def _leave_key(choice: _Choice) -> str:
    return f"leave-out-{choice.round}"
