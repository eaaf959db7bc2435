"""The images of a case as the viewer takes them: with heat maps only after the reveal."""

from db.values import CaseView, ImageRow, RevealedImage
from pages.ui import panels
from pages.ui.viewer import HeatmapLayer, ViewedImage


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
    return panels.quality_words(image.quality) + why


def _layer(revealed: RevealedImage) -> HeatmapLayer | None:
    if revealed.heatmap_low is None or revealed.heatmap_high is None:
        return None
    return HeatmapLayer(
        url=f"/images/{revealed.image_id}/heatmap", low=revealed.heatmap_low, high=revealed.heatmap_high
    )
