"""SQL for the readings that count in the figures of agreement, and for how long they took.

A reading is a blind first read with what follows it at the same place: the final reads and withdrawals that no informed
one is among. `db.store.agreement` makes values of the same rows.
"""

from dataclasses import dataclass
from typing import TypeVarTuple

from sqlalchemy import CTE, ColumnElement, Integer, Select, and_, func, literal, or_, select, true
from sqlalchemy import case as choose
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import BigInteger

from db import tables
from db.values.agreement import ReadingFilter, TimedStage
from db.values.reading import Stage

ReadTable = type[tables.Read]
_Columns = TypeVarTuple("_Columns")


class _Microseconds(GenericFunction[int]):
    """From the second time to the first."""

    type = BigInteger()
    name = "second_read_microseconds"
    inherit_cache = True


@compiles(_Microseconds, "sqlite")
def _of_texts(element: _Microseconds, compiler: SQLCompiler, **_: object) -> str:
    # Times are texts of equal length; the functions of SQLite round to milliseconds, and so to the next second.
    until, since = (compiler.process(clause) for clause in element.clauses)
    seconds = f"strftime('%s', substr({until}, 1, 19)) - strftime('%s', substr({since}, 1, 19))"
    return f"(({seconds}) * 1000000 + substr({until}, 21, 6) - substr({since}, 21, 6))"


@compiles(_Microseconds, "postgresql")
def _of_times(element: _Microseconds, compiler: SQLCompiler, **_: object) -> str:
    until, since = (compiler.process(clause) for clause in element.clauses)
    return f"CAST(extract(epoch FROM ({until} - {since})) * 1000000 AS BIGINT)"


@dataclass(frozen=True, slots=True)
class Chain:
    """The rows of a reading: its first read, its final one as first saved, and the one that stands; null if none."""

    first: ReadTable
    original: ReadTable
    standing: ReadTable


def is_reading_row(read: ReadTable) -> ColumnElement[bool]:
    """Select the rows of readings: blind ones, by readers.

    A reading that began with the model has no blind opinion; the study export has it.
    """
    first = aliased(tables.Read)
    began_blind = select(first.id).where(
        first.case_id == read.case_id,
        first.account_id == read.account_id,
        first.stage == Stage.FIRST,
        first.informed.is_not(True),
        func.coalesce(first.place_id, 0) == func.coalesce(read.place_id, 0),
    )
    return and_(began_blind.correlate(read).exists(), _is_blind_row(read))


def is_first_of_reading(read: ReadTable) -> ColumnElement[bool]:
    """Select the first rows of readings."""
    return and_(read.stage == Stage.FIRST, _is_blind_row(read))


def _is_blind_row(read: ReadTable) -> ColumnElement[bool]:
    """Select uninformed rows, but none of routine reading by who settled the case.

    An adjudicator reads only difficult cases: counted as another reader, they would make all readers look worse.
    """
    settled = aliased(tables.Consensus)
    has_settled = select(settled.id).where(settled.case_id == read.case_id, settled.account_id == read.account_id)
    return and_(read.informed.is_not(True), or_(read.place_id.is_not(None), ~has_settled.correlate(read).exists()))


