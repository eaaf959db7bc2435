"""The tissue of a case in the viewer, with the marks of the open form, of saved reads or of other readers."""

from collections.abc import Sequence

import streamlit as st

from db.values.reading import CaseView, ImageRow, Region, RevealedImage
from pages.ui import formatting, resources
from pages.ui.reading import drafts, edit_time
from pages.ui.reading.mode import ReadingMode
from pages.ui.reading.read_form import ReadForm
from pages.ui.viewer import HeatmapLayer, Marked, OthersMarks, Scene, Sheet, ViewedImage, view_image

_HEIGHT = 640  # px; with the header it fills a screen of 800


def find_open_form(case: CaseView, mode: ReadingMode) -> ReadForm | None:
    """Return the form of a case that takes marks now; None where all is saved."""
    if case.first_read is None:
        return mode.first_form
    if case.final_read is None:
        return mode.final_form
    amendment = ReadForm.amendment(case.id, case.final_read.id)
    return amendment if amendment.is_amending else None


def list_saved_marks(case: CaseView) -> tuple[Region, ...]:
    """Return the marks of one's last read of a case; a further read begins with copies of them."""
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
) -> None:
    """Show the images; marks go to `form`, which begins with those of `before`, or are only shown where it is None.

    What this session or this tab of the browser still has of `overtaken` forms, which another window saved, is added.

    `others` is for adjudication alone: nobody sees another reader's marks before their own first read.
    """
    unsaved = tuple(each for each in overtaken if not each.is_saved)
    begun = tuple(dict.fromkeys([*before, *(region for each in unsaved for region in each.marks)]))
    regions = form.begin_marks(begun) if form else before
    owner, session = resources.account().id, drafts.name_server_session()
    names = tuple(each.key for each in unsaved)
    sheet = Sheet(form.key if form else "", regions, form is not None, owner, session, names)
    view_image(images, key=key, height=_HEIGHT, scene=Scene(sheet, others, _keep))


def _keep(now: Marked) -> None:
    form = ReadForm(now.form)
    form.mark(now.regions)
    edit_time.count(form)


def viewed_images(case: CaseView) -> list[ViewedImage]:
    """List the images in the order of the case."""
    revealed = {image.image_id: image for image in case.reveal.images} if case.reveal else {}
    return [_viewed(image, len(case.images), revealed.get(image.id)) for image in case.images]


def _viewed(image: ImageRow, images: int, revealed: RevealedImage | None) -> ViewedImage:
    return ViewedImage(
        image_id=image.id,
        image_url=f"/images/{image.id}",
        thumbnail_url=f"/images/{image.id}/thumbnail",
        width=image.width,
        height=image.height,
        label=f"image {image.position} of {images}",
        caption=_caption(image),
        heatmap=_layer(revealed) if revealed else None,
    )


def _caption(image: ImageRow) -> str:
    # Why there is no result never holds the model's opinion, so it may be told before the first read.
    known = {finding.message for finding in image.quality.findings}
    why = f"; no result: {image.job_message}" if image.job_message and image.job_message not in known else ""
    return formatting.quality_words(image.quality) + why


def _layer(revealed: RevealedImage) -> HeatmapLayer | None:
    if revealed.heatmap_low is None or revealed.heatmap_high is None:
        return None
    return HeatmapLayer(
        url=f"/images/{revealed.image_id}/heatmap", low=revealed.heatmap_low, high=revealed.heatmap_high
    )
