"""The choice of cases for a study: by what is known of them, or from a list of their numbers."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import streamlit as st

from db import store
from db.study_values import CaseChoice
from pages.ui import components, panels, resources

_BY_FILTER, _FROM_LIST = "by filter", "from a list"
_KINDS = {"uploaded": False, "generated demo cases": True}
_SHOWN = 5  # lines of a list that are wrong


@dataclass(frozen=True, slots=True)
class Chosen:
    """The cases that were chosen, and what is wrong with the choice."""

    case_ids: tuple[int, ...]
    problems: tuple[str, ...] = ()


def choose(key: str) -> Chosen:
    """Ask for the cases of a study."""
    ways = (_BY_FILTER, _FROM_LIST)
    way = st.segmented_control("Cases", ways, default=_BY_FILTER, required=True, key=f"cases-{key}")
    return _listed(key) if way == _FROM_LIST else _filtered(key)


def _filtered(key: str) -> Chosen:
    magnification, kind, since, until = st.columns(4)
    wanted = CaseChoice(
        magnification=components.ask_magnification(magnification, f"magnification-{key}", "any", kept=False),
        demonstration=_KINDS.get(
            kind.selectbox("Kind", list(_KINDS), index=None, placeholder="any", key=f"kind-{key}") or ""
        ),
        since=_start(since.date_input("Added from", None, key=f"since-{key}")),
        until=_start(until.date_input("Added until", None, key=f"until-{key}"), days=1),
    )
    by = resources.account().id
    with resources.sessions().read() as session:
        return Chosen(store.cases_for_study(session, by, wanted))


def _listed(key: str) -> Chosen:
    text = st.text_area("Case numbers, one in each line", height=120, key=f"list-{key}")
    lines = {number: line.strip() for number, line in enumerate(text.splitlines(), start=1) if line.strip()}
    by = resources.account().id
    try:
        with resources.sessions().read() as session:
            found = store.cases_named(session, by, list(lines.values()))
    except ValueError as error:
        return Chosen((), (str(error),))
    problems: list[str] = []
    cases: dict[int, int] = {}
    for (number, accession), case in zip(lines.items(), found, strict=True):
        if case is None:
            problems.append(f"line {number}: there is no case {accession}")
        elif case in cases:
            problems.append(f"line {number}: {accession} stands in line {cases[case]} already")
        else:
            cases[case] = number
    return Chosen(tuple(cases), tuple(problems))


def problems(chosen: Chosen) -> None:
    """Say which lines of a list are wrong."""
    if not chosen.problems:
        return
    rest = len(chosen.problems) - _SHOWN
    more = [f"and {rest} more"] if rest > 0 else []
    st.error("  \n".join(panels.plain(words) for words in (*chosen.problems[:_SHOWN], *more)))


def _start(day: date | None, *, days: int = 0) -> datetime | None:
    """Give the beginning of a day by the server's clock, or of one so many days later."""
    return datetime.combine(day + timedelta(days=days), time()).astimezone() if day else None
