"""Time what the pages ask of the store in a database of very many cases against one of a thousand."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import Session

from db import store as of_db
from db.database import open_as_it_is
from db.values.reading import Opinion
from db.values.worklist import CaseFilter, CaseOrder
from training.benchmark.many_cases import ManyCases, make_many_cases
from training.benchmark.timing import Ratio, ratio, time_in_pairs

_FEW, _MANY = 1000, 300_000
_TIMES = 40  # that a question is asked for its 95th percentile

_Question = Callable[[Session, ManyCases], object]
_QUESTIONS: dict[str, _Question] = {
    "case_view": lambda session, made: of_db.open_case.case_view(session, made.finished, made.readers[0]),
    "next_case": lambda session, made: of_db.worklist.find_next_case(session, made.readers[0]),
    "state_counts": lambda session, made: of_db.worklist.state_counts(session, made.readers[0]),
    "a worklist page": lambda session, made: of_db.worklist.worklist(session, made.readers[0]),
    "a worklist page by number": lambda session, made: of_db.worklist.worklist(
        session, made.readers[0], order=CaseOrder.ACCESSION
    ),
    "a worklist page, the model least certain first": lambda session, made: of_db.worklist.worklist(
        session, made.readers[0], order=CaseOrder.UNCERTAINTY
    ),
    "a search": lambda session, made: of_db.worklist.worklist(session, made.readers[0], CaseFilter(text="S24-777")),
}


def store(rounds: int) -> list[Ratio]:
    """Time the questions of the pages at very many cases against a thousand, on SQLite.

    `SECOND_READ_BENCHMARK_CASES` sets how many, a multiple of 200; `SECOND_READ_BENCHMARK_DATABASES` names the empty
    databases to fill instead, the small one first: two URLs with a blank between them.
    """
    many = int(os.environ.get("SECOND_READ_BENCHMARK_CASES", _MANY))
    with tempfile.TemporaryDirectory() as folder:
        given = os.environ.get("SECOND_READ_BENCHMARK_DATABASES", "").split()
        urls = given or [f"sqlite:///{Path(folder) / name}.sqlite" for name in ("few", "many")]
        few_cases, many_cases = (make_many_cases(url, size) for url, size in zip(urls, (_FEW, many), strict=True))
        return [
            figure
            for name, question in _QUESTIONS.items()
            for figure in _compare(name, question, few_cases, many_cases, f"{many:,} cases against {_FEW:,}", rounds)
        ]
