"""The export of a study, or of routine reading, in one file: its table, its scores, its regions and what they mean."""

import io
import zipfile
from dataclasses import dataclass

from db import store
from db.database import Sessions
from db.store.exports import NOTHING, Told
from db.values.exports import ReadsExport
from service.exports.geojson import region_files
from service.exports.mrmc import COLUMNS, NAMED_COLUMNS, imrmc_file, reads_table

_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which reads to export, `study_id` None for routine reading, and what of them is told."""

    account_id: int
    study_id: int | None = None
    told: Told = NOTHING


def reads_archive(sessions: Sessions, wanted: Wanted) -> bytes:
    """Make a ZIP file of reads, and record that it was made before it is given out.

    Raises:
        NotAllowedError: If this account may not have it.
        InStudyError: If it has to read in this study and the study is open.
        LookupError: If there is no such study.
    """
    with sessions.read() as session:
        found = store.exports.exported_reads(session, wanted.account_id, study_id=wanted.study_id, told=wanted.told)
    files = _files(found)
    # Only now: a session that writes would keep all readers from saving while thousands of reads are gathered.
    with sessions.begin() as session:
        store.exports.record_export(session, wanted.account_id, found)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)
    return buffer.getvalue()


def _files(found: ReadsExport) -> list[tuple[str, bytes]]:
    scores = imrmc_file(found)
    return [
        ("README.txt", _explanation(found, scores=scores is not None).encode()),
        ("reads.csv", reads_table(found)),
        *([("scores.imrmc", scores)] if scores is not None else []),
        *((f"regions/{name}", data) for name, data in region_files(found)),
    ]


def _explanation(found: ReadsExport, *, scores: bool) -> str:
    columns = (*COLUMNS, *(NAMED_COLUMNS if found.named else ()))
    readers = len({one.reader_number for one in found.reads})
    lines = [
        "Second Read: exported reads. Research use only. Not a diagnosis.",
        "",
        f"{len(found.reads)} reads of {readers} readers and {len(found.cases)} cases.",
        *(["The study is still open: more reads may follow."] if found.study_open else []),
        "Names, accession numbers and notes are in this export: treat it as patient data."
        if found.named
        else "De-identified: readers and cases have numbers that were shuffled for this export and for no other one.",
        "Times are those of the clock, in UTC."
        if found.clock_times
        else "Times are seconds since the form of the reader's first read in this export was opened.",
        "",
        "scores.imrmc: scores for iMRMC and RJafroc; each arm is a modality, blind first two, before and after the"
        " reveal."
        if scores
        else "There is no scores.imrmc: it needs cases with a benign and cases with a malignant reference label.",
        "regions/: what readers marked, GeoJSON in image pixels from the top left corner, as QuPath opens it.",
        "",
        "Columns of reads.csv:",
        *(f"  {name}: {words}" for name, words in columns),
    ]
    return "\n".join(lines) + "\n"
