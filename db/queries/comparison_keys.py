"""Who knows how a case was read, and by which keys it is counted in the figures of agreement.

A key says how a case was read in one of the ways in which readings are compared, and what the page filters by: cases
with equal keys count alike. `db.projection.comparisons` keeps a number for each key.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import ColumnElement, Integer, Row, Select, String, bindparam, cast, func, literal, or_, select
from sqlalchemy import case as choose
from sqlalchemy.orm import Session, aliased

from db import tables
from db.queries.cached import cache_statement
from db.queries.consensus import is_current_consensus
from db.queries.counted_readings import ReadTable, make_chain, of_chain, shown_version
from db.queries.reads import is_current_final, is_final_of_any_kind
from db.queries.study_places import is_in_open_study
from db.values.agreement import ComparedReadings

RESEARCHERS = 0  # in place of an account: they know every case that any reader has finished
_CASES = bindparam("cases", type_=Integer(), expanding=True)

_Reading = Row[*tuple[Any, ...]]  # of `_readings`


def derive_keys(session: Session, cases: Sequence[int]) -> dict[tuple[int, int], tuple[str, ...]]:
    """Derive who knows how some cases were read, and by which keys each of these cases is counted.

    Undo is left out: it ends by itself, so `db.queries.compared_cases` takes it into account when cases are counted.

    Returns:
        The keys in the order of `ComparedReadings`, by account and case.
    """
    known = [(account_id, case_id) for account_id, case_id in session.execute(_knowers(), {"cases": list(cases)})]
    known += [(RESEARCHERS, one) for one in session.scalars(_finished(), {"cases": list(cases)})]
    keys = _keys(session, sorted({case_id for _, case_id in known})) if known else {}
    return {(account_id, case_id): keys[case_id] for account_id, case_id in known if case_id in keys}


def number_of(key: str) -> int:
    """Return the number that is kept for a key: not negative, of 63 bits."""
    return int.from_bytes(sha256(key.encode()).digest()[:8]) >> 1


@cache_statement
def _knowers() -> Select[int, int]:
    """Select account and case by the rule of `db.queries.reader_knowledge.finished_cases`, without Undo."""
    final = aliased(tables.Read)
    return select(final.account_id, final.case_id).where(
        final.case_id.in_(_CASES), is_current_final(final), ~is_in_open_study(final.case_id, final.account_id)
    )


@cache_statement
def _finished() -> Select[int]:
    """Select the cases that any reader has finished, in routine reading or in a study."""
    read = aliased(tables.Read)
    return select(read.case_id).where(read.case_id.in_(_CASES), is_final_of_any_kind(read)).distinct()


def _keys(session: Session, cases: Sequence[int]) -> dict[int, tuple[str, ...]]:
    readings: dict[int, list[tuple[str, ...]]] = defaultdict(list)
    iterations: Counter[tuple[int, int]] = Counter()
    for row in session.execute(_readings(), {"cases": cases}):
        iterations[row.case_id, row.account_id] += 1
        readings[row.case_id].append(_texts(row, iterations[row.case_id, row.account_id]))
    found = {}
    for case_id, demonstration, power, reference in session.execute(_cases(), {"cases": list(readings)}):
        before, after = "d" if demonstration else "", "" if power is None else f"x{power}"
        found[case_id] = tuple(
            _key(reference if compared is ComparedReadings.REVEAL else "", before, ",".join(texts), after)
            for compared, texts in zip(ComparedReadings, zip(*readings[case_id], strict=True), strict=True)
        )
    return found


def _key(*parts: str) -> str:
    # What is no text, which only tampering can put there, cannot be written as it is.
    return "|".join(parts).encode("utf-8", "backslashreplace").decode()


@cache_statement
def _readings() -> Select[*tuple[Any, ...]]:
    """Select what is compared of the readings of some cases, those of a reader in the order of their iterations."""
    chain = make_chain()
    first, original, standing = chain.first, chain.original, chain.standing
    columns = (
        *(first.case_id, first.account_id, _initial(first.label).label("first_label"), first.confidence),
        *(original.id.label("original"), _initial(original.label).label("original_label")),
        *(standing.id.label("standing"), _initial(standing.label).label("last_label")),
        standing.confidence.label("last_confidence"),
        # As texts: a value that only tampering can put there must keep nobody from saving.
        cast(standing.vote, String()).label("vote"),
        _side(original).label("saw"),
        choose((standing.shown_scope == "out", literal("w", String())), else_=_side(standing)).label("model"),
        shown_version(standing).label("version"),
    )
    query = of_chain(select(*columns), chain).where(first.case_id.in_(_CASES))
    return query.order_by(first.case_id, first.account_id, func.coalesce(first.place_id, 0))


def _texts(row: _Reading, iteration: int) -> tuple[str, ...]:
    """Write how a reading counts, in the order of `ComparedReadings`."""
    first = row.first_label or "?"
    last = "-" if row.standing is None else row.last_label or "?"
    original = "-" if row.original is None else row.original_label or "?"
    compared = {
        ComparedReadings.MODEL: first + last,
        ComparedReadings.READERS: f"{first}{row.confidence or ''}{last}{row.last_confidence or ''}",
        ComparedReadings.REVEAL: first + original + row.saw,
        ComparedReadings.HABITS: f"{original}{last}{row.vote or '-'}",
    }
    whose, version = f"{row.account_id}i{iteration}:{row.model}", f"@{row.version or ''}"
    return tuple(whose + compared[each] + version for each in ComparedReadings)


def _side(read: ReadTable) -> ColumnElement[str]:
    """Compute on which side of its threshold the model was, as it was shown."""
    return choose(
        (read.shown_probability >= read.shown_threshold, literal("m", String())),
        (read.shown_probability.is_not(None), literal("b", String())),
        else_=literal("-", String()),
    )


@cache_statement
def _cases() -> Select[int, bool, str | None, str]:
    """Select what the page filters cases by, and their reference labels: b or m, after c if by consensus, or empty."""
    case = tables.Case
    return select(case.id, case.demonstration, case.magnification, _reference(case)).where(case.id.in_(_CASES))


def _reference(case: type[tables.Case]) -> ColumnElement[str]:
    """Compute the label by the rule of `db.queries.exported_rows.references_of`."""
    signed, settled = aliased(tables.SignOff), aliased(tables.Consensus)
    of_case = select(func.max(signed.version)).where(signed.case_id == case.id)
    version = of_case.correlate(case).scalar_subquery()
    newest = select(_initial(signed.label)).where(signed.case_id == case.id, signed.version == version)
    current = select(literal("c", String()) + _initial(settled.label)).where(
        settled.case_id == case.id, is_current_consensus(settled)
    )
    by_sign_off = func.coalesce(newest.correlate(case).scalar_subquery(), "")
    by_consensus = func.coalesce(current.correlate(case).scalar_subquery(), "")
    # The first version repeats the consensus; an amendment was made with knowledge of it.
    return choose(
        (or_(version > 1, by_consensus == ""), by_sign_off),
        (by_consensus == "c", literal("", String())),
        else_=by_consensus,
    )


def _initial(label: ColumnElement[str] | object) -> ColumnElement[str]:
    return func.coalesce(func.substr(cast(label, String()), 1, 1), "")
