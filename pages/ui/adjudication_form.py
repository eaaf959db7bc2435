"""What the readers of a case said, without their names, and the form that settles it."""

import streamlit as st

from db import store
from db.adjudication_values import Adjudication, Ruling, ShownRead
from db.errors import CaseChangedError
from db.reading_values import Consensus, Severity
from db.values import Opinion
from pages.ui import adjudication, conflict, drafts, panels, resources, reveal, saved, sign_off
from pages.ui import opinion as inputs
from pages.ui.read_form import ReadForm
from pages.ui.viewer import OthersMarks

_SEVERITIES = {
    Severity.NONE: ("7", "would have changed nothing for the patient"),
    Severity.MINOR: ("8", "would have changed wording or follow-up, not treatment"),
    Severity.MAJOR: ("9", "would have changed treatment or outlook"),
}
_HEIGHT = 210  # px; more of what was said is scrolled, so that the form stays on the screen
_FEW, _LONG = 2, 160  # readers and characters of theirs that need no scrolling


def list_marks(seen: Adjudication) -> tuple[OthersMarks, ...]:
    """Return what the readers marked, under the names they have here."""
    return tuple(OthersMarks(read.name, read.final.regions) for read in seen.reads if read.final.regions)


def show_what_was_said(seen: Adjudication) -> None:
    """Draw the opinions of all readers side by side with the model's and one's own blind one."""
    if seen.triggers:
        st.markdown(f"**{panels.plain('; '.join(seen.triggers).capitalize())}**")
    said = [(read.name, words) for read in seen.reads if (words := _written(read))]
    much = len(seen.reads) > _FEW or sum(len(words) for _, words in said) > _LONG
    with st.container(height=_HEIGHT if much else "content", border=False, gap="xxsmall", key="adjudication-reads"):
        st.markdown(_table(seen))
        for name, words in said:
            st.caption(f"**{name}**{words}")
        if seen.case.reveal is None:
            reveal.model_opinion(seen.case)
        else:
            st.caption(reveal.model_words(seen.case.reveal))


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
    note = f" – {panels.plain(consensus.note)}" if consensus.note else ""
    st.caption(f"{panels.plain(consensus.adjudicator)}, {panels.day_and_clock(consensus.saved_at)}{note}")
    show_unsaved(seen.case.id)


def show_unsaved(case_id: int) -> None:
    """Show what was typed into a form of this case that cannot be saved any more."""
    inputs.show_unsaved(*ReadForm.shown_consensuses(case_id))


def _table(seen: Adjudication) -> str:
    blind, reveal_now = seen.blind, seen.case.reveal
    rows = [("**You**", _short(blind.opinion) if blind else "", "")]
    rows += [(read.name, _short(read.first), _short(read.final)) for read in seen.reads]
    if reveal_now is not None:
        words = panels.label_words(reveal_now.malignancy)
        rows.append(("Model", f"{words} {reveal_now.malignant_probability:.2f}", ""))
    head = ["| | before the reveal | after it |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def _written(read: ShownRead) -> str:
    subtype = f" – {panels.subtype_words(read.final.subtype)}" if read.final.subtype else ""
    before = f" – first note: {panels.plain(read.first.note)}" if read.first.note else ""
    return f"{subtype}{reveal.rest_words(read.final)}{before}"


def _short(said: Opinion) -> str:
    return panels.opinion_words(Opinion(said.label, said.confidence))


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
        return conflict.show_not_saved(form)
    if not (asked if typed.label else inputs.ask_confirmation(form, asked=asked)):
        return conflict.show_not_saved(form)
    adjudicator, opened = resources.account().id, form.opened_at
    shown = [read.read_id for read in seen.reads]
    try:
        with resources.sessions().begin() as session:
            found = store.record_consensus(session, seen.case.id, adjudicator, typed, opened, seen=shown)
    except CaseChangedError as error:
        form.keep_conflict(error)
        return conflict.show_not_saved(form)
    saved.remember_saved(panels.plain(seen.case.accession), form, found.saved_at)
    return True


def draw_next_button(case_id: int) -> None:
    """Go on to the next case that waits."""
    if st.button("Next case", shortcut="N", type="primary", width="stretch"):
        adjudication.open_next(case_id)
