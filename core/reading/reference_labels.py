"""Reference labels of cases from a CSV file: what is taken as right when readers are held against it."""

import csv
import io

from core.labels import BINARY, BREAKHIS, Malignancy

_LONGEST = 2_000_000  # characters; some 50,000 cases
_COLUMNS = ("case", "label")


class UnreadableReferencesError(ValueError):
    """The file holds no reference labels; the message says where it goes wrong."""


def read_references(data: bytes) -> dict[str, Malignancy]:
    """Read the columns `case` and `label`: benign, malignant, or a class of BreaKHis; by accession.

    Raises:
        UnreadableReferencesError: If the file is no such table, or gives one case two labels.
    """
    found: dict[str, Malignancy] = {}
    for number, row in enumerate(_rows(data), start=2):
        accession, word = ((row.get(column) or "").strip() for column in _COLUMNS)
        if not accession and not word:
            continue
        label = _malignancy(word)
        if label is None or not accession:
            raise UnreadableReferencesError(
                f"line {number}: a case and benign or malignant, got {accession!r}, {word!r}"
            )
        if found.setdefault(accession, label) != label:
            raise UnreadableReferencesError(f"line {number}: case {accession!r} has another label further up")
    if not found:
        raise UnreadableReferencesError("there is no case in it")
    return found


def _rows(data: bytes) -> list[dict[str, str | None]]:
    try:
        text = data.decode("utf-8-sig")
        if len(text) > _LONGEST:
            raise UnreadableReferencesError(f"longer than {_LONGEST:,} characters")
        table = csv.DictReader(io.StringIO(text), restkey="more", strict=True)
        if not set(_COLUMNS) <= set(table.fieldnames or ()):
            raise UnreadableReferencesError("its first line needs the columns case and label")
        return [{column: row[column] for column in _COLUMNS} for row in table]
    except UnicodeDecodeError as error:
        raise UnreadableReferencesError("it is not text in UTF-8") from error
    except csv.Error as error:
        raise UnreadableReferencesError(f"it is no CSV table: {error}") from error


def _malignancy(word: str) -> Malignancy | None:
    name = word.casefold().replace(" ", "_")
    known = next((labels for labels in (BINARY, BREAKHIS) if name in labels.classes), None)
    return known.malignancy(name) if known else None
