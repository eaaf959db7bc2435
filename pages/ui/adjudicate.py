"""The parts of the Adjudication page: waiting cases, the blind read, the readers' opinions and the consensus."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from core.reading.scope_words import NO_OPINION
from db import store
from db.errors import CaseChangedError
from db.values.adjudication import Adjudication, Consensus, Ruling, Severity, ShownRead, WaitingCase, WaitingCases
from db.values.reading import CaseView, Opinion
from pages.ui import components, formatting, resources, times
from pages.ui.reading import drafts, header, inputs, model_opinion, saved, sign_off
from pages.ui.reading.form_state import ReadForm
from pages.ui.reading.mode import ReadingMode, make_routine_mode
from pages.ui.viewer import OthersMarks

_SEVERITIES = {
    Severity.NONE: ("7", "no effect"),
    Severity.MINOR: ("8", "wording or follow-up, but not treatment"),
    Severity.MAJOR: ("9", "treatment or prognosis"),
}
_SEVERITY_HELP = "What the difference could have changed for the patient:"
_NO_SEVERITY = "Choose a severity: none, minor or major."
_HEIGHT = 210  # px; longer opinions scroll, so that the form stays on the screen
_FEW, _LONG = 2, 160  # readers, and characters of their remarks, that need no scrolling


def list_waiting_cases(after: int | None = None, size: int = store.adjudication.PAGE) -> WaitingCases:
    """Return a page of the cases that wait for this adjudicator, or the next ones after a case."""
    adjudicator = resources.account().id
    with resources.sessions().read() as session:
        return store.adjudication.cases_to_adjudicate(session, adjudicator, after=after, size=size)


def open_case(case_id: int) -> None:
    """Show one case."""
    st.query_params["case"] = str(case_id)
    st.rerun()


def open_next(after: int) -> None:
    """Show the next case that waits for this adjudicator, or the empty list."""
    # After the last one comes the first.
    found = (*list_waiting_cases(after, size=1).rows, *list_waiting_cases(size=2).rows)
    others = [case.id for case in found if case.id != after]
    if not others:
        st.query_params.clear()
        st.rerun()
    open_case(others[0])


def draw_header(seen: Adjudication) -> None:
    """Draw the line above the tissue."""
    skip = partial(open_next, seen.case.id) if seen.waits else None
    header.draw_header_line(
        seen.case, ("**ADJUDICATION**", f"{list_waiting_cases(size=1).total:,} to adjudicate"), skip
    )


def make_blind_mode(case: CaseView) -> ReadingMode:
    """Return the mode of the blind read that comes before the readers' opinions."""
    return replace(
        make_routine_mode(case),
        go_on=partial(open_next, case.id),
        first_button="Save and show opinions",
        first_caption="The readers' and the model's opinions appear after you save yours.",
    )


def draw_case_table(cases: Sequence[WaitingCase]) -> int | None:
    """Draw the waiting cases; return the number of the case whose row was clicked."""
    picked = components.draw_clickable_table(
        {
            "Case": [case.accession for case in cases],
            "Images": [case.images for case in cases],
            "Magnification": [formatting.magnification_words(case.magnification) for case in cases],
            "Waiting since": [case.since for case in cases],
            "Kind": ["generated demo case" if case.demonstration else "uploaded" for case in cases],
            "Your blind opinion": ["saved" if case.begun else "" for case in cases],
        },
        key="adjudication-table",
        column_config={"Waiting since": st.column_config.DatetimeColumn(format="distance")},
    )
    return None if picked is None else cases[picked].id


def list_marks(seen: Adjudication) -> tuple[OthersMarks, ...]:
    """Return the marks of the readers under the names used here ("Reader A")."""
    return tuple(OthersMarks(read.name, read.final.regions) for read in seen.reads if read.final.regions)


def show_opinions(seen: Adjudication) -> None:
    """Draw the opinions of all readers beside the model's and the adjudicator's own blind opinion."""
    if seen.triggers:
        st.markdown(f"**{formatting.escape('; '.join(seen.triggers).capitalize())}**")
    remarks = [(read.name, words) for read in seen.reads if (words := _write_remarks(read))]
    is_long = len(seen.reads) > _FEW or sum(len(words) for _, words in remarks) > _LONG
    with st.container(height=_HEIGHT if is_long else "content", border=False, gap="xxsmall", key="adjudication-reads"):
        st.markdown(_write_table(seen))
        for name, words in remarks:
            st.caption(f"**{name}**{words}")
        if seen.case.reveal is None:
            model_opinion.draw_model_opinion(seen.case)
        else:
            st.caption(model_opinion.write_model(seen.case.reveal))
            for words in model_opinion.list_scope_words(seen.case):
                st.caption(formatting.escape(words))


