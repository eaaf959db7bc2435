"""The ZIP export of a study or of routine reading: the table of reads, scores, marked regions and an explanation."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import IO

from core.wording import count_words
from db import store
from db.database import Sessions
from db.store.exports import DEIDENTIFIED, ExportDetail
from db.values.exports import ROUNDED_TO, ReadsExport
from service.exports.geojson import write_region_files
from service.exports.mrmc import COLUMNS, NAMED_COLUMNS, write_imrmc_file, write_reads_table, write_reads_workbook

_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest time of the ZIP format
_IN_MEMORY = 1_000_000  # bytes of a file that is being written; the rest is on the disk

Write = Callable[[IO[bytes]], None]
"""What writes one file of the archive."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The reads to export, and what they may disclose; `study_id` None means routine reading."""

    account_id: int
    study_id: int | None = None
    told: ExportDetail = DEIDENTIFIED


def make_reads_archive(sessions: Sessions, request: ExportRequest) -> bytes:
    """Return the ZIP file of `open_reads_archive`."""
    with open_reads_archive(sessions, request) as archive:
        return archive.read()


def open_reads_archive(sessions: Sessions, request: ExportRequest) -> IO[bytes]:
    """Create a ZIP file of reads in a temporary file, and record the export in the audit trail before returning it.

    Raises:
        NotAllowedError: If this account may not export these reads.
        InStudyError: If this account reads in the study and the study is open.
        UnknownCaseError: If there is no such study.
    """
    with sessions.read() as session:
        export = store.exports.exported_reads(session, request.account_id, study_id=request.study_id, told=request.told)
    # Only now, from the disk: while a session is open, readers may have to wait before they can save.
    file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    try:
        with zipfile.ZipFile(file, "w") as archive:
            for name, write in _files(export):
                _add(archive, name, write)
        with sessions.begin() as session:
            store.exports.record_export(session, request.account_id, export)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _add(archive: zipfile.ZipFile, name: str, write: Write) -> None:
    with SpooledTemporaryFile(_IN_MEMORY) as content:
        write(content)
        entry = zipfile.ZipInfo(name, _NO_TIME)
        entry.compress_type = zipfile.ZIP_DEFLATED
        # With its size, ZipFile knows whether the entry needs the format for large ones.
        entry.file_size = content.tell()
        content.seek(0)
        with archive.open(entry, "w") as packed:
            copyfileobj(content, packed)


def _files(export: ReadsExport) -> Iterator[tuple[str, Write]]:
    scores = write_imrmc_file(export)
    yield "README.txt", _writing(_explanation(export, has_scores=scores is not None).encode())
    yield "reads.csv", partial(write_reads_table, export=export)
    yield "reads.xlsx", partial(write_reads_workbook, export=export)
    if scores is not None:
        yield "scores.imrmc", _writing(scores)
    for name, data in write_region_files(export):
        yield f"regions/{name}", _writing(data)


def _writing(data: bytes) -> Write:
    def write(file: IO[bytes]) -> None:
        file.write(data)

    return write


def _describe_times(export: ReadsExport) -> str:
    if export.clock_times:
        return "Times are clock times in UTC."
    if export.named:
        return "Times are in seconds since the reader's first read in this export was opened."
    return (
        f"Times are in seconds since the form of the read was opened, rounded to {ROUNDED_TO} s, and shuffled "
        "among the reads of the same reader, stage, arm and round. The order of the lines is random."
    )


def _describe_withheld(export: ReadsExport) -> list[str]:
    withheld = {one.case_number for one in export.reads if one.read.shown_scope == "out"}
    if not withheld:
        return []
    cases = count_words(len(withheld), "case")
    words = "whose images are unlike the training images; reads saved after this was shown have no score with the model"
    return [f"No model opinion on {cases}, {words}."]


def _explanation(export: ReadsExport, *, has_scores: bool) -> str:
    columns = (*COLUMNS, *(NAMED_COLUMNS if export.named else ()))
    lines = [
        "Second Read: exported reads. Research use only. Not a diagnosis.",
        "",
        f"Reads: {len(export.reads)}. Readers: {export.readers}. Cases: {len(export.cases)}.",
        *(["The study is still open, so more reads may follow."] if export.study_open else []),
        "This export contains names, accession numbers and notes: treat it as patient data."
        if export.named
        else "De-identified: reader and case numbers were assigned at random for this export only.",
        _describe_times(export),
        "",
        "scores.imrmc: scores for iMRMC and RJafroc. Each arm is one modality; the blind-first arm is two, before and"
        " after the reveal."
        if has_scores
        else "scores.imrmc is missing because it requires cases with both benign and malignant reference labels.",
        *_describe_withheld(export),
        "regions/: marked regions and measured lengths, as GeoJSON for QuPath, in pixels from the top left corner.",
        "",
        "Columns of reads.csv and of reads.xlsx (which opens correctly in any locale):",
        *(f"  {name}: {words}" for name, words in columns),
    ]
    return "\n".join(lines) + "\n"
