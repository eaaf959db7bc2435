"""The PDF report of a case: conclusions, all reads, images with heat maps, and the model."""

from collections.abc import Sequence
from datetime import datetime

from core.card import Card
from core.reading.scope_words import NO_OPINION, write_scope
from core.results import Prediction
from core.wording import count_words, interval_words
from db.files import DamagedFileError, Files
from db.values.exports import ROUNDED_TO, CaseExport, ExportedImage, ExportedMap, ExportedRead
from db.values.reading import REASONS, Region, RegionKind, Stage
from db.values.scales import write_length
from service.exports import pdf_page
from service.exports.pdf_page import WIDTH, ReportSheet

LARGE = 6  # images that are shown next to their heat map
SMALL = 24  # further images, without a heat map
_LARGE_SIDE, _SMALL_SIDE = 900, 300  # px
_GAP = 4.0  # mm
_IMAGES_PER_ROW = 4
_MAX_HEIGHT = 95.0  # mm, of a large image
_BAR_HEIGHT = 3.0  # mm
_LINE_HEIGHT = 4.0  # mm

_DISCLAIMER = "Research use only – not a diagnosis. Not for use in patient care."
_IDENTIFIED = "This report contains the accession number, names, notes and dates: treat it as patient data."
_DE_IDENTIFIED = f"De-identified: no accession number, names, notes or times. Durations are rounded to {ROUNDED_TO} s."
_IMAGE_LEGEND = (
    "Numbers on an image identify the read and the region. Heat maps show the evidence for malignancy in logits, with "
    "the colour scale spanning the range of each map. They belong to the model's current result."
)
_DEMONSTRATION = " (demonstration model, trained only to show how the software works; do not rely on its results)"

_READ_COLUMNS = ("Saved", "Reader", "Read", "Opinion", "Model result shown", "Remarks", "Duration")
_READ_WIDTHS = (24, 22, 20, 40, 42, 28, 14)
_LABELS = {"benign": "○ benign", "malignant": "▲ malignant", None: "◇ cannot assess"}

NamedRegion = tuple[str, int, Region]  # short name, image id, region


def write_case_pdf(export: CaseExport, files: Files, card: Card | None) -> bytes:
    """Write the report; `card` is that of the model that was shown, None if its checkpoint is not available."""
    created_at = export.made_at.strftime("%Y-%m-%d %H:%M UTC")
    sheet = ReportSheet(export.case.accession, f"Created {created_at} by {export.made_by}.", export.made_at)
    sheet.draw_paragraph(f"Report of {export.case.accession}", size=16, bold=True)
    sheet.draw_paragraph(_DISCLAIMER, size=10, bold=True)
    sheet.ln(1)
    sheet.draw_paragraph("\n".join(_describe_case(export)))
    sheet.draw_heading("Conclusions")
    _draw_conclusions(sheet, export)
    order = "in chronological order" if export.named else "in a random order of readers"
    sheet.draw_heading(f"{len(export.reads)} saved reads, {order}")
    _draw_reads(sheet, export)
    sheet.draw_heading("Images", space=95)
    _draw_images(sheet, export, files, _name_regions(export))
    sheet.draw_heading("Model")
    sheet.draw_paragraph("\n".join(_describe_model(export, card)))
    sheet.draw_missing_letters()
    return sheet.to_bytes()


def _describe_case(export: CaseExport) -> list[str]:
    case = export.case
    images = count_words(len(case.images), "image")
    kind = "generated demo case" if case.demonstration else case.magnification or "magnification not recorded"
    return [f"{images}, {kind}.", _IDENTIFIED if export.named else _DE_IDENTIFIED]


def _draw_conclusions(sheet: ReportSheet, export: CaseExport) -> None:
    if not export.consensus and not export.sign_offs:
        sheet.draw_paragraph("No consensus and no sign-off.")
    for consensus in export.consensus:
        replaced = "" if consensus is export.consensus[-1] else " (replaced by a later consensus)"
        opinion = _opinion(consensus.label, consensus.confidence, consensus.subtype)
        sheet.draw_paragraph(
            f"Consensus{replaced}: {opinion}; severity of the discordance: {consensus.severity.value}; "
            f"{consensus.adjudicator}{_when(export, consensus.saved_at)}.{_note(consensus.note)}"
        )
    for sign_off in export.sign_offs:
        is_last = sign_off is export.sign_offs[-1]
        replaced = "" if is_last else " (replaced by a later version)"
        reason = f" Reason for the amendment: {sign_off.why}" if sign_off.why else ""
        sheet.draw_paragraph(
            f"Signed off, version {sign_off.version}{replaced}: {_opinion(sign_off.label, None, sign_off.subtype)}; "
            f"{sign_off.signer}{_when(export, sign_off.saved_at)}.{reason}{_note(sign_off.note)}",
            bold=is_last,
        )


