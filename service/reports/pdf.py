"""A report of one case on paper: its images and maps, all that was said of it in order, and what the model is."""

from collections.abc import Sequence
from datetime import datetime

from core.card import Card
from db.export_values import CaseExport, ExportedRead
from db.files import Files
from db.reading_values import REASONS, Region
from db.values import Reveal, Stage
from service.reports.pdf_images import draw_images
from service.reports.sheet import Sheet

_READS = ("when", "who", "read", "says", "model on the screen", "why, map", "took")
_READ_WIDTHS = (24, 22, 20, 42, 42, 28, 12)
_SIGNS = {"benign": "○ benign", "malignant": "▲ malignant", None: "◇ cannot assess"}


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
