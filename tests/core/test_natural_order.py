"""Names and case numbers in the order that people expect."""

import pytest

from core.natural_order import make_natural_key


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (None, ["S24-1", "S24-2", "s24-3", "S24-10", "S24-10a", "S100-1", "T-1"]),
        (None, ["", "1", "2", "10", "A", "a", "Ä", "ä", "B", "Z"]),
        ("de-DE", ["Ähre", "Arm", "Öl", "Ost", "Zahn"]),
        ("sv-SE", ["Arm", "Ost", "Zahn", "Åker", "Ähre", "Öl"]),
        ("nb", ["Arm", "Ost", "Zahn", "Ære", "Øl", "Åker"]),
        ("da-DK", ["Arm", "Zahn", "Ære", "Øl", "Åker"]),
        ("en", ["Ære", "Åker", "Arm", "Øl", "Ost", "Zahn"]),
        ("es", ["Nz", "Ña", "Oa"]),
        ("en-GB", ["Ña", "Nz", "Oa"]),
        ("pl-PL", ["Lz", "Ła", "Ma", "Za", "Źa", "Ża"]),
        ("cs", ["Cz", "Ča", "Da", "Zz", "Ža"]),
        ("ru-RU", ["ёж", "ель", "жук", "игла", "йод", "кот"]),
        ("xx", ["Ähre", "Arm", "Zahn"]),
    ],
)
def test_each_language_has_its_order(language: str | None, expected: list[str]) -> None:
    backwards = list(reversed(expected))
    assert sorted(backwards, key=lambda text: make_natural_key(text, language)) == expected


def test_composed_and_decomposed_letters_share_their_place() -> None:
    composed, decomposed = make_natural_key("Ä-2", "sv"), make_natural_key("A\N{COMBINING DIAERESIS}-2", "sv")
    assert composed[:2] == decomposed[:2]
    assert composed != decomposed  # so that the order of the two is always the same


def test_digits_of_every_script_are_counted() -> None:
    assert sorted(["S-١٠", "S-٩", "S-１１"], key=make_natural_key) == ["S-٩", "S-١٠", "S-１１"]
