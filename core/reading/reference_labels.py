"""Read the reference labels of cases, against which readers are compared, from a table."""

from core.identifiers import describe_loss, fold_identifier, tidy_identifier
from core.labels import BINARY, BREAKHIS, Malignancy
from core.tables import Row, UnreadableTableError, read_table

_LARGEST_BYTES = 2_000_000  # some 50,000 cases
_COLUMNS = ("case", "label")
_EXPECTED = "needs a case and a label (benign, malignant or a BreaKHis class)"


class UnreadableReferencesError(ValueError):
    """The file cannot be read as reference labels; the message says what is wrong, and where."""


def read_references(data: bytes) -> dict[str, Malignancy]:
    """Return the malignancy of each accession from the columns `case` and `label` of a CSV table or an Excel workbook.

    A label is benign, malignant, or a class of BreaKHis. Several spellings of an accession are one; it has the first.

    Raises:
        UnreadableReferencesError: If the file is not such a table, or gives one case two labels.
    """
    if len(data) > _LARGEST_BYTES:
        raise UnreadableReferencesError(f"the file is longer than {_LARGEST_BYTES:,} bytes")
    try:
        rows = read_table(data, "the file", _COLUMNS)
    except UnreadableTableError as error:
        raise UnreadableReferencesError(str(error)) from error
    references: dict[str, Malignancy] = {}
    first: dict[str, tuple[str, str]] = {}
    for row in rows:
        accession, label = _case_and_label(row)
        spelling, place = first.setdefault(fold_identifier(accession), (accession, row.place))
        if references.setdefault(spelling, label) != label:
            raise UnreadableReferencesError(f"{row.place}: case {accession!r} has another label in {place}")
    if not references:
        raise UnreadableReferencesError("the file lists no cases")
    return references


def _case_and_label(row: Row) -> tuple[str, Malignancy]:
    accession, word = tidy_identifier(row["case"]), tidy_identifier(row["label"])
    labels = (label_set.malignancy(label) for label_set in (BINARY, BREAKHIS) if (label := label_set.find(word)))
    label = next(labels, None)
    if label is None or not accession:
        raise UnreadableReferencesError(f"{row.place} {_EXPECTED}, got {accession!r} and {word!r}")
    if loss := describe_loss(accession):
        raise UnreadableReferencesError(f"{row.place}, column case: {accession!r} {loss}")
    return accession, label
