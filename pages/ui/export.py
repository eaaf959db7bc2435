"""A reader's own reads as a CSV file that a spreadsheet opens without running anything in it."""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from db.values import Read

_COLUMNS = (
    *("case", "stage", "label", "confidence", "subtype", "reason", "map_useful", "note"),
    *("model_visible", "opened_at", "saved_at", "read", "replaces"),
)
# A spreadsheet would run a note that begins with one of these as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Export:
    """A file to download; its name holds the hash of its bytes, because Streamlit tells files apart by little more."""

    name: str
    data: bytes


def reads_csv(reads: Iterable[Read], accessions: Mapping[int, str]) -> Export:
    """Write reads as CSV in UTF-8, oldest first, times in UTC."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    writer.writerows([_harmless(cell) for cell in _row(read, accessions)] for read in reads)
    data = text.getvalue().encode("utf-8-sig")
    return Export(f"reads-{hashlib.sha256(data).hexdigest()[:12]}.csv", data)


def _row(read: Read, accessions: Mapping[int, str]) -> tuple[object, ...]:
    said = read.opinion
    return (
        accessions.get(read.case_id, read.case_id),
        read.stage.value,
        said.label or "cannot assess",
        said.confidence,
        said.subtype,
        said.reason,
        said.vote.value if said.vote else None,
        said.note,
        read.model_visible,
        read.opened_at.isoformat(),
        read.saved_at.isoformat(),
        read.id,
        read.supersedes,
    )


def _harmless(cell: object) -> str:
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text
