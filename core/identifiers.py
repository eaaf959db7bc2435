"""Compare identifiers (of patients, cases, files) however they were typed, exported or pasted."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

# A blank to the eye, but a symbol or a letter to Unicode: the blank of braille, and the fillers of Hangul.
_BLANK_SYMBOL = "\u2800"
_FILLERS = "\u115f\u1160\u3164\uffa0"
_MINUS = "\u2212"  # a mathematical symbol, but typed as a dash
# Variation selectors and the grapheme joiner change at most how a letter is drawn.
_UNSEEN = re.compile("[\u034f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
# As a numeric column comes out of a spreadsheet or of pandas: 007, 7, 7.0
_NUMBER = re.compile(r"0*([0-9]+)(?:\.0+)?")
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
# As Excel shows a number for which its column is too narrow, and writes it to a CSV file: 1.23457E+11
_SHORTENED = re.compile(r"[+-]?\d(?:[.,]\d+)?e\+\d{2,3}")
# What spreadsheets, pandas and R write where there is nothing, and the errors of Excel, some in German and French.
_ABSENT = frozenset(
    (
        *("nan", "na", "n/a", "<na>", "nat", "null", "none", "#n/a", "#nv", "#ref!", "#bezug!", "#value!", "#wert!"),
        *("#valeur!", "#name?", "#nom?", "#div/0!", "#num!", "#zahl!", "#nombre!", "#null!", "#nul!", "#spill!"),
    )
)


def fold_identifier(identifier: str) -> str:
    """Return the form in which identifiers are compared; two spellings of one identifier have the same.

    Letters are compared composed and by compatibility (NFKC) and without case, any run of blanks of whatever kind
    counts as one, blanks at the ends, invisible characters and the kind of a dash do not count. A number is compared
    without leading zeros, which spreadsheets drop and people add. The form is for comparing, not for showing.
    """
    folded = fold_text(identifier)
    number = _NUMBER.fullmatch(folded)
    return number[1] if number else folded


def fold_text(text: str) -> str:
    """Return the form in which names and words are compared: as identifiers, but a number keeps its zeros."""
    if text.isascii() and text.isprintable():  # nearly every text, and the rest is slow
        return " ".join(text.casefold().split())
    folded = _collapse_blanks(fold_case(text))
    # Dropping a character can bring two together that compose or fold further.
    return folded if folded == text else fold_text(folded)


def fold_case(text: str) -> str:
    """Return a text as it is searched: without case, letters by compatibility (NFKC); blanks and dashes stay."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def fold_word(word: str) -> str:
    """Return the form in which fixed words are compared, such as names of columns: "Patient ID" is "patient_id"."""
    return _BETWEEN_WORDS.sub("", fold_text(word))


def tidy_identifier(identifier: str) -> str:
    """Return an identifier as it is shown: composed letters, no invisible characters, no blanks at its ends."""
    if identifier.isascii() and identifier.isprintable():
        return " ".join(identifier.split())
    return _collapse_blanks(unicodedata.normalize("NFC", identifier), keep_dashes=True)


def unify_identifiers(identifiers: Sequence[str]) -> list[str]:
    """Return every identifier in the first of its spellings, so that equal ones are equal as text."""
    first: dict[str, str] = {}
    return [first.setdefault(fold_identifier(one), tidy_identifier(one)) for one in identifiers]


def describe_loss(identifier: str) -> str:
    """Return why what is written cannot be the identifier that was meant; "" if it can.

    Different identifiers look alike then: 123456789012 and 123456700000 are both shortened to 1.23457E+11.
    """
    folded = fold_text(identifier)
    if _SHORTENED.fullmatch(folded):
        return "is a number that a spreadsheet has shortened; format the column as text and type it again"
    if folded in _ABSENT or (folded and not folded.strip("#")):
        return "is a placeholder for a missing value"
    return ""


def find_spellings(identifiers: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the spellings of each identifier that has several, in the order of their first appearance."""
    spellings: dict[str, dict[str, None]] = {}
    for one in dict.fromkeys(identifiers):
        spellings.setdefault(fold_identifier(one), {})[one] = None
    return [tuple(several) for several in spellings.values() if len(several) > 1]


def show_spellings(spellings: Sequence[str]) -> str:
    """Return several spellings in quotes, in escapes where they would look alike: 'P1', 'P1 ' or 'P1\\xa0'."""
    alike = len({unicodedata.normalize("NFKC", one) for one in spellings}) < len(spellings)
    quoted = [ascii(one) if alike else repr(one) for one in spellings]
    return f"{', '.join(quoted[:-1])} and {quoted[-1]}" if len(quoted) > 1 else quoted[0]


def _collapse_blanks(text: str, *, keep_dashes: bool = False) -> str:
    seen = (_as_seen(character, keep_dashes=keep_dashes) for character in _UNSEEN.sub("", text))
    return " ".join("".join(seen).split())


def _as_seen(character: str, *, keep_dashes: bool) -> str:
    """Return a blank for whatever looks like one, nothing for what is invisible, and "-" for a dash."""
    if character.isspace() or character == _BLANK_SYMBOL:
        return " "
    category = unicodedata.category(character)
    if category in ("Cf", "Cc") or character in _FILLERS:
        return ""
    is_dash = category == "Pd" or character == _MINUS
    return "-" if is_dash and not keep_dashes else character