@st.fragment
def ask_consensus(seen: Adjudication) -> None:
    """Ask for the consensus and for the severity of the difference."""
    form = ReadForm.consensus(seen.case.id, seen.consensus.id if seen.consensus else 0)
    form.mark_opened()
    st.markdown("##### Consensus")
    with st.container(key="adjudication-label", horizontal=True, gap="xsmall"):
        choice = inputs.ask_label(form, inputs.ALL_LABELS)
    confidence = inputs.ask_confidence(form, choice)
    subtype = inputs.ask_subtype(form, choice.label if choice else None)
    severity = _ask_severity(form)
    entry = _combine_ruling(inputs.combine_opinion(choice, confidence, subtype, inputs.ask_note(form)), severity)
    pressed = inputs.draw_save_button(form, "Save consensus")
    drafts.keep(form)
    if _save(seen, form, entry, pressed=pressed):
        st.rerun()


def show_consensus(seen: Adjudication, consensus: Consensus) -> None:
    """Show the current consensus, and entries of this window that another adjudicator has overtaken."""
    st.markdown(f"Consensus &ensp; **{sign_off.write_consensus(consensus)}**")
    note = f" – {formatting.escape(consensus.note)}" if consensus.note else ""
    st.caption(f"{formatting.escape(consensus.adjudicator)}, {times.format_date_time(consensus.saved_at)}{note}")
    show_unsaved(seen.case.id)


def show_unsaved(case_id: int) -> None:
    """Show the entries of consensus forms of this case that can no longer be saved."""
    inputs.show_unsaved(*ReadForm.shown_consensuses(case_id))


def _write_table(seen: Adjudication) -> str:
    blind, reveal = seen.blind, seen.case.reveal
    rows = [("**You**", _write_short(blind.opinion) if blind else "", "")]
    rows += [(read.name, _write_short(read.first), _write_short(read.final)) for read in seen.reads]
    if reveal is not None:
        rows.append(("Model", f"{formatting.label_words(reveal.malignancy)} {reveal.malignant_probability:.2f}", ""))
    elif seen.case.shown_scope == "out":
        rows.append(("Model", NO_OPINION, ""))
    head = ["| | Before the reveal | After |", "|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])


def _write_remarks(read: ShownRead) -> str:
    subtype = f" – {formatting.subtype_words(read.final.subtype)}" if read.final.subtype else ""
    before = f" – first note: {formatting.escape(read.first.note)}" if read.first.note else ""
    return f"{subtype}{model_opinion.write_remarks(read.final)}{before}"


def _write_short(opinion: Opinion) -> str:
    return formatting.opinion_words(Opinion(opinion.label, opinion.confidence))


def _ask_severity(form: ReadForm) -> Severity | None:
    with st.container(key=form.container_key("severity"), horizontal=True, vertical_alignment="center", gap="xsmall"):
        effects = "\n".join(f"* {severity.value.capitalize()}: {words}" for severity, (_, words) in _SEVERITIES.items())
        st.markdown("Severity", width="content", help=f"{_SEVERITY_HELP}\n{effects}")
        for severity, (shortcut, _) in _SEVERITIES.items():
            inputs.draw_answer(form, "severity", severity.value, severity.value.capitalize(), shortcut=shortcut)
    return form.severity


def _combine_ruling(opinion: Opinion | str, severity: Severity | None) -> Ruling | str:
    """Return the ruling, or a sentence that says what is missing."""
    if isinstance(opinion, str):
        return opinion
    if severity is None:
        return _NO_SEVERITY
    return Ruling(opinion.label, opinion.confidence, severity, opinion.subtype, opinion.note)


def _save(seen: Adjudication, form: ReadForm, entry: Ruling | str, *, pressed: bool) -> bool:
    """Save when the button was pressed; show beside it what prevents saving, and lose none of the entries."""
    form.note_shown()
    if isinstance(entry, str):
        if pressed:
            st.error(entry)
        return saved.show_not_saved(form)
    if not (pressed if entry.label else inputs.ask_confirmation(form, pressed=pressed)):
        return saved.show_not_saved(form)
    adjudicator, opened = resources.account().id, form.opened_at
    read_ids = [read.read_id for read in seen.reads]
    try:
        with resources.sessions().begin() as session:
            consensus = store.adjudication.record_consensus(
                session, seen.case.id, adjudicator, entry, opened, seen=read_ids
            )
    except CaseChangedError as error:
        form.keep_conflict(error)
        return saved.show_not_saved(form)
    saved.remember_saved(formatting.escape(seen.case.accession), form, consensus.saved_at)
    return True


def draw_next_button(case_id: int) -> None:
    """Draw the button that opens the next waiting case."""
    if st.button("Next case", shortcut="N", type="primary", width="stretch"):
        open_next(case_id)
