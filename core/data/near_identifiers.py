"""Find identifiers that are written almost alike: of two patients, or of one with a slip of the hand."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from core.identifiers import fold_identifier

MOST_COMPARED = 5_000  # identifiers; where there are more, nearly all have neighbours by chance
# Patients are numbered, so numbers one digit apart say nothing where they are common: more than one for ten patients.
_COMMON = 0.1
_NUMBER = re.compile(r"0*([0-9]+)")
# What marks a text in Excel, and the decimals of a whole number, with the comma of many languages.
_DECORATION = re.compile(r"^['\u2019]|[.,]0{1,2}$")


@dataclass(frozen=True, slots=True)
class NearIdentifiers:
    """Pairs of identifiers one edit apart, or equal as numbers: P1 and P001.

    `pairs` are those to look at; `numbered` counts further pairs that differ in one digit, as numbered patients do.
    """

    pairs: tuple[tuple[str, str], ...]
    numbered: int = 0


def find_near_identifiers(identifiers: Iterable[str]) -> NearIdentifiers:
    """Return the pairs of different identifiers that one edit makes equal.

    An edit replaces, inserts or removes one character, or exchanges two neighbours (Damerau, Commun. ACM 1964).
    """
    first: dict[str, str] = {}
    for one in identifiers:
        first.setdefault(fold_identifier(one), one)
    if len(first) > MOST_COMPARED:
        return NearIdentifiers(())
    near = _one_edit_apart(sorted(first)) | _equal_as_numbers(sorted(first))
    numbers = {pair for pair in near if _differ_in_a_number(*pair)}
    common = len(numbers) > _COMMON * len(first)
    shown = sorted(near - numbers) + ([] if common else sorted(numbers))
    return NearIdentifiers(tuple((first[one], first[other]) for one, other in shown), len(numbers) if common else 0)


def _one_edit_apart(identifiers: Sequence[str]) -> set[tuple[str, str]]:
    """Compare identifiers that are equal once at most one character of each is left out, and no others."""
    rests: dict[str, set[str]] = defaultdict(set)
    for one in identifiers:
        rests[one].add(one)
        for position in range(len(one)):
            rests[one[:position] + one[position + 1 :]].add(one)
    return {pair for alike in rests.values() for pair in combinations(sorted(alike), 2) if _is_one_edit(*pair)}


def _is_one_edit(one: str, other: str) -> bool:
    if len(one) > len(other):
        one, other = other, one
    start = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    exchanged = one[start : start + 2] == other[start : start + 2][::-1] and one[start + 2 :] == other[start + 2 :]
    return one[start + 1 :] == other[start + 1 :] or exchanged


def _equal_as_numbers(identifiers: Sequence[str]) -> set[tuple[str, str]]:
    """Return the pairs that are equal as numbers: P1 and P001, 1 and 1,0, '7 and 7, 12 in the digits of two scripts."""
    alike: dict[str, list[str]] = defaultdict(list)
    for one in identifiers:
        digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in one)
        alike[_NUMBER.sub(r"\1", _DECORATION.sub("", digits))].append(one)
    return {pair for group in alike.values() for pair in pairwise(group)}


def _differ_in_a_number(one: str, other: str) -> bool:
    """Return whether only the value of a number differs."""
    same_zeros = _NUMBER.sub(r"\1", one) == _NUMBER.sub(r"\1", other)
    return not same_zeros and _NUMBER.sub("0", one) == _NUMBER.sub("0", other)
