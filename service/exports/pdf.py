"""The PDF report of a case: its images and maps, every opinion in order, and what the model is."""

from collections.abc import Sequence
from datetime import datetime

from core.card import Card
from core.results import Prediction
from db.files import DamagedFileError, Files
from db.values.exports import CaseExport, ExportedImage, ExportedMap, ExportedRead
from db.values.reading import REASONS, Region, Reveal, Stage
from service.exports import pdf_page
from service.exports.pdf_page import WIDTH, Sheet

LARGE = 6  # images that stand beside their map
SMALL = 24  # more of them, without a map
_LARGE_SIDE, _SMALL_SIDE = 900, 300  # px
_GAP = 4.0  # mm
_IN_A_ROW = 4
_HIGHEST = 95.0  # mm, of a large image
_BAR = 3.0  # mm
_LINE = 4.0  # mm

Named = tuple[str, int, Region]  # short name, image, region

_READS = ("when", "who", "read", "says", "model on the screen", "why, map", "took")
_READ_WIDTHS = (24, 22, 20, 42, 42, 28, 12)
_SIGNS = {"benign": "○ benign", "malignant": "▲ malignant", None: "◇ cannot assess"}


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
        sheet.picture(pdf_page.picture_of(files, image, _LARGE_SIDE, marked), left, top, (width, height))
        if heatmap is not None:
            sheet.picture(pdf_page.map_picture(files, image, heatmap, _LARGE_SIDE), right, top, (width, height))
            _draw_bar(sheet, heatmap, (right, top + height + 1), width)
    except (DamagedFileError, ValueError) as error:
        sheet.words(f"It cannot be drawn: {error}.", size=8)
        return
    sheet.set_xy(left, top + height + _BAR + _LINE + 2)


def _draw_bar(sheet: Sheet, heatmap: ExportedMap, place: tuple[float, float], width: float) -> None:
    x, y = place
    sheet.picture(pdf_page.colours(), x, y, (width, _BAR))
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
            sheet.picture(pdf_page.picture_of(files, image, _SMALL_SIDE), x, top, size)
        except (DamagedFileError, ValueError):
            words += ": cannot be read"
        sheet.set_xy(x, top + height)
        sheet.cell(width, _LINE, words)
    sheet.set_font(size=9)
    sheet.set_xy(sheet.l_margin, top + height + _LINE)


def _within(image: ExportedImage, width: float, height: float) -> tuple[float, float]:
    scale = min(width / image.width, height / image.height)
    return image.width * scale, image.height * scale


def case_pdf(found: CaseExport, files: Files, card: Card | None) -> bytes:
    """Write the report; `card` is that of the model that spoke, None where its checkpoint is not at hand."""
    at = found.made_at.strftime("%Y-%m-%d %H:%M UTC")
    sheet = Sheet(found.case.accession, f"Made {at} by {found.made_by}.", found.made_at)
    sheet.words(f"Report of {found.case.accession}", size=16, bold=True)
    sheet.words("Research use only – not a diagnosis. Nothing in it may be used to treat anybody.", size=10, bold=True)
    sheet.ln(1)
    sheet.words("\n".join(_about(found)))
    sheet.heading("What was settled")
    _settled(sheet, found)
    sheet.heading(f"{len(found.reads)} saved reads, in the order in which they were saved")
    _reads(sheet, found)
    sheet.heading("Images", room=95)
    draw_images(sheet, found, files, region_names(found))
    sheet.heading("The model")
    sheet.words("\n".join(_model(found.reveal, card)))
    return sheet.written()


def region_names(found: CaseExport) -> list[tuple[str, int, Region]]:
    """Give each marked region a short name that says in which read it was marked, and its image; replaced reads too."""
    return [
        (f"{number}.{place}", region.image_id, region)
        for number, one in enumerate(_in_order(found.reads), start=1)
        for place, region in enumerate(one.read.opinion.regions, start=1)
    ]


def _about(found: CaseExport) -> list[str]:
    case = found.case
    names = (
        "Accession, names, notes and times of the clock are in it: treat it as patient data."
        if found.named
        else "De-identified: no accession, no names, no notes; times count from when the case was first opened."
    )
    images = "1 image" if len(case.images) == 1 else f"{len(case.images)} images"
    kind = "a generated demo case" if case.demonstration else case.magnification or "magnification not said"
    return [f"{images}, {kind}.", names]


