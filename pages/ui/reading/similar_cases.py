"""The signed-off cases of this site that are most like a case, below its tissue once the model's opinion is shown."""

from html import escape

import streamlit as st

from db import store
from db.errors import InStudyError
from db.values.reading import CaseView
from db.values.similar_cases import SimilarCase, SimilarCases
from pages.ui import components, formatting, resources

_WHAT_IT_IS = (
    "The signed-off cases you have finished that are most similar in the model's features; a pathologist may judge "
    "similarity differently. Distance 0 means the same picture"
)
_RECORDED = "similar-cases-recorded"  # session key: cases and readers
_TOO_OLD = "Similar cases are not available: this case was analysed before the program stored image features."


def draw_similar_cases(case: CaseView) -> None:
    """Draw the cases most like one whose model's opinion is shown; nothing if there is nothing to compare."""
    if case.reveal is None:
        return
    reader = resources.account().id
    try:
        found = resources.installation().similar.find(case.id, reader)
    except InStudyError:
        # The case has become part of a study since the page began; the next click says so.
        return
    if found.lacks_embeddings:
        st.caption(_TOO_OLD)
    if not found.cases:
        return
    _record_shown(case.id, reader)
    with st.container(key="similar-cases"):
        st.markdown("##### Similar signed-off cases")
        st.html(f'<div class="similar-cases">{"".join(map(_draw_figure, found.cases))}</div>')
        st.caption(_write_caption(found))


def _record_shown(case_id: int, reader: int) -> None:
    """Record once that they were shown; a page is drawn again at every click, and a writing session blocks others."""
    recorded: set[tuple[int, int]] = st.session_state.setdefault(_RECORDED, set())
    if (case_id, reader) in recorded:
        return
    with resources.sessions().begin() as session:
        store.similar_cases.record_shown(session, case_id, reader)
    recorded.add((case_id, reader))


def _draw_figure(similar: SimilarCase) -> str:
    words = formatting.label_words(similar.label)
    details = [formatting.subtype_words(similar.subtype)] if similar.subtype else []
    details += [similar.magnification] if similar.magnification else []
    lines = "<br>".join(escape(line) for line in (", ".join(details), f"distance {similar.distance:.2f}") if line)
    return (
        f'<figure><a href="images/{similar.image_id}" target="_blank" rel="noopener" title="Open the image">'
        f'<img src="{components.write_thumbnail_address(similar.image_id)}" alt="Image of a similar case"></a>'
        f"<figcaption><b>{escape(words)}</b><br>{lines}</figcaption></figure>"
    )


def _write_caption(found: SimilarCases) -> str:
    typical = (
        f"; half of all images at this site are farther than {found.typical:.2f}" if found.typical is not None else ""
    )
    return f"{_WHAT_IT_IS}{typical}."
