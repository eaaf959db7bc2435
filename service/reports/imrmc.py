"""The scores of readers as a file for MRMC software, in the format of iMRMC.

Format: iMRMC user manual, 4.1.1 "Study Raw Data" (https://didsr.github.io/iMRMC/); RJafroc reads it too, and wants
whole numbers for cases. A description with the lines NR, N0, N1 and NM, then `BEGIN DATA:`, then lines of reader,
case, modality and score; those of reader -1 give the reference of each case, 0 benign and 1 malignant.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from db.export_values import ExportedRead, ReadsExport
from db.reading_values import Arm
from db.values import Stage
from service.reports.mrmc import score_of

Score = tuple[int, int, str, int]  # reader, case, modality, score
_Reading = tuple[int, int, int, Arm]  # reader, case, round, arm

_TRUTH = {"benign": 0, "malignant": 1}


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
