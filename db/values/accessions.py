"""How accessions are searched and sorted by an index: by the beginning of each part, and in their natural order."""

import re

from core.identifiers import fold_case
from core.natural_order import make_natural_key

_PART = re.compile(r"[^\W\d_]+|\d+")  # letters, or digits
_NUMBER_FOLLOWS = b"\x01"  # sorts before every character of an accession
_AFTER_ALL = b"\xff"  # sorts after every byte of UTF-8


def search_terms(accession: str) -> frozenset[bytes]:
    """Return the accession from each of its parts on: a search finds whatever begins like the text."""
    folded = fold_case(accession)
    starts = {0, *(part.start() for part in _PART.finditer(folded))}
    return frozenset(folded[start:].encode() for start in starts)


def search_range(text: str) -> tuple[bytes, bytes]:
    """Return the first term that begins like a text, and what comes after the last one."""
    folded = fold_case(text.strip()).encode()
    return folded, folded + _AFTER_ALL


def sort_key(accession: str) -> bytes:
    """Return bytes that sort like the natural order of accessions, every letter by its base letter.

    A number is written with its length first, so that the shorter one comes first.
    """
    units, folded, text = make_natural_key(accession)
    pieces = (
        chr(code).encode() if code else _NUMBER_FOLLOWS + bytes([len(str(value))]) + str(value).encode()
        for code, value in units
    )
    # Those that differ in accents or case only are told apart last.
    return b"".join(pieces) + b"\x00" + folded.encode() + b"\x00" + text.encode()
