"""Reference labels from a file: what is taken, and what is refused in words."""

import pytest

from core.reading.reference_labels import UnreadableReferencesError, read_references


def test_cases_are_benign_malignant_or_a_class_of_breakhis() -> None:
    cases = ("C-1,benign", "C-2,Malignant", "C-3,Ductal carcinoma", "C-4,fibroadenoma", ",", "C-1,benign")
    file = "\n".join(["\ufeffnote,case,label", *(f"a note,{case}" for case in cases)])
    assert read_references(file.encode()) == {
        "C-1": "benign",
        "C-2": "malignant",
        "C-3": "malignant",
        "C-4": "benign",
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "columns case and label"),
        (b"case,label\n", "lists no cases"),
        (b"case|label\nC-1|benign\n", "columns case and label"),
        (b"case,label\nC-1,perhaps\n", "line 2.*'perhaps'"),
        (b"case,label\nC-1\n", "line 2"),
        (b"case,label\n,benign\n", "line 2"),
        (b"case,label\nC-1,benign\n1E+05,benign\n", "line 3, column case: '1E.05' is a number that .* has shortened"),
        (b"case,label\nC-1,benign\nC-1,malignant\n", "line 3.*another label"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'case,label\n"C-1,benign\n', "not a valid CSV table"),
        (b"case,label\n" + b"C-1,benign\n" * 200_000, "longer than 2,000,000"),
    ],
)
def test_what_is_no_such_table_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableReferencesError, match=message):
        read_references(data)


@pytest.mark.parametrize(
    "text",
    [
        "case;label\nS24-9;benign\nS24-10;malignant\n",
        "Case,Label\nS24-9,benign\nS24-10,malignant\n",
        "sep=;\nLABEL; Case \nBenign ;S24-9\nMALIGNANT;\u00a0S24-10\n",
        "case\tlabel\n\nS24-9\tbenign\n\t\ns24-9 \tBENIGN\nS24-10\tmalignant\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_table_of_references_is_read_as_people_have_it(text: str, encoding: str) -> None:
    assert read_references(text.encode(encoding)) == {"S24-9": "benign", "S24-10": "malignant"}


def test_two_spellings_of_a_case_with_two_labels_are_refused() -> None:
    with pytest.raises(UnreadableReferencesError, match="line 3: case 's24-9' has another label in line 2"):
        read_references(b"case,label\nS24-9,benign\ns24-9,malignant\n")