def shown_version(read: ReadTable) -> ColumnElement[str | None]:
    """Compute the version of the model whose opinion, or that it gave none, was shown with a read."""
    shown_prediction, prediction = aliased(tables.ReadPrediction), aliased(tables.Prediction)
    version = (
        select(prediction.model_version)
        .join(shown_prediction, shown_prediction.prediction_id == prediction.id)
        .where(shown_prediction.read_id == read.id)
        .correlate(read)
        .limit(1)  # a reveal shows only one version
        .scalar_subquery()
    )
    shown_scope, scope = aliased(tables.ReadScope), aliased(tables.ImageScope)
    withheld_by = (
        select(scope.model_version)
        .join(shown_scope, shown_scope.scope_id == scope.id)
        .where(shown_scope.read_id == read.id, read.shown_scope == "out", scope.level == "out")
        .correlate(read)
        .order_by(scope.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(version, withheld_by)


def timed_readings(cases: Select[int], stage: TimedStage, wanted: ReadingFilter) -> CTE:
    """Return how long the reads of a stage took.

    The columns are `first_id`, `case_id`, `reader`, `iteration` and `microseconds`.
    """
    chain, case, account = make_chain(), aliased(tables.Case), aliased(tables.Account)
    read = chain.first if stage == "first" else chain.original
    query = (
        of_chain(
            select(
                chain.first.id.label("first_id"),
                chain.first.case_id.label("case_id"),
                account.name.label("reader"),
                _iteration(chain.first).label("iteration"),
                _Microseconds(read.saved_at, read.opened_at).label("microseconds"),
            ),
            chain,
        )
        .join(case, case.id == chain.first.case_id)
        .join(account, account.id == chain.first.account_id)
        .where(chain.first.case_id.in_(cases))
    )
    if stage == "final":
        query = query.where(read.id.is_not(None))
    if wanted.demonstration is not None:
        query = query.where(case.demonstration.is_(wanted.demonstration))
    if wanted.magnifications is not None:
        powers = [power for power in wanted.magnifications if power is not None]
        unknown = case.magnification.is_(None) if None in wanted.magnifications else ~true()
        query = query.where(or_(case.magnification.in_(powers), unknown))
    if wanted.model_version is not None:
        query = query.where(shown_version(chain.standing) == wanted.model_version)
    if wanted.reader is not None:
        query = query.where(account.name == wanted.reader)
    # With a cursor it would plan for the first rows only, and search all cases anew for each.
    return query.cte().prefix_with("MATERIALIZED", dialect="postgresql")


def make_chain() -> Chain:
    """Return aliases for the rows of a reading."""
    return Chain(aliased(tables.Read), aliased(tables.Read), aliased(tables.Read))


def of_chain(query: Select[*_Columns], chain: Chain) -> Select[*_Columns]:
    """Join the final reads to the first ones of readings."""
    first, standing, original = chain.first, chain.standing, chain.original
    last, withdrawn, saved = aliased(tables.Read), aliased(tables.Read), aliased(tables.Read)

    def same(read: ReadTable) -> ColumnElement[bool]:
        return and_(
            read.case_id == first.case_id,
            read.account_id == first.account_id,
            func.coalesce(read.place_id, 0) == func.coalesce(first.place_id, 0),
            read.informed.is_not(True),
        )

    newest = select(func.max(last.id)).where(same(last), last.stage != Stage.FIRST).correlate(first).scalar_subquery()
    undone = select(func.max(withdrawn.id)).where(same(withdrawn), withdrawn.stage == Stage.WITHDRAWN)
    since = func.coalesce(undone.correlate(first).scalar_subquery(), 0)
    oldest = select(func.min(saved.id)).where(same(saved), saved.stage == Stage.FINAL, saved.id > since)
    # Most final reads replace nothing.
    first_saved = choose(
        (standing.supersedes_id.is_(None), standing.id), else_=oldest.correlate(first).scalar_subquery()
    )
    return (
        query.select_from(first)
        .outerjoin(standing, and_(standing.id == newest, standing.stage == Stage.FINAL))
        .outerjoin(original, original.id == first_saved)
        .where(is_first_of_reading(first))
    )


def _iteration(first: ReadTable) -> ColumnElement[int]:
    """Compute the number of a reading among those of the same reader and case; routine reading comes first."""
    earlier = aliased(tables.Read)
    before = select(func.count(earlier.id)).where(
        earlier.case_id == first.case_id,
        earlier.account_id == first.account_id,
        func.coalesce(earlier.place_id, 0) < first.place_id,
        is_first_of_reading(earlier),
    )
    number = before.correlate(first).scalar_subquery() + 1
    return choose((first.place_id.is_(None), literal(1, Integer())), else_=number)
