"""Read the reference labels of cases, against which readers are compared, from a CSV file."""

import csv
import io

from core.labels import BINARY, BREAKHIS, Malignancy

_LONGEST = 2_000_000  # characters; some 50,000 cases
_COLUMNS = ("case", "label")


class UnreadableReferencesError(ValueError):
    """The file cannot be read as reference labels; the message says what is wrong, and where."""


def read_references(data: bytes) -> dict[str, Malignancy]:
    """Return the malignancy of each accession from the columns `case` and `label`.

    A label is benign, malignant, or a class of BreaKHis.

    Raises:
        UnreadableReferencesError: If the file is not such a table, or gives one case two labels.
    """
    references: dict[str, Malignancy] = {}
    for number, row in enumerate(_rows(data), start=2):
        accession, word = ((row.get(column) or "").strip() for column in _COLUMNS)
        if not accession and not word:
            continue
        label = _malignancy(word)
        if label is None or not accession:
            raise UnreadableReferencesError(
                f"line {number} needs a case and a label (benign, malignant or a BreaKHis class), "
                f"got {accession!r} and {word!r}"
            )
        if references.setdefault(accession, label) != label:
            raise UnreadableReferencesError(f"line {number}: case {accession!r} has another label in an earlier line")
    if not references:
        raise UnreadableReferencesError("the file lists no cases")
    return references


def _rows(data: bytes) -> list[dict[str, str | None]]:
    try:
        text = data.decode("utf-8-sig")
        if len(text) > _LONGEST:
            raise UnreadableReferencesError(f"the file is longer than {_LONGEST:,} characters")
        table = csv.DictReader(io.StringIO(text), restkey="more", strict=True)
        if not set(_COLUMNS) <= set(table.fieldnames or ()):
            raise UnreadableReferencesError("the first line must name the columns case and label, separated by commas")
        return [{column: row[column] for column in _COLUMNS} for row in table]
    except UnicodeDecodeError as error:
        raise UnreadableReferencesError("the file is not UTF-8 text; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise UnreadableReferencesError(f"the file is not a valid CSV table: {error}") from error


def _malignancy(word: str) -> Malignancy | None:
    name = word.casefold().replace(" ", "_")
    known = next((labels for labels in (BINARY, BREAKHIS) if name in labels.classes), None)
    return known.malignancy(name) if known else None
