"""The order of names and case numbers that people expect: 2 before 10, without case, letters as in their language."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import chain

_Unit = tuple[int, int]  # 0 and a number, or the code of a base letter and the place among its letters
NaturalKey = tuple[tuple[_Unit, ...], str, str]
"""Sorts texts; keys of two languages cannot be compared."""

_NUMBER = re.compile(r"(\d+)")
_MARKS = "Mn"  # Unicode's category of accents

# Letters that a language sorts behind another one, after the CLDR collation charts; all others are sorted by their
# base letter, as German, French, Italian, Portuguese and Dutch do. Digraphs (Czech ch, Hungarian sz) are left out.
_NORDIC = ("zæøå",)
_SWEDISH = ("zåäö",)
_LETTERS: dict[str, tuple[str, ...]] = {
    "cs": ("cč", "rř", "sš", "zž"),
    "da": _NORDIC,
    "es": ("nñ",),
    "et": ("sšzž", "wõäöü"),
    "fi": _SWEDISH,
    "hr": ("cčć", "dđ", "sš", "zž"),
    "hu": ("oö", "uü"),
    "is": ("aá", "dð", "eé", "ií", "oó", "uú", "yý", "zþæö"),
    "lt": ("cč", "sš", "zž"),
    "lv": ("cč", "gģ", "kķ", "lļ", "nņ", "sš", "zž"),
    "nb": _NORDIC,
    "nn": _NORDIC,
    "no": _NORDIC,
    "pl": ("aą", "cć", "eę", "lł", "nń", "oó", "sś", "zźż"),
    "ro": ("aăâ", "iî", "sș", "tț"),
    "ru": ("ий",),
    "sk": ("aä", "cč", "oô", "sš", "zž"),
    "sl": ("cčć", "dđ", "sš", "zž"),
    "sv": _SWEDISH,
    "tr": ("cç", "gğ", "hı", "oö", "sş", "uü"),
    "uk": ("гґ", "еє", "иіїй"),
}
_PLACES: dict[str, dict[str, _Unit]] = {
    language: {letter: (ord(group[0]), place) for group in groups for place, letter in enumerate(group)}
    for language, groups in _LETTERS.items()
}
# Letters without a decomposition into a base letter and an accent.
_BASES = str.maketrans({"æ": "ae", "ø": "o", "œ": "oe", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i"})


def make_natural_key(text: str, language: str | None = None) -> NaturalKey:
    """Return the key that sorts a text naturally.

    Args:
        text: A name or a case number.
        language: A tag such as "sv-SE", as browsers send it; None sorts every letter by its base letter.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    places = _PLACES.get((language or "").lower().partition("-")[0], {})
    # Every second piece is a number, because the pattern is a group.
    pieces = enumerate(_NUMBER.split(folded))
    units = ([(0, int(piece))] if n % 2 else _place_letters(piece, places) for n, piece in pieces)
    # Texts that differ in accents or case only are told apart last.
    return tuple(chain.from_iterable(units)), folded, text


def _place_letters(piece: str, places: dict[str, _Unit]) -> Iterator[_Unit]:
    if piece.isascii():  # most are, and worklists are long
        yield from ((code, 0) for code in piece.encode())
        return
    for letter in piece:
        if letter in places:
            yield places[letter]
        else:
            bare = unicodedata.normalize("NFD", letter.translate(_BASES))
            yield from ((ord(base), 0) for base in bare if unicodedata.category(base) != _MARKS)
