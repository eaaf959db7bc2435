"""The reads of a study or of routine reading as one long table (reader x case x arm x time x order) and as scores."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import IO

from core.files import write_csv
from core.reading.agreement import malignancy_grade
from core.reading.scope_words import SHOWN_SCOPES
from db.values.exports import ExportedRead, ReadsExport
from db.values.reading import Arm, Stage

# Each column with its description; the descriptions are exported with the table.
COLUMNS: tuple[tuple[str, str], ...] = (
    ("study", "name of the study, or routine reading"),
    ("round", "round of the study, from 1; rounds are separated by the washout"),
    ("arm", "unaided, blind first (a first read, then the model) or model first; routine reading is blind first"),
    ("iteration", "2 if the reader reads the case for the second time in this arm"),
    ("position", "position of the case in this reader's order in this round, from 1; empty without names and times"),
    ("reader", "number of the reader in this export"),
    ("case", "number of the case in this export"),
    ("magnification", "magnification of the case, as entered at upload"),
    ("demonstration", "True for a generated demo case"),
    ("images", "number of images of the case"),
    ("image_notes", "how files of its images were read, such as that only the first of several pages is used"),
    ("image_scales", "micrometres per pixel of its images, with their source; empty if unknown"),
    ("stage", "first: before the reveal; final: after the reveal; withdrawn: withdraws the preceding final read"),
    ("label", "benign, malignant or cannot assess"),
    ("confidence", "from 1 (guess) to 5 (certain); empty for cannot assess"),
    ("malignancy_score", "0 certainly benign, 4 and 5 guesses, 9 certainly malignant; empty for cannot assess"),
    ("subtype", "subtype named by the reader; may be empty"),
    ("reason", "code of the reason why a final read differs from the model"),
    ("map_useful", "the reader's rating of the heat map"),
    ("model_visible", "True if the model's opinion was shown"),
    ("model_probability", "probability of malignancy that was shown"),
    ("model_threshold", "threshold that was shown; the model's label is malignant at or above it"),
    ("model_label", "benign or malignant according to that threshold"),
    ("model_version", "first twelve digits of the checkpoint's sha256"),
    ("model_scope", SHOWN_SCOPES),
    ("opened", "time at which the form was opened"),
    ("revealed", "time at which the model's opinion was first shown"),
    ("saved", "time at which the read was saved"),
    ("seconds", "seconds from opened to saved, by the server's clock"),
    ("edit_seconds", "seconds with the form on the screen, without pauses"),
    ("informed", "True if the reader could know what others had said of the case; such reads have no scores"),
    ("superseded", "True if a later read of the same reader replaces it"),
    ("withdrawn", "True if the reader withdrew it"),
    ("regions", "number of regions the reader marked; they are exported as GeoJSON with this table"),
    ("lengths", "number of lengths the reader measured; they are in the same GeoJSON files"),
    ("reference_label", "label that is taken as correct; empty if not settled or if the case cannot be assessed"),
    ("reference_from", "consensus or sign-off; a sign-off if it was amended or if there is no consensus"),
)  # fmt: skip
NAMED_COLUMNS: tuple[tuple[str, str], ...] = (
    ("reader_name", "name of the reader's account"),
    ("accession", "accession number of the case"),
    ("note", "the reader's note"),
)

Score = tuple[int, int, str, int]  # reader, case, modality, score
_Reading = tuple[int, int, int, Arm]  # reader, case, round, arm

_TRUTH = {"benign": 0, "malignant": 1}


def write_reads_table(file: IO[bytes], export: ReadsExport) -> None:
    """Write a CSV file with one row for each saved read, ordered by reader and by the sequence of their reads.

    Times are seconds since the reader's first read was opened, or clock times in UTC if the export includes them. A
    de-identified export has seconds since the form of each read was opened.
    """
    write_csv(file, [name for name, _ in _columns(export)], _rows(export))


def write_reads_workbook(file: IO[bytes], export: ReadsExport) -> None:
    """Write the same table as XLSX, with a sheet that explains its columns."""
    # Importing takes a quarter of a second, and pages do not need it until an export is requested.
    from core.workbook import save_workbook  # noqa: PLC0415

    save_workbook(file, _columns(export), _rows(export))


def _columns(export: ReadsExport) -> tuple[tuple[str, str], ...]:
    return (*COLUMNS, *(NAMED_COLUMNS if export.named else ()))


def _rows(export: ReadsExport) -> Iterator[tuple[object, ...]]:
    starts = {} if export.clock_times else _first_opened(export)
    return (_row(export, one, starts) for one in export.reads)


def malignancy_score(one: ExportedRead) -> int | None:
    """Return the malignancy score of a read, from certainly benign (0) to certainly malignant (9)."""
    opinion = one.read.opinion
    return malignancy_grade(opinion.label, opinion.confidence)


def _first_opened(export: ReadsExport) -> Mapping[int, datetime]:
    starts: dict[int, datetime] = {}
    for one in export.reads:
        starts[one.reader_number] = min(one.read.opened_at, starts.get(one.reader_number, one.read.opened_at))
    return starts


def _row(export: ReadsExport, one: ExportedRead, starts: Mapping[int, datetime]) -> tuple[object, ...]:
    read, case, place, start = one.read, export.case(one.case_number), one.place, starts.get(one.reader_number)
    opinion = read.opinion
    names = (read.reader, case.accession, opinion.note) if export.named else ()
    label = "" if read.stage is Stage.WITHDRAWN else opinion.label or "cannot assess"
    return (
        export.title,
        *((place.round, place.arm.value, place.iteration, place.position) if place else (None, "blind first", 1, None)),
        *(one.reader_number, one.case_number, case.magnification, case.demonstration, len(case.images)),
        "; ".join(f"image {image.position}: {note}" for image in case.images for note in image.notes),
        "; ".join(f"image {image.position}: {image.scale}" for image in case.images if image.scale),
        *(read.stage.value, label, opinion.confidence, malignancy_score(one)),
        *(opinion.subtype, opinion.reason, opinion.vote.value if opinion.vote else None),
        *(read.model_visible, *_model(one)),
        *(_time(moment, start) for moment in (read.opened_at, one.revealed_at, read.saved_at)),
        round((read.saved_at - read.opened_at).total_seconds(), 3),
        read.edit_seconds,
        *(read.informed, one.superseded, one.withdrawn, len(opinion.marked), len(opinion.measured)),
        *((case.reference.label, case.reference.source) if case.reference else (None, None)),
        *names,
    )


def _model(one: ExportedRead) -> tuple[object, ...]:
    shown, scope = one.shown, one.read.shown_scope
    if shown is None:
        return (None, None, None, one.withheld_by.version if one.withheld_by else None, scope)
    return (shown.probability, shown.threshold, shown.label, shown.version, scope)


def _time(moment: datetime | None, start: datetime | None) -> object:
    if moment is None:
        return None
    return moment.isoformat() if start is None else round((moment - start).total_seconds(), 3)


def write_imrmc_file(export: ReadsExport) -> bytes | None:
    """Write the scores of all cases with a reference label; None unless there are benign and malignant ones.

    Each arm is one modality, and a blind-first arm two: before and after the reveal. Withdrawn reads, amendments and
    informed reads do not count: they may rest on more information than the model's opinion.
    """
    truth = {
        case.number: _TRUTH[case.reference.label]
        for case in export.cases
        if case.reference is not None and case.reference.label is not None
    }
    scores = sorted(score for score in _scores(export) if score[1] in truth)
    cases = sorted({case for _, case, _, _ in scores})
    malignant = sum(truth[case] for case in cases)
    if malignant in (0, len(cases)):
        return None
    lines = [
        *_description(export, len(export.cases) - len(cases)),
        *_withheld(export),
        "",
        f"NR: {len({reader for reader, _, _, _ in scores})}",
        f"N0: {len(cases) - malignant}",
        f"N1: {malignant}",
        f"NM: {len({modality for _, _, modality, _ in scores})}",
        "",
        "BEGIN DATA:",
        *(f"-1,{case},truth,{truth[case]}" for case in cases),
        *(f"{reader},{case},{modality},{score}" for reader, case, modality, score in scores),
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


def _description(export: ReadsExport, left_out: int) -> list[str]:
    return [
        "Second Read, research use only",
        # Only letters and digits of the title, so that no parser mistakes it for a line of the format.
        "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in export.title).strip(),
        "scores from 0 (certainly benign) to 9 (certainly malignant)",
        f"cases excluded for lack of a reference label or score: {left_out}",
    ]


def _withheld(export: ReadsExport) -> list[str]:
    """Name the cases that have no score with the model, because it gave no opinion."""
    finals = [one for one in export.reads if one.read.stage is Stage.FINAL and one.read.shown_scope == "out"]
    cases = sorted({one.case_number for one in finals})
    if not cases:
        return []
    return [f"cases without a score with the model, because they are outside its scope: {', '.join(map(str, cases))}"]


def _scores(export: ReadsExport) -> Iterable[Score]:
    # The reads of a reading follow each other in the order of an export.
    readings = ((reading, _scores_of(reading, list(reads))) for reading, reads in groupby(export.reads, _reading))
    times: Counter[tuple[int, int, Arm]] = Counter()
    for (reader, case, _, arm), scores in sorted(readings, key=lambda reading: reading[0][:3]):
        times[reader, case, arm] += 1
        # The format allows one score per reader, case and modality.
        repetition = f"-again-{times[reader, case, arm]}" if times[reader, case, arm] > 1 else ""
        for modality, score in scores:
            yield reader, case, f"{modality}{repetition}", score


def _reading(one: ExportedRead) -> _Reading:
    number, arm = (one.place.round, one.place.arm) if one.place else (1, Arm.BLIND_FIRST)
    return one.reader_number, one.case_number, number, arm


def _scores_of(reading: _Reading, reads: Sequence[ExportedRead]) -> list[tuple[str, int]]:
    scores = ((modality, malignancy_score(one)) for modality, one in _modalities(reading[3], reads).items())
    return [(modality, score) for modality, score in scores if score is not None]


def _modalities(arm: Arm, reads: Sequence[ExportedRead]) -> Mapping[str, ExportedRead]:
    """Return the reads of one reading that count, by modality."""
    first = next((one for one in reads if one.read.stage is Stage.FIRST), None)
    final = _final(reads)
    aided = final if final is not None and final.read.model_visible else None
    if arm is Arm.UNAIDED:
        by_modality = {"unaided": first or final}
    elif arm is Arm.MODEL_FIRST:
        by_modality = {"model-first": aided}
    else:
        by_modality = {"blind-first-before": first, "blind-first-after": aided}
    return {modality: one for modality, one in by_modality.items() if one is not None and not one.read.informed}


def _final(reads: Sequence[ExportedRead]) -> ExportedRead | None:
    """Return the final read as first saved, without amendments; None if it was withdrawn and not replaced."""
    finals = [one for one in reads if one.read.stage is Stage.FINAL]
    if not any(not one.superseded for one in finals):
        return None
    withdrawals = {one.read.id for one in reads if one.read.stage is Stage.WITHDRAWN}
    originals = [one for one in finals if one.read.supersedes is None or one.read.supersedes in withdrawals]
    return originals[-1] if originals else None
