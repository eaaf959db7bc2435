"""Thumbnails of images that were chosen and not stored yet, and what happens to them next."""

import base64
from collections.abc import Sequence
from html import escape

import streamlit as st

from core.wording import count_words
from pages.ui import resources

_SHOWN = 12  # of more images, only their number is shown


def show_previews(images: Sequence[tuple[str, bytes]]) -> None:
    """Show the first of the chosen images, given by name and content, and say what happens when they are stored."""
    if not images:
        return
    figures = "".join(_draw_figure(name, data) for name, data in images[:_SHOWN])
    more = len(images) - _SHOWN
    rest = f"<p>and {more:,} more</p>" if more > 0 else ""
    st.html(f'<div class="image-previews">{figures}{rest}</div>')
    st.caption(
        f"Next, the server stores {count_words(len(images), 'image')} without file names or metadata, checks the "
        "quality, and starts the analysis in the background. You can leave this page in the meantime."
    )


def _draw_figure(name: str, data: bytes) -> str:
    preview = resources.preview_upload(data)
    words = escape(name)
    if preview.thumbnail is None:
        return f"<figure><p>! {escape(preview.problem)}</p><figcaption>{words}</figcaption></figure>"
    source = base64.b64encode(preview.thumbnail).decode()
    return f'<figure><img src="data:image/png;base64,{source}" alt=""><figcaption>{words}</figcaption></figure>'