def _draw_reads(sheet: ReportSheet, export: CaseExport) -> None:
    ordered = export.reads
    rows = [_read_row(export, one, number) for number, one in enumerate(ordered, start=1)]
    sheet.draw_table(_READ_COLUMNS, _READ_WIDTHS, rows)
    for number, one in enumerate(ordered, start=1):
        opinion = one.read.opinion
        regions = enumerate(opinion.regions, start=1)
        notes = [opinion.note, *(f"region {n}: {region.note}" for n, region in regions if region.note)]
        for note in notes:
            if note:
                sheet.draw_paragraph(f"Note on read {number}: {note}", size=8)


def _read_row(export: CaseExport, one: ExportedRead, number: int) -> tuple[str, ...]:
    read, opinion, shown = one.read, one.read.opinion, one.shown
    status = ", withdrawn" if one.withdrawn else ", replaced" if one.superseded else ""
    withdraws = read.stage is Stage.WITHDRAWN
    model = (
        f"{_LABELS[shown.label]} {shown.probability:.2f}, threshold {shown.threshold:.2f}; "
        f"{shown.name} {shown.version}{', demonstration' if shown.demonstration else ''}"
        if shown
        else _withheld(one)
    )
    remarks = [dict(REASONS)[opinion.reason]] if opinion.reason else []
    remarks += [f"heat map useful: {opinion.vote.value}"] if opinion.vote else []
    remarks += [f"regions marked: {len(opinion.marked)}"] if opinion.marked else []
    remarks += [f"lengths measured: {len(opinion.measured)}"] if opinion.measured else []
    remarks += ["informed read (others' opinions could be known)"] if read.informed else []
    remarks += ["the model's result was marked as unusual"] if read.shown_scope == "unusual" else []
    return (
        _when(export, read.saved_at).removeprefix(", "),
        read.reader,
        f"{number}: {'withdraws the previous read' if withdraws else read.stage.value + status}",
        "" if withdraws else _opinion(opinion.label, opinion.confidence, opinion.subtype),
        "" if withdraws else model,
        "; ".join(remarks),
        "" if withdraws else f"{(read.saved_at - read.opened_at).total_seconds():.0f} s",
    )


def _withheld(one: ExportedRead) -> str:
    model = one.withheld_by
    return f"{NO_OPINION}: unlike the training images; {model.name} {model.version}" if model else "none"


def _when(export: CaseExport, moment: datetime) -> str:
    """Write after a comma when something was saved; nothing in a de-identified report."""
    return moment.strftime(", %Y-%m-%d %H:%M:%S UTC") if export.named else ""


def _opinion(label: str | None, confidence: int | None, subtype: str | None) -> str:
    certainty = f" ({confidence}/5)" if confidence else ""
    return f"{_LABELS[label]}{certainty}{', ' + subtype.replace('_', ' ') if subtype else ''}"


def _note(note: str) -> str:
    return f" Note: {note}" if note else ""


def _name_regions(export: CaseExport) -> list[NamedRegion]:
    """Name each marked region after its read and its place in it, such as 2.1; also those of replaced reads.

    The name of a line has its length.
    """
    scales = {image.id: image.um_per_px for image in export.case.images}

    def length(region: Region) -> str:
        is_line = region.kind is RegionKind.LINE
        return f": {write_length(region.length, scales[region.image_id])}" if is_line else ""

    return [
        (f"{number}.{place}{length(region)}", region.image_id, region)
        for number, one in enumerate(export.reads, start=1)
        for place, region in enumerate(one.read.opinion.regions, start=1)
    ]


def _draw_images(sheet: ReportSheet, export: CaseExport, files: Files, regions: Sequence[NamedRegion]) -> None:
    images, maps = export.case.images, {one.image_id: one for one in export.maps}
    predictions = {one.image_id: one.prediction for one in export.reveal.images} if export.reveal else {}
    scopes = {one.image_id: write_scope(one.scope) for one in export.scopes}
    sheet.draw_paragraph(_IMAGE_LEGEND, size=8)
    for image in images[:LARGE]:
        marked = [(name, region) for name, image_id, region in regions if image_id == image.id]
        caption = _caption(image, predictions.get(image.id), scopes.get(image.id, ""))
        _draw_large(sheet, files, (image, maps.get(image.id)), caption, marked)
    small = images[LARGE : LARGE + SMALL]
    for first in range(0, len(small), _IMAGES_PER_ROW):
        _draw_row(sheet, files, small[first : first + _IMAGES_PER_ROW])
    for image in images[LARGE:]:
        for words in (*(f"Note: {note}." for note in image.notes), scopes.get(image.id, "")):
            if words:
                sheet.draw_paragraph(f"Image {image.position}. {words}", size=8)
    omitted = len(images) - LARGE - SMALL
    if omitted > 0:
        sheet.draw_paragraph(f"Images not shown: {omitted}. A report shows at most {LARGE + SMALL} images.", bold=True)


def _caption(image: ExportedImage, prediction: Prediction | None, scope: str) -> str:
    scale = f"{image.scale}" if image.scale else "scale unknown"
    size = f"Image {image.position}, {image.width} x {image.height} px, {scale}"
    notes = "".join(f" Note: {note}." for note in image.notes)
    if prediction is None:
        return f"{size}. {scope or 'No model result.'}{notes}"
    probability = f"probability of malignancy {prediction.malignant_probability:.2f}"
    return f"{size}. Model: {prediction.malignancy}, {probability}.{f' {scope}' if scope else ''}{notes}"


