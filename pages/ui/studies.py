"""Draw the studies with their progress, and the form that creates a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from secrets import randbelow

import streamlit as st

from core.wording import count_words
from db import store
from db.errors import CaseChangedError
from db.values.accounts import Account
from db.values.reading import Arm
from db.values.studies import LARGEST_SEED, CaseChoice, StudyPlan, StudyPreview, StudyRow
from pages.ui import components, downloads, formatting, resources, times

_BY_FILTER, _FROM_LIST = "by filter", "from a list"
_KINDS = {"uploaded": False, "generated demo cases": True}
_MOST_PROBLEMS = 5  # lines of a list that are reported; of more, only the number
_MINUTES_PER_CASE = 1
_FORM = "study"
_ARM_WORDS = {
    Arm.UNAIDED: "unaided: the model is never shown",
    Arm.BLIND_FIRST: "blind first: a first opinion, then the model, then a final one",
    Arm.MODEL_FIRST: "model first: the model is shown from the beginning",
}


def draw_studies(studies: Sequence[StudyRow]) -> None:
    """Draw all studies, the newest first."""
    if not studies:
        st.markdown("There are no studies yet.")
    for study in studies:
        state = f"closed on {times.format_date_time(study.closed_at)}" if study.closed_at else "open"
        with st.expander(f"**{formatting.escape(study.name)}** · {state} · {study.done} of {study.total} read"):
            _draw_study(study)


def _draw_study(study: StudyRow) -> None:
    facts = [
        f"created by {formatting.escape(study.created_by)} on {times.format_date_time(study.created_at)}",
        f"seed {study.seed}",
        f"washout: {study.washout_days:g} {'day' if study.washout_days == 1 else 'days'}",
        "counterbalanced" if study.counterbalanced else "the same arms for all readers",
    ]
    st.caption(" · ".join(facts))
    st.dataframe(
        {
            "Reader": [part.reader for part in study.progress],
            "Round": [part.round for part in study.progress],
            "Arm": [str(part.arm) for part in study.progress],
            "Read": [part.done for part in study.progress],
            "Of": [part.of for part in study.progress],
            "Progress": [part.done / part.of for part in study.progress],
        },
        column_config={"Progress": st.column_config.ProgressColumn(format="percent")},
        hide_index=True,
    )
    with st.container(horizontal=True, key=f"study-actions-{study.id}"):
        downloads.draw_study_export(study.id)
        if study.closed_at is None:
            _ask_to_close(study)


def _ask_to_close(study: StudyRow) -> None:
    with st.popover("Close study"):
        left = study.total - study.done
        st.markdown(
            f"{left} of {study.total} readings are missing. "
            * bool(left)
            + "No more readings can be saved in a closed study, and it cannot be reopened; its cases return to the "
            "worklist."
        )
        if not st.button("Yes, close it", key=f"close-{study.id}", type="primary"):
            return
        by = resources.account().id
        try:
            with resources.sessions().begin() as session:
                store.studies.close_study(session, by, study.id)
        except CaseChangedError as error:
            st.error(formatting.escape(times.localise_message(str(error))))
            return
    components.announce(f"The study {formatting.escape(study.name)} is closed.")


@dataclass(frozen=True, slots=True)
class _ChosenCases:
    """The chosen cases, and the problems of the choice."""

    case_ids: tuple[int, ...]
    problems: tuple[str, ...] = ()


def draw_form(readers: Sequence[Account]) -> None:
    """Ask for a new study, show the reading it requires, and create it."""
    key = f"study-{components.form_number(_FORM)}"
    st.markdown("**New study**")
    left, right = st.columns([1, 1.4])
    name = left.text_input("Name", max_chars=200, autocomplete="off", key=f"name-{key}").strip()
    chosen = right.multiselect(
        "Readers",
        readers,
        default=readers if len(readers) == 1 else None,
        format_func=lambda account: account.name,
        key=f"readers-{key}",
    )
    cases = _ask_cases(key)
    arms = _ask_arms(key)
    days, mixed, seed = _ask_order(key, several=len(arms) > 1)
    _draw_problems(cases)
    if not chosen:
        st.caption("Not complete yet: choose the readers.")
        return
    try:
        ids = tuple(account.id for account in chosen)
        plan = StudyPlan(name or "?", ids, cases.case_ids, arms, days, mixed, seed)
    except ValueError as error:
        st.caption(formatting.escape(f"Not complete yet: {error}."))
        return
    _preview_and_create(
        key, plan, {account.id: account.name for account in chosen}, complete=not cases.problems and bool(name)
    )


def _ask_cases(key: str) -> _ChosenCases:
    """Ask for the cases of a study."""
    ways = (_BY_FILTER, _FROM_LIST)
    way = st.segmented_control("Cases", ways, default=_BY_FILTER, required=True, key=f"cases-{key}")
    return _ask_for_list(key) if way == _FROM_LIST else _ask_for_filter(key)


def _ask_for_filter(key: str) -> _ChosenCases:
    magnification, kind, since, until = st.columns(4)
    choice = CaseChoice(
        magnification=components.ask_magnification(magnification, f"magnification-{key}", "any", kept=False),
        demonstration=_KINDS.get(
            kind.selectbox("Kind", list(_KINDS), index=None, placeholder="any", key=f"kind-{key}") or ""
        ),
        since=_start(since.date_input("Added from", None, key=f"since-{key}")),
        until=_start(until.date_input("Added until", None, key=f"until-{key}"), days=1),
    )
    by = resources.account().id
    try:
        with resources.sessions().read() as session:
            return _ChosenCases(store.studies.cases_for_study(session, by, choice))
    except ValueError as error:
        return _ChosenCases((), (str(error),))


def _start(day: date | None, *, days: int = 0) -> datetime | None:
    return times.start_of_day(day, days=days) if day else None


def _ask_for_list(key: str) -> _ChosenCases:
    text = st.text_area("Case numbers, one per line", height=120, key=f"list-{key}")
    lines = {number: line.strip() for number, line in enumerate(text.splitlines(), start=1) if line.strip()}
    by = resources.account().id
    try:
        with resources.sessions().read() as session:
            matches = store.studies.find_cases(session, by, list(lines.values()))
    except ValueError as error:
        return _ChosenCases((), (str(error),))
    problems: list[str] = []
    cases: dict[int, int] = {}
    for (number, accession), case in zip(lines.items(), matches, strict=True):
        if case is None:
            problems.append(f"line {number}: there is no case {accession}")
        elif case in cases:
            problems.append(f"line {number}: {accession} is already in line {cases[case]}")
        else:
            cases[case] = number
    return _ChosenCases(tuple(cases), tuple(problems))


def _ask_arms(key: str) -> tuple[Arm, ...]:
    rounds, *_ = st.columns([1, 4])
    number = rounds.number_input("Rounds", 1, 10, 1, key=f"rounds-{key}")
    columns = st.columns(min(int(number), 2))
    return tuple(
        columns[n % len(columns)].selectbox(
            f"Arm of round {n + 1}", list(Arm), format_func=_ARM_WORDS.__getitem__, key=f"arm-{n}-{key}"
        )
        or Arm.UNAIDED
        for n in range(int(number))
    )


def _ask_order(key: str, *, several: bool) -> tuple[float, bool, int]:
    days, mixed, seed = st.columns(3, vertical_alignment="bottom")
    washout = days.number_input(
        "Washout between rounds, in days",
        0.0,
        3650.0,
        28.0,
        step=1.0,
        format="%g",
        disabled=not several,
        key=f"washout-{key}",
    )
    counterbalanced = mixed.checkbox(
        "Counterbalanced",
        help="The arm that a reader starts with rotates from reader to reader.",
        disabled=not several,
        key=f"balance-{key}",
    )
    random_seed = st.session_state.setdefault(f"drawn-{key}", randbelow(LARGEST_SEED))
    number = seed.number_input("Seed for the case order", 0, LARGEST_SEED, random_seed, step=1, key=f"seed-{key}")
    return float(washout) if several else 0.0, bool(counterbalanced) and several, int(number)


def _draw_problems(chosen: _ChosenCases) -> None:
    """Draw what is wrong in the list of cases."""
    if not chosen.problems:
        return
    rest = len(chosen.problems) - _MOST_PROBLEMS
    more = [f"and {rest} more"] if rest > 0 else []
    st.error("  \n".join(formatting.escape(words) for words in (*chosen.problems[:_MOST_PROBLEMS], *more)))


def _preview_and_create(key: str, plan: StudyPlan, names: dict[int, str], *, complete: bool) -> None:
    by = resources.account().id
    try:
        with resources.sessions().read() as session:
            preview = store.studies.preview_study(session, by, plan)
    except ValueError as error:
        st.error(formatting.escape(str(error)))
        return
    if preview.obstacles and not _ask_to_leave_out(key, preview):
        return
    left = len(plan.case_ids) - len(preview.obstacles)
    if not left:
        st.error("No cases are left.")
        return
    _draw_workload(plan.without(preview.obstacles), preview, names)
    if st.button("Create study", type="primary", key=f"make-{key}", disabled=not complete):
        _create(plan.without(preview.obstacles))
    if not complete:
        st.caption("Enter a name, and correct the problems shown above.")


def _ask_to_leave_out(key: str, preview: StudyPreview) -> bool:
    number = len(preview.obstacles)
    st.warning(f"{count_words(number, 'case')} cannot be in this study.")
    st.dataframe(
        {"Case": [one.accession for one in preview.obstacles], "Reason": [one.why for one in preview.obstacles]},
        hide_index=True,
        height=components.table_height(number, 250),
    )
    return st.checkbox("Leave them out", key=f"leave-{key}")


def _draw_workload(plan: StudyPlan, preview: StudyPreview, names: dict[int, str]) -> None:
    """Draw how much reading the study requires."""
    rounds, cases = len(plan.arms), len(plan.case_ids)
    each = rounds * cases
    hours, minutes = divmod(each * _MINUTES_PER_CASE, 60)
    duration = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    parts = ((cases, "case"), (len(plan.reader_ids), "reader"), (rounds, "round"))
    factors = ", ".join(count_words(number, what) for number, what in parts)
    words = [
        f"**{count_words(each * len(plan.reader_ids), 'reading')}**: {factors}",
        f"{each} for each reader, about {duration} at a minute per case",
    ]
    if rounds > 1:
        words.append(
            f"each round begins {plan.washout_days:g} days after the reader's last opinion in the round before"
        )
    if preview.repeats:
        words.append(f"{preview.repeats} are repeats: the same reader, case and arm again")
    st.markdown("; ".join(words) + ".")
    arms = [plan.arms_of(reader) for reader in plan.reader_ids]
    columns = {f"Round {n + 1}": [str(order[n]) for order in arms] for n in range(rounds)}
    st.dataframe({"Reader": [names[reader] for reader in plan.reader_ids], **columns}, hide_index=True)


def _create(plan: StudyPlan) -> None:
    by = resources.account().id
    try:
        with resources.sessions().begin() as session:
            store.studies.make_study(session, by, plan)
    except ValueError as error:
        st.error(formatting.escape(f"Not saved: {error}."))
        return
    components.empty_form(_FORM)
    components.announce(f"The study {formatting.escape(plan.name)} was created. Its readers find it under Study.")
