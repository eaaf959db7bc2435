"""The Adjudication page: the list of waiting cases, the blind read, the readers' opinions and the consensus form."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from db import store
from db.errors import CaseChangedError
from db.values.adjudication import Adjudication, Ruling, ShownRead, WaitingCase
from db.values.reading import CaseView, Consensus, Opinion, Severity
from pages.ui import components, formatting, resources
from pages.ui.reading import drafts, header, inputs, model_opinion, saved, sign_off
from pages.ui.reading.mode import ReadingMode, routine
from pages.ui.reading.read_form import ReadForm
from pages.ui.viewer import OthersMarks

_SEVERITIES = {
    Severity.NONE: ("7", "would have changed nothing for the patient"),
    Severity.MINOR: ("8", "would have changed wording or follow-up, not treatment"),
    Severity.MAJOR: ("9", "would have changed treatment or outlook"),
}
_HEIGHT = 210  # px; more of what was said is scrolled, so that the form stays on the screen
_FEW, _LONG = 2, 160  # readers and characters of theirs that need no scrolling


def waiting() -> list[WaitingCase]:
    """Ask which cases wait for this adjudicator."""
    adjudicator = resources.account().id
    with resources.sessions().read() as session:
        return store.adjudication.cases_to_adjudicate(session, adjudicator)


def open_it(case_id: int) -> None:
    """Show one case."""
    st.query_params["case"] = str(case_id)
    st.rerun()


def open_next(after: int) -> None:
    """Show the next case that waits for this adjudicator, or the list when none does."""
    cases = [case.id for case in waiting()]
    place = cases.index(after) + 1 if after in cases else 0
    following = [case_id for case_id in (*cases[place:], *cases[:place]) if case_id != after]
    if not following:
        st.query_params.clear()
        st.rerun()
    open_it(following[0])


def draw_header(seen: Adjudication) -> None:
    """Draw the line above the tissue."""
    skip = partial(open_next, seen.case.id) if seen.waits else None
    header.line(seen.case, ("**ADJUDICATION**", f"{len(waiting())} to adjudicate"), skip)


def blind_read(case: CaseView) -> ReadingMode:
    """Read a case blind before anything that was said of it is shown."""
    return replace(
        routine(case),
        go_on=partial(open_next, case.id),
        first_button="Save and see the readers",
        first_caption="What the readers and the model say appears after your opinion is saved.",
    )


def pick_case(cases: Sequence[WaitingCase]) -> int | None:
    """Draw the cases that wait; a click anywhere in a row gives its case."""
    picked = components.draw_clickable_table(
        {
            "case": [case.accession for case in cases],
            "images": [case.images for case in cases],
            "magnification": [formatting.magnification_words(case.magnification) for case in cases],
            "waits since": [case.since for case in cases],
            "kind": ["generated demo case" if case.demonstration else "uploaded" for case in cases],
            "your blind opinion": ["saved" if case.begun else "" for case in cases],
        },
        key="adjudication-table",
        column_config={"waits since": st.column_config.DatetimeColumn(format="distance")},
    )
    return None if picked is None else cases[picked].id


def list_marks(seen: Adjudication) -> tuple[OthersMarks, ...]:
    """Return what the readers marked, under the names they have here."""
    return tuple(OthersMarks(read.name, read.final.regions) for read in seen.reads if read.final.regions)


def show_what_was_said(seen: Adjudication) -> None:
    """Draw the opinions of all readers side by side with the model's and one's own blind one."""
    if seen.triggers:
        st.markdown(f"**{formatting.plain('; '.join(seen.triggers).capitalize())}**")
    said = [(read.name, words) for read in seen.reads if (words := _written(read))]
    much = len(seen.reads) > _FEW or sum(len(words) for _, words in said) > _LONG
    with st.container(height=_HEIGHT if much else "content", border=False, gap="xxsmall", key="adjudication-reads"):
        st.markdown(_table(seen))
        for name, words in said:
            st.caption(f"**{name}**{words}")
        if seen.case.reveal is None:
            model_opinion.model_opinion(seen.case)
        else:
            st.caption(model_opinion.model_words(seen.case.reveal))


@st.fragment
def ask_consensus(seen: Adjudication) -> None:
    """Ask what is right and how much the difference matters."""
    form = ReadForm.consensus(seen.case.id, seen.consensus.id if seen.consensus else 0)
    form.mark_opened()
    st.markdown("##### Consensus")
    with st.container(key="adjudication-label", horizontal=True, gap="xsmall"):
        choice = inputs.ask_label(form, inputs.ANY)
    confidence = inputs.ask_confidence(form, choice)
    subtype = inputs.ask_subtype(form, choice.label if choice else None)
    severity = _ask_severity(form)
    typed = _ruling(inputs.combine_opinion(choice, confidence, subtype, inputs.ask_note(form)), severity)
    asked = inputs.draw_save_button(form, "Save the consensus")
    drafts.keep(form)
    if _save(seen, form, typed, asked=asked):
        st.rerun()


def show_consensus(seen: Adjudication, consensus: Consensus) -> None:
    """Show the consensus that stands, and what was typed here while somebody else gave it."""
    st.markdown(f"Consensus &ensp; **{sign_off.write_consensus(consensus)}**")
    note = f" – {formatting.plain(consensus.note)}" if consensus.note else ""
    st.caption(f"{formatting.plain(consensus.adjudicator)}, {formatting.day_and_clock(consensus.saved_at)}{note}")
    show_unsaved(seen.case.id)


def show_unsaved(case_id: int) -> None:
    """Show what was typed into a form of this case that cannot be saved any more."""
    inputs.show_unsaved(*ReadForm.shown_consensuses(case_id))


def _table(seen: Adjudication) -> str:
    blind, reveal_now = seen.blind, seen.case.reveal
    rows = [("**You**", _short(blind.opinion) if blind else "", "")]
    rows += [(read.name, _short(read.first), _short(read.final)) for read in seen.reads]
    if reveal_now is not None:
        words = formatting.label_words(reveal_now.malignancy)
        rows.append(("Model", f"{words} {reveal_now.malignant_probability:.2f}", ""))
    head = ["| | before the reveal | after it |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def _written(read: ShownRead) -> str:
    subtype = f" – {formatting.subtype_words(read.final.subtype)}" if read.final.subtype else ""
    before = f" – first note: {formatting.plain(read.first.note)}" if read.first.note else ""
    return f"{subtype}{model_opinion.rest_words(read.final)}{before}"


def _short(said: Opinion) -> str:
    return formatting.opinion_words(Opinion(said.label, said.confidence))


def _ask_severity(form: ReadForm) -> Severity | None:
    with st.container(key=form.container_key("severity"), horizontal=True, vertical_alignment="center", gap="xsmall"):
        explained = "\n".join(f"* {severity}: {words}" for severity, (_, words) in _SEVERITIES.items())
        st.markdown("Severity", width="content", help=f"The difference\n{explained}")
        for severity, (shortcut, _) in _SEVERITIES.items():
            inputs.draw_answer(form, "severity", severity.value, severity.value, shortcut=shortcut)
    return form.severity


def _ruling(typed: Opinion | str, severity: Severity | None) -> Ruling | str:
    if isinstance(typed, str):
        return typed
    if severity is None:
        return "Say how much the difference matters: none, minor or major."
    return Ruling(typed.label, typed.confidence, severity, typed.subtype, typed.note)


def _save(seen: Adjudication, form: ReadForm, typed: Ruling | str, *, asked: bool) -> bool:
    """Save when asked to; what stands in the way is said here, beside the button, and nothing typed is lost."""
    form.note_shown()
    if isinstance(typed, str):
        if asked:
            st.error(typed)
        return saved.show_not_saved(form)
    if not (asked if typed.label else inputs.ask_confirmation(form, asked=asked)):
        return saved.show_not_saved(form)
    adjudicator, opened = resources.account().id, form.opened_at
    shown = [read.read_id for read in seen.reads]
    try:
        with resources.sessions().begin() as session:
            found = store.adjudication.record_consensus(session, seen.case.id, adjudicator, typed, opened, seen=shown)
    except CaseChangedError as error:
        form.keep_conflict(error)
        return saved.show_not_saved(form)
    saved.remember_saved(formatting.plain(seen.case.accession), form, found.saved_at)
    return True


def draw_next_button(case_id: int) -> None:
    """Go on to the next case that waits."""
    if st.button("Next case", shortcut="N", type="primary", width="stretch"):
        open_next(case_id)