def _settled(sheet: Sheet, found: CaseExport) -> None:
    start = _start(found)
    if not found.consensus and not found.sign_offs:
        sheet.words("Nothing: no consensus, and not signed.")
    for consensus in found.consensus:
        replaced = "" if consensus is found.consensus[-1] else " (replaced by a later one)"
        said = _says(consensus.label, consensus.confidence, consensus.subtype)
        when = _when(found, consensus.saved_at, start)
        sheet.words(
            f"Consensus{replaced}: {said}; severity of the discordance {consensus.severity.value}; "
            f"{consensus.adjudicator}, {when}.{_note(consensus.note)}"
        )
    for signed in found.sign_offs:
        last = signed is found.sign_offs[-1]
        replaced = "" if last else " (replaced by a later version)"
        why = f" Why: {signed.why}" if signed.why else ""
        sheet.words(
            f"Signed, version {signed.version}{replaced}: {_says(signed.label, None, signed.subtype)}; "
            f"{signed.signer}, {_when(found, signed.saved_at, start)}.{why}{_note(signed.note)}",
            bold=last,
        )


def _reads(sheet: Sheet, found: CaseExport) -> None:
    ordered, start = _in_order(found.reads), _start(found)
    sheet.lines(_READS, _READ_WIDTHS, [_row(found, one, number, start) for number, one in enumerate(ordered, start=1)])
    for number, one in enumerate(ordered, start=1):
        notes = [one.read.opinion.note, *(f"region {n}: {r.note}" for n, r in _noted(one.read.opinion.regions))]
        for note in notes:
            if note:
                sheet.words(f"Note to read {number}: {note}", size=8)


def _noted(regions: Sequence[Region]) -> list[tuple[int, Region]]:
    return [(number, region) for number, region in enumerate(regions, start=1) if region.note]


def _row(found: CaseExport, one: ExportedRead, number: int, start: datetime) -> tuple[str, ...]:
    read, said, shown = one.read, one.read.opinion, one.shown
    became = ", taken back" if one.withdrawn else ", replaced" if one.superseded else ""
    taken = read.stage is Stage.WITHDRAWN
    model = (
        f"{_SIGNS[shown.label]} {shown.probability:.2f}, malignant from {shown.threshold:.2f}; "
        f"{shown.name} {shown.version}{', demonstration' if shown.demonstration else ''}"
        if shown
        else "nothing"
    )
    why = [dict(REASONS)[said.reason]] if said.reason else []
    why += [f"map useful: {said.vote.value}"] if said.vote else []
    why += [f"{len(said.regions)} regions marked"] if said.regions else []
    return (
        _when(found, read.saved_at, start),
        read.reader,
        f"{number}: {'takes the read before back' if taken else read.stage.value + became}",
        "" if taken else _says(said.label, said.confidence, said.subtype),
        "" if taken else model,
        "; ".join(why),
        "" if taken else f"{(read.saved_at - read.opened_at).total_seconds():.0f} s",
    )


def _in_order(reads: Sequence[ExportedRead]) -> list[ExportedRead]:
    return sorted(reads, key=lambda one: one.read.saved_at)


def _start(found: CaseExport) -> datetime:
    return min((one.read.opened_at for one in found.reads), default=found.made_at)


def _when(found: CaseExport, moment: datetime, start: datetime) -> str:
    if found.named:
        return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
    minutes, seconds = divmod(round((moment - start).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"+ {f'{days} d ' if days else ''}{hours}:{minutes:02}:{seconds:02}"


def _says(label: str | None, confidence: int | None, subtype: str | None) -> str:
    sure = f" ({confidence}/5)" if confidence else ""
    return f"{_SIGNS[label]}{sure}{', ' + subtype.replace('_', ' ') if subtype else ''}"


def _note(note: str) -> str:
    return f" Note: {note}" if note else ""


def _model(reveal: Reveal | None, card: Card | None) -> list[str]:
    if reveal is None:
        return ["It has no result for this case."]
    kind = ": a demonstration model, trained to show the program, not to be relied on" if reveal.demonstration else ""
    said = f"{_SIGNS[reveal.malignancy]}, {reveal.malignant_probability:.2f}, malignant from {reveal.threshold:.2f}"
    lines = [
        f"{reveal.model_name}, version {reveal.model_version}{kind}.",
        f"Of this case: {said}; the mean of {len(reveal.images)} images.",
    ]
    if card is None:
        return [*lines, "The card of this version is not at hand: another checkpoint is in service now."]
    data = card.training_data
    figures = [f"{one.name} {one.value:.3f} [{one.low:.3f}, {one.high:.3f}], {one.protocol}" for one in card.metrics]
    return [
        *lines,
        f"Trained on {data.dataset}: {data.images:,} images of {data.patients:,} patients. {data.note}".strip(),
        f"Threshold locked on: {card.locked_on or 'not said'}.",
        *(f"{line}." for line in figures),
        *([card.note] if card.note else []),
    ]
