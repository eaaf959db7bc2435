"""The reads of a study, or of routine reading, as one long table: reader x case x arm x time x order."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from core.files import csv_bytes
from core.reading.agreement import malignancy_grade
from db.values.exports import ExportedRead, ReadsExport
from db.values.reading import Arm, Stage

# Each column and what it holds; the same words go beside the table as its explanation.
COLUMNS: tuple[tuple[str, str], ...] = (
    ("study", "name of the study, or routine reading"),
    ("round", "of the study, from 1; between two rounds lies the washout"),
    ("arm", "unaided, blind first (a first read, then the model), model first; routine reading is blind first"),
    ("iteration", "2 where this reader reads this case for the second time in this arm"),
    ("position", "place of the case in the order that was drawn for this reader in this round, from 1"),
    ("reader", "number of the reader in this export"),
    ("case", "number of the case in this export"),
    ("magnification", "of the case, in the words of who brought it in"),
    ("demonstration", "True for a generated demo case"),
    ("images", "images of the case"),
    ("stage", "first: before the reveal; final: the last word; withdrawn: takes the final read before it back"),
    ("label", "benign, malignant, or cannot assess"),
    ("confidence", "from 1, a guess, to 5, certain; empty for cannot assess"),
    ("malignancy_score", "0 certainly benign, 4 and 5 guesses, 9 certainly malignant; empty for cannot assess"),
    ("subtype", "as the reader named it, if at all"),
    ("reason", "coded, where a final read differs from the model"),
    ("map_useful", "the reader's vote on the heat map"),
    ("model_visible", "True if the model's opinion was on the screen"),
    ("model_probability", "malignant, as it was on the screen"),
    ("model_threshold", "from which the model calls malignant, as it was on the screen"),
    ("model_label", "benign or malignant by that threshold"),
    ("model_version", "first twelve digits of the checkpoint's sha256"),
    ("opened", "when the form was opened"),
    ("revealed", "when the model's opinion was first on the screen"),
    ("saved", "when the read was saved"),
    ("seconds", "from opened to saved, by the server's clock"),
    ("edit_seconds", "with the form on the screen, pauses left out"),
    ("superseded", "True if another read of the same reader stands on top of it"),
    ("withdrawn", "True if the reader took it back"),
    ("regions", "how many regions the reader marked; they lie beside this table as GeoJSON"),
    ("reference_label", "what is taken as right; empty where nobody settled it, or it cannot be assessed"),
    ("reference_from", "consensus, or sign-off: an amended one, or where there is no consensus"),
)  # fmt: skip
NAMED_COLUMNS: tuple[tuple[str, str], ...] = (
    ("reader_name", "of the reader's account"),
    ("accession", "of the case"),
    ("note", "what the reader wrote"),
)

Score = tuple[int, int, str, int]  # reader, case, modality, score
_Reading = tuple[int, int, int, Arm]  # reader, case, round, arm

_TRUTH = {"benign": 0, "malignant": 1}


def reads_table(found: ReadsExport) -> bytes:
    """Write one line for each saved read, in the order of readers and their work.

    Times are seconds since the reader's first read was opened, or times of the clock in UTC where these are told.
    """
    columns = [name for name, _ in (*COLUMNS, *(NAMED_COLUMNS if found.named else ()))]
    starts = {} if found.clock_times else _first_opened(found)
    return csv_bytes(columns, (_row(found, one, starts) for one in found.reads))


def score_of(one: ExportedRead) -> int | None:
    """Put a read on the scale from certainly benign (0) to certainly malignant (9)."""
    said = one.read.opinion
    return malignancy_grade(said.label, said.confidence)


def _first_opened(found: ReadsExport) -> Mapping[int, datetime]:
    starts: dict[int, datetime] = {}
    for one in found.reads:
        starts[one.reader_number] = min(one.read.opened_at, starts.get(one.reader_number, one.read.opened_at))
    return starts


def _row(found: ReadsExport, one: ExportedRead, starts: Mapping[int, datetime]) -> tuple[object, ...]:
    read, case, place, start = one.read, found.case(one.case_number), one.place, starts.get(one.reader_number)
    said = read.opinion
    names = (read.reader, case.accession, said.note) if found.named else ()
    label = "" if read.stage is Stage.WITHDRAWN else said.label or "cannot assess"
    return (
        found.title,
        *((place.round, place.arm.value, place.iteration, place.position) if place else (None, "blind first", 1, None)),
        *(one.reader_number, one.case_number, case.magnification, case.demonstration, len(case.images)),
        *(read.stage.value, label, said.confidence, score_of(one)),
        *(said.subtype, said.reason, said.vote.value if said.vote else None),
        *(read.model_visible, *_model(one)),
        *(_time(moment, start) for moment in (read.opened_at, one.revealed_at, read.saved_at)),
        round((read.saved_at - read.opened_at).total_seconds(), 3),
        read.edit_seconds,
        *(one.superseded, one.withdrawn, len(said.regions)),
        *((case.reference.label, case.reference.source) if case.reference else (None, None)),
        *names,
    )


def _model(one: ExportedRead) -> tuple[object, ...]:
    shown = one.shown
    return (shown.probability, shown.threshold, shown.label, shown.version) if shown else (None,) * 4


def _time(moment: datetime | None, start: datetime | None) -> object:
    if moment is None:
        return None
    return moment.isoformat() if start is None else round((moment - start).total_seconds(), 3)


def imrmc_file(found: ReadsExport) -> bytes | None:
    """Write the scores of all cases that have a reference label; None where there is not one of each kind.

    Each arm is a modality, and a blind-first arm two: before and after the reveal. What a reader took back does not
    count, and an amendment does not either: it may know more than the model.
    """
    truth = {
        case.number: _TRUTH[case.reference.label]
        for case in found.cases
        if case.reference is not None and case.reference.label is not None
    }
    scores = sorted(score for score in _scores(found) if score[1] in truth)
    cases = sorted({case for _, case, _, _ in scores})
    malignant = sum(truth[case] for case in cases)
    if malignant in (0, len(cases)):
        return None
    lines = [
        *_description(found, len(found.cases) - len(cases)),
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


def _description(found: ReadsExport, left_out: int) -> list[str]:
    return [
        "Second Read, research use only",
        # Of the title only what no line of the format could be mistaken for.
        "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in found.title).strip(),
        "scores from 0, certainly benign, to 9, certainly malignant",
        f"{left_out} cases without a reference label or without a score are left out",
        "",
    ]


def _scores(found: ReadsExport) -> Iterable[Score]:
    readings: dict[_Reading, list[ExportedRead]] = {}
    for one in found.reads:
        number, arm = (one.place.round, one.place.arm) if one.place else (1, Arm.BLIND_FIRST)
        readings.setdefault((one.reader_number, one.case_number, number, arm), []).append(one)
    times: Counter[tuple[int, int, Arm]] = Counter()
    for (reader, case, _, arm), reads in sorted(readings.items(), key=lambda reading: reading[0][:3]):
        times[reader, case, arm] += 1
        # The format knows one score of a reader, case and modality.
        again = f"-again-{times[reader, case, arm]}" if times[reader, case, arm] > 1 else ""
        for modality, one in _modalities(arm, reads).items():
            score = score_of(one)
            if score is not None:
                yield reader, case, f"{modality}{again}", score


def _modalities(arm: Arm, reads: Sequence[ExportedRead]) -> Mapping[str, ExportedRead]:
    """Give the reads that count of one reading, by modality."""
    first = next((one for one in reads if one.read.stage is Stage.FIRST), None)
    final = _final(reads)
    aided = final if final is not None and final.read.model_visible else None
    if arm is Arm.UNAIDED:
        said = {"unaided": first or final}
    elif arm is Arm.MODEL_FIRST:
        said = {"model-first": aided}
    else:
        said = {"blind-first-before": first, "blind-first-after": aided}
    return {modality: one for modality, one in said.items() if one is not None}


def _final(reads: Sequence[ExportedRead]) -> ExportedRead | None:
    """Give the final read as it was first saved, unless it was taken back and nothing came after it."""
    finals = [one for one in reads if one.read.stage is Stage.FINAL]
    if not any(not one.superseded for one in finals):
        return None
    taken_back = {one.read.id for one in reads if one.read.stage is Stage.WITHDRAWN}
    begun = [one for one in finals if one.read.supersedes is None or one.read.supersedes in taken_back]
    return begun[-1] if begun else None
