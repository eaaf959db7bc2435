"""The form that makes a study, with what it would ask of its readers before anything is saved."""

from collections.abc import Sequence
from secrets import randbelow

import streamlit as st

from db import store
from db.reading_values import Arm
from db.study_values import LARGEST_SEED, Preview, StudyPlan
from db.values import Account
from pages.ui import components, panels, resources, study_cases

_MINUTES_A_CASE = 1
_ROUND = "study-form"  # counts the studies that were made: the next form begins empty
_ARM_WORDS = {
    Arm.UNAIDED: "unaided: the model is never shown",
    Arm.BLIND_FIRST: "blind first: a first opinion, then the model, then a final one",
    Arm.MODEL_FIRST: "model first: the model is shown from the beginning",
}


def form(readers: Sequence[Account]) -> None:
    """Ask for a new study, show what it would mean, and make it."""
    key = f"study-{st.session_state.get(_ROUND, 0)}"
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
    cases = study_cases.choose(key)
    arms = _arms(key)
    days, mixed, seed = _rest(key, several=len(arms) > 1)
    study_cases.problems(cases)
    if not chosen:
        st.caption("Not complete yet: choose its readers.")
        return
    try:
        ids = tuple(account.id for account in chosen)
        plan = StudyPlan(name or "?", ids, cases.case_ids, arms, days, mixed, seed)
    except ValueError as error:
        st.caption(panels.plain(f"Not complete yet: {error}."))
        return
    _preview_and_make(
        key, plan, {account.id: account.name for account in chosen}, complete=not cases.problems and bool(name)
    )


def _arms(key: str) -> tuple[Arm, ...]:
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


def _rest(key: str, *, several: bool) -> tuple[float, bool, int]:
    days, mixed, seed = st.columns(3, vertical_alignment="bottom")
    pause = days.number_input(
        "Washout between rounds, in days",
        0.0,
        3650.0,
        28.0,
        step=1.0,
        format="%g",
        disabled=not several,
        key=f"washout-{key}",
    )
    turned = mixed.checkbox(
        "Counterbalanced",
        help="Each reader begins with the next arm.",
        disabled=not several,
        key=f"balance-{key}",
    )
    drawn = st.session_state.setdefault(f"drawn-{key}", randbelow(LARGEST_SEED))
    number = seed.number_input("Seed of the orders", 0, LARGEST_SEED, drawn, step=1, key=f"seed-{key}")
    return float(pause) if several else 0.0, bool(turned) and several, int(number)


def _preview_and_make(key: str, plan: StudyPlan, names: dict[int, str], *, complete: bool) -> None:
    by = resources.account().id
    try:
        with resources.sessions().read() as session:
            preview = store.preview_study(session, by, plan)
    except ValueError as error:
        st.error(panels.plain(str(error)))
        return
    if preview.obstacles and not _leave_out(key, preview):
        return
    left = len(plan.case_ids) - len(preview.obstacles)
    if not left:
        st.error("No case is left.")
        return
    _load(plan.without(preview.obstacles), preview, names)
    if st.button("Make the study", type="primary", key=f"make-{key}", disabled=not complete):
        _make(plan.without(preview.obstacles))
    if not complete:
        st.caption("Give it a name, and put right what is wrong above.")


def _leave_out(key: str, preview: Preview) -> bool:
    number = len(preview.obstacles)
    st.warning(f"{panels.count_words(number, 'case')} cannot be in this study.")
    st.dataframe(
        {"case": [one.accession for one in preview.obstacles], "why not": [one.why for one in preview.obstacles]},
        hide_index=True,
        height=components.table_height(number, 250),
    )
    return st.checkbox("Leave them out", key=f"leave-{key}")


def _load(plan: StudyPlan, preview: Preview, names: dict[int, str]) -> None:
    """Say what the study would ask of its readers."""
    rounds, cases = len(plan.arms), len(plan.case_ids)
    each = rounds * cases
    hours, minutes = divmod(each * _MINUTES_A_CASE, 60)
    lasts = f"{hours} h {minutes} min" if hours else f"{minutes} min"
    parts = ((cases, "case"), (len(plan.reader_ids), "reader"), (rounds, "round"))
    made_of = ", ".join(panels.count_words(number, what) for number, what in parts)
    words = [
        f"**{panels.count_words(each * len(plan.reader_ids), 'reading')}**: {made_of}",
        f"{each} for each reader, about {lasts} at a minute a case",
    ]
    if rounds > 1:
        words.append(f"each round begins {plan.washout_days:g} days after a reader's last opinion of the one before")
    if preview.repeats:
        words.append(f"{preview.repeats} are repeats: the same reader, case and arm again")
    st.markdown("; ".join(words) + ".")
    arms = [plan.arms_of(reader) for reader in plan.reader_ids]
    columns = {f"round {n + 1}": [str(order[n]) for order in arms] for n in range(rounds)}
    st.dataframe({"reader": [names[reader] for reader in plan.reader_ids], **columns}, hide_index=True)


def _make(plan: StudyPlan) -> None:
    by = resources.account().id
    try:
        with resources.sessions().begin() as session:
            store.make_study(session, by, plan)
    except ValueError as error:
        st.error(panels.plain(f"Not saved: {error}."))
        return
    st.session_state[_ROUND] = int(st.session_state.get(_ROUND, 0)) + 1
    components.announce(f"The study {panels.plain(plan.name)} is made. Its readers find it under Study.")
