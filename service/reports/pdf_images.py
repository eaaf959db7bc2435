"""The images of a PDF report: the first ones large beside their heat maps, others small, and how many are left out."""

from collections.abc import Sequence

from core.results import Prediction
from db.export_values import CaseExport, ExportedImage, ExportedMap
from db.files import DamagedFileError, Files
from db.reading_values import Region
from service.reports import pictures
from service.reports.sheet import WIDTH, Sheet

LARGE = 6  # images that stand beside their map
SMALL = 24  # more of them, without a map
_LARGE_SIDE, _SMALL_SIDE = 900, 300  # px
_GAP = 4.0  # mm
_IN_A_ROW = 4
_HIGHEST = 95.0  # mm, of a large image
_BAR = 3.0  # mm
_LINE = 4.0  # mm

Named = tuple[str, int, Region]  # short name, image, region


def draw_images(sheet: Sheet, found: CaseExport, files: Files, regions: Sequence[Named]) -> None:
    """Draw the images of a case in their order."""
    images, maps = found.case.images, {one.image_id: one for one in found.maps}
    opinions = {one.image_id: one.prediction for one in found.reveal.images} if found.reveal else {}
    sheet.words(
        "Numbers on an image: read and region. Maps: evidence for malignant in logits, each in the colours of its own "
        "range. The map is of the model's result as it is now.",
        size=8,
    )
    for image in images[:LARGE]:
        marked = [(name, region) for name, image_id, region in regions if image_id == image.id]
        _draw_large(sheet, files, (image, maps.get(image.id)), _caption(image, opinions.get(image.id)), marked)
    small = images[LARGE : LARGE + SMALL]
    for first in range(0, len(small), _IN_A_ROW):
        _draw_row(sheet, files, small[first : first + _IN_A_ROW])
    left = len(images) - LARGE - SMALL
    if left > 0:
        sheet.words(f"{left} more images are not drawn: a report has room for {LARGE + SMALL}.", bold=True)


def _caption(image: ExportedImage, opinion: Prediction | None) -> str:
    size = f"Image {image.position}, {image.width} x {image.height} px"
    if opinion is None:
        return f"{size}. The model has no result for it."
    return f"{size}. Model: {opinion.malignancy}, {opinion.malignant_probability:.2f}."


def _draw_large(
    sheet: Sheet,
    files: Files,
    of: tuple[ExportedImage, ExportedMap | None],
    caption: str,
    marked: Sequence[tuple[str, Region]],
) -> None:
    image, heatmap = of
    width = (WIDTH - _GAP) / 2
    width = min(width, _HIGHEST * image.width / image.height)
    height = width * image.height / image.width
    if sheet.will_page_break(height + _BAR + 3 * _LINE):
        sheet.add_page()
    sheet.words(caption, size=8)
    top, left = sheet.get_y() + 1, sheet.l_margin
    right = left + (WIDTH + _GAP) / 2
    try:
        sheet.picture(pictures.picture_of(files, image, _LARGE_SIDE, marked), left, top, (width, height))
        if heatmap is not None:
            sheet.picture(pictures.map_picture(files, image, heatmap, _LARGE_SIDE), right, top, (width, height))
            _draw_bar(sheet, heatmap, (right, top + height + 1), width)
    except (DamagedFileError, ValueError) as error:
        sheet.words(f"It cannot be drawn: {error}.", size=8)
        return
    sheet.set_xy(left, top + height + _BAR + _LINE + 2)


def _draw_bar(sheet: Sheet, heatmap: ExportedMap, place: tuple[float, float], width: float) -> None:
    x, y = place
    sheet.picture(pictures.colours(), x, y, (width, _BAR))
    sheet.set_xy(x, y + _BAR)
    sheet.set_font(size=7)
    sheet.cell(width / 2, _LINE, f"{heatmap.low:.2f} logits")
    sheet.cell(width / 2, _LINE, f"{heatmap.high:.2f} logits", align="R")
    sheet.set_font(size=9)


def _draw_row(sheet: Sheet, files: Files, row: Sequence[ExportedImage]) -> None:
    width = (WIDTH - (_IN_A_ROW - 1) * _GAP) / _IN_A_ROW
    sizes = [_within(image, width, width * 0.8) for image in row]
    height = max(size[1] for size in sizes)
    if sheet.will_page_break(height + 2 * _LINE):
        sheet.add_page()
    top = sheet.get_y() + 1
    sheet.set_font(size=7)
    for place, (image, size) in enumerate(zip(row, sizes, strict=True)):
        x, words = sheet.l_margin + place * (width + _GAP), f"image {image.position}"
        try:
            sheet.picture(pictures.picture_of(files, image, _SMALL_SIDE), x, top, size)
        except (DamagedFileError, ValueError):
            words += ": cannot be read"
        sheet.set_xy(x, top + height)
        sheet.cell(width, _LINE, words)
    sheet.set_font(size=9)
    sheet.set_xy(sheet.l_margin, top + height + _LINE)


def _within(image: ExportedImage, width: float, height: float) -> tuple[float, float]:
    scale = min(width / image.width, height / image.height)
    return image.width * scale, image.height * scale
