"""The tissue of a case in the viewer, with the marks of the open form, of saved reads and of other readers."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.imaging.scale import Scale
from core.results import ScopeLevel
from db.values.reading import CaseView, ImageRow, Region, RevealedImage, RevealedScope
from db.values.scales import ChosenScale
from pages.ui import formatting, resources, scales
from pages.ui.reading import drafts, edit_time
from pages.ui.reading.form_state import ReadForm
from pages.ui.reading.mode import ReadingMode
from pages.ui.viewer import (
    FormMarks,
    HeatmapLayer,
    KnownLength,
    MarkSheet,
    OthersMarks,
    Scene,
    ViewedImage,
    draw_viewer,
)

_SCALED = "scale-was-set"  # key of the session state
# What the line below an image adds once the model is shown.
_SCOPES: dict[ScopeLevel, str] = {
    "in": "",
    "unusual": "; ! unusual for the model",
    "out": "; ! no model opinion",
}
_HEIGHT = 640  # px; with the header it fills a screen of 800


def find_open_form(case: CaseView, mode: ReadingMode) -> ReadForm | None:
    """Return the form that takes marks now; None if the case is read and not being amended."""
    if case.first_read is None:
        return mode.first_form
    if case.final_read is None:
        return mode.final_form
    amendment = ReadForm.amendment(case.id, case.final_read.id)
    return amendment if amendment.is_amending else None


def list_saved_marks(case: CaseView) -> tuple[Region, ...]:
    """Return the marks of this reader's last read of a case; the next read starts with copies of them."""
    last = case.final_read or case.first_read
    return last.opinion.regions if last else ()


@st.fragment
def draw_tissue(
    images: Sequence[ViewedImage],
    *,
    key: str,
    form: ReadForm | None,
    before: tuple[Region, ...] = (),
    overtaken: tuple[ReadForm, ...] = (),
    others: tuple[OthersMarks, ...] = (),
    unread: Sequence[ImageRow] = (),
) -> None:
    """Draw the images with their marks.

    Args:
        images: The images of the case, in order.
        key: Names this viewer among the elements of the page.
        form: Receives the marks; without a form they can only be viewed.
        before: The marks the form starts with.
        overtaken: Forms that another window has saved; unsaved marks of theirs in this session or browser tab are
            added to those of `form`.
        others: The marks of other readers, for adjudication only: a reader sees none before their own first read.
        unread: The images whose scale a line of known length can set, because nobody has read them.
    """
    if st.session_state.pop(_SCALED, False):
        st.rerun()  # the whole page: the images that were passed have the scale that was corrected
    unsaved = tuple(each for each in overtaken if not each.is_saved)
    initial = tuple(dict.fromkeys([*before, *(region for each in unsaved for region in each.marks)]))
    regions = form.begin_marks(initial) if form else before
    owner, session = resources.account().id, drafts.name_server_session()
    names = tuple(each.key for each in unsaved)
    sheet = MarkSheet(form.key if form else "", regions, form is not None, owner, session, names)
    scene = Scene(sheet, others, _store_marks, partial(_store_scale, unread) if unread else None)
    draw_viewer(images, key=key, height=_HEIGHT, scene=scene)


def _store_scale(unread: Sequence[ImageRow], known: KnownLength) -> None:
    try:
        chosen = ChosenScale(Scale(known.um_per_px, "ruler"))
        why = scales.record_scale([image for image in unread if image.id == known.image_id], chosen)
    except ValueError as error:
        why = f"Not recorded: {error}."
    if why:
        st.toast(formatting.escape(why), duration="long")
    else:
        st.session_state[_SCALED] = True


def _store_marks(marks: FormMarks) -> None:
    form = ReadForm(marks.form)
    form.mark(marks.regions)
    edit_time.add_edit_time(form)


def list_viewed_images(case: CaseView) -> list[ViewedImage]:
    """Return the images in the order of the case, with their maps once those are revealed."""
    revealed = {image.image_id: image for image in case.reveal.images} if case.reveal else {}
    scopes = {one.image_id: one for one in case.scopes}
    return [_view(i, len(case.images), revealed.get(i.id), scopes.get(i.id)) for i in case.images]


def _view(image: ImageRow, images: int, revealed: RevealedImage | None, scope: RevealedScope | None) -> ViewedImage:
    return ViewedImage(
        image_id=image.id,
        image_url=f"/images/{image.id}",
        thumbnail_url=f"/images/{image.id}/thumbnail",
        width=image.width,
        height=image.height,
        label=f"Image {image.position} of {images}",
        caption=_write_caption(image) + (_SCOPES[scope.scope.level] if scope else ""),
        heatmap=_make_layer(revealed) if revealed else None,
        scope_map_url=f"/images/{image.id}/scope-map" if scope and scope.has_map else None,
        um_per_px=image.scale.um_per_px if image.scale else None,
        scale_words=scales.write_scale(image.scale),
        scale_is_measured=image.scale is not None and image.scale.source == "ruler",
    )


def _write_caption(image: ImageRow) -> str:
    # The reason for a missing result never contains the model's opinion, so it may be shown before the first read.
    known = {finding.message for finding in image.quality.findings}
    why = f"; no result: {image.job_message}" if image.job_message and image.job_message not in known else ""
    return formatting.quality_words(image.quality) + why


def _make_layer(revealed: RevealedImage) -> HeatmapLayer | None:
    if revealed.heatmap_low is None or revealed.heatmap_high is None:
        return None
    return HeatmapLayer(
        url=f"/images/{revealed.image_id}/heatmap", low=revealed.heatmap_low, high=revealed.heatmap_high
    )