def _draw_large(
    sheet: ReportSheet,
    files: Files,
    pair: tuple[ExportedImage, ExportedMap | None],
    caption: str,
    marked: Sequence[tuple[str, Region]],
) -> None:
    image, heatmap = pair
    width = (WIDTH - _GAP) / 2
    width = min(width, _MAX_HEIGHT * image.width / image.height)
    height = width * image.height / image.width
    if sheet.will_page_break(height + _BAR_HEIGHT + 3 * _LINE_HEIGHT):
        sheet.add_page()
    sheet.draw_paragraph(caption, size=8)
    top, left = sheet.get_y() + 1, sheet.l_margin
    right = left + (WIDTH + _GAP) / 2
    try:
        sheet.draw_picture(pdf_page.render_image(files, image, _LARGE_SIDE, marked), left, top, (width, height))
        if heatmap is not None:
            sheet.draw_picture(pdf_page.render_heatmap(files, image, heatmap, _LARGE_SIDE), right, top, (width, height))
            _draw_bar(sheet, heatmap, (right, top + height + 1), width)
    except (DamagedFileError, ValueError) as error:
        sheet.draw_paragraph(f"This image cannot be shown: {error}.", size=8)
        return
    sheet.set_xy(left, top + height + _BAR_HEIGHT + _LINE_HEIGHT + 2)


def _draw_bar(sheet: ReportSheet, heatmap: ExportedMap, place: tuple[float, float], width: float) -> None:
    x, y = place
    sheet.draw_picture(pdf_page.render_colour_bar(), x, y, (width, _BAR_HEIGHT))
    sheet.set_xy(x, y + _BAR_HEIGHT)
    sheet.set_font(size=7)
    sheet.cell(width / 2, _LINE_HEIGHT, f"{heatmap.low:.2f} logits")
    sheet.cell(width / 2, _LINE_HEIGHT, f"{heatmap.high:.2f} logits", align="R")
    sheet.set_font(size=9)


def _draw_row(sheet: ReportSheet, files: Files, row: Sequence[ExportedImage]) -> None:
    width = (WIDTH - (_IMAGES_PER_ROW - 1) * _GAP) / _IMAGES_PER_ROW
    sizes = [_fit(image, width, width * 0.8) for image in row]
    height = max(size[1] for size in sizes)
    if sheet.will_page_break(height + 2 * _LINE_HEIGHT):
        sheet.add_page()
    top = sheet.get_y() + 1
    sheet.set_font(size=7)
    for place, (image, size) in enumerate(zip(row, sizes, strict=True)):
        x, caption = sheet.l_margin + place * (width + _GAP), f"image {image.position}"
        try:
            sheet.draw_picture(pdf_page.render_image(files, image, _SMALL_SIDE), x, top, size)
        except (DamagedFileError, ValueError):
            caption += ": cannot be shown"
        sheet.set_xy(x, top + height)
        sheet.cell(width, _LINE_HEIGHT, caption)
    sheet.set_font(size=9)
    sheet.set_xy(sheet.l_margin, top + height + _LINE_HEIGHT)


def _fit(image: ExportedImage, width: float, height: float) -> tuple[float, float]:
    scale = min(width / image.width, height / image.height)
    return image.width * scale, image.height * scale


def _describe_model(export: CaseExport, card: Card | None) -> list[str]:
    reveal, withheld = export.reveal, [one.model for one in export.scopes if one.withheld]
    if reveal is None and withheld:
        model = withheld[-1]
        return [
            _describe_version(model.name, model.version, demonstration=model.demonstration),
            "No opinion on this case: its images are unlike the training images of the model.",
            *_describe_card(card),
        ]
    if reveal is None:
        return ["The model has no result for this case."]
    label, probability = _LABELS[reveal.malignancy], f"probability of malignancy {reveal.malignant_probability:.2f}"
    images = "1 image" if len(reveal.images) == 1 else f"mean of {len(reveal.images)} images"
    return [
        _describe_version(reveal.model_name, reveal.model_version, demonstration=reveal.demonstration),
        f"Result for this case: {label}; {probability} ({images}), threshold {reveal.threshold:.2f}.",
        *([f"Images left out because they are unlike the training images: {len(withheld)}."] if withheld else []),
        *_describe_card(card),
    ]


def _describe_version(name: str, version: str, *, demonstration: bool) -> str:
    return f"{name}, version {version}{_DEMONSTRATION if demonstration else ''}."


def _describe_card(card: Card | None) -> list[str]:
    if card is None:
        return ["The model card of this version is not available: another checkpoint is now in service."]
    data = card.training_data
    figures = [f"{one.name} {interval_words(one)}, {one.protocol}" for one in card.metrics]
    return [
        f"Trained on {data.dataset}: {data.images:,} images of {data.patients:,} patients. {data.note}".strip(),
        f"Threshold locked on: {card.locked_on}." if card.locked_on else "Source of the threshold not recorded.",
        *(f"{line}." for line in figures),
        *([card.note] if card.note else []),
    ]
