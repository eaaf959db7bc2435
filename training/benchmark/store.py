"""Time what the pages ask of the store in a database of very many cases against one of a thousand."""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlalchemy.orm import Session

from db import store as questions
from db.database import Sessions, open_as_it_is
from db.values.agreement import ComparedReadings
from db.values.worklist import CaseFilter, CaseOrder
from training.benchmark.many_cases import ManyCases, make_many_cases
from training.benchmark.timing import Ratio, ratio, time_in_pairs

_FEW, _MANY = 1000, 300_000
_ASKED = 40  # times for the 95th percentile

_Question = Callable[[Session, ManyCases], object]
_QUESTIONS: dict[str, _Question] = {
    "case_view": lambda session, made: questions.open_case.case_view(session, made.finished, made.readers[0]),
    "next_case": lambda session, made: questions.worklist.find_next_case(session, made.readers[0]),
    "state_counts": lambda session, made: questions.worklist.state_counts(session, made.readers[0]),
    "a worklist page": lambda session, made: questions.worklist.worklist(session, made.readers[0]),
    "a worklist page by number": lambda session, made: questions.worklist.worklist(
        session, made.readers[0], order=CaseOrder.ACCESSION
    ),
    "a worklist page by certainty": lambda session, made: questions.worklist.worklist(
        session, made.readers[0], order=CaseOrder.UNCERTAINTY
    ),
    "a search": lambda session, made: questions.worklist.worklist(
        session, made.readers[0], CaseFilter(text=f"S24-{made.finished}")
    ),
    "the counts of agreement": lambda session, made: questions.agreement.alike_readings(
        session, made.readers[0], ComparedReadings.MODEL
    ),
    "the counts of two readers": lambda session, made: questions.agreement.alike_readings(
        session, made.readers[0], ComparedReadings.READERS
    ),
    "has agreement anything to show": lambda session, made: questions.agreement.has_readings(session, made.readers[0]),
    "the cases behind a figure": lambda session, made: _cases_behind(session, made.readers[0]),
}


def _cases_behind(session: Session, account_id: int) -> object:
    """Find the first page of the cases behind every second group of alike cases."""
    keys = [one.key for one in questions.agreement.alike_readings(session, account_id, ComparedReadings.MODEL)]
    return questions.agreement.cases_behind(session, account_id, ComparedReadings.MODEL, [keys[::2]])


def store(rounds: int) -> list[Ratio]:
    """Time the questions of the pages at very many cases against a thousand; on SQLite unless databases are named.

    `SECOND_READ_BENCHMARK_CASES` sets how many cases, a multiple of 200. `SECOND_READ_BENCHMARK_DATABASES` names two
    empty databases to fill instead, with a blank between their URLs, the small one first.
    """
    many = int(os.environ.get("SECOND_READ_BENCHMARK_CASES", _MANY))
    with tempfile.TemporaryDirectory() as folder:
        given = os.environ.get("SECOND_READ_BENCHMARK_DATABASES", "").split()
        urls = given or [f"sqlite:///{Path(folder) / name}.sqlite" for name in ("few", "many")]
        made = [make_many_cases(url, size) for url, size in zip(urls, (_FEW, many), strict=True)]
        return compare(made[0], made[1], f"{many:,} cases against {_FEW:,}", rounds)


def compare(few: ManyCases, many: ManyCases, note: str, rounds: int) -> list[Ratio]:
    """Ask both databases the same questions in turn."""
    small, large = open_as_it_is(few.url), open_as_it_is(many.url)
    figures: list[Ratio] = []
    for name, question in _QUESTIONS.items():
        of_many, of_few = partial(_ask, large, many, question), partial(_ask, small, few, question)
        ratios = [1 / one for one in time_in_pairs(of_few, of_many, 4 * rounds)]
        figures.append(ratio(f"{name}, very many cases against a thousand", "<= 1.5", ratios, note))
        times = sorted(_milliseconds(of_many) for _ in range(_ASKED))
        late = times[_ASKED * 95 // 100 - 1 :]
        figures.append(Ratio(f"95th percentile of {name}, ms", "< 50", late[0], times[0], times[-1], _ASKED, note))
    small.dispose()
    large.dispose()
    return figures


def _ask(sessions: Sessions, made: ManyCases, question: _Question) -> None:
    with sessions.read() as session:
        question(session, made)


def _milliseconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return (time.perf_counter() - start) * 1000
