"""The sign-off of a case beside the tissue: what will be signed and by whom, the signed versions and amendments."""

import streamlit as st

from core.labels import Malignancy
from db import store
from db.errors import CaseChangedError
from db.values.adjudication import Amendment, Consensus, ProposedSignOff, SignOff, SignOffView
from db.values.reading import CaseState, CaseView, Opinion
from pages.ui import formatting, resources, times
from pages.ui.reading import drafts, inputs, saved
from pages.ui.reading.form_state import NOTE_LIMIT, ReadForm
from pages.ui.resources import reader_name

_SIGNED = (CaseState.SIGNED_OFF, CaseState.AMENDED)
_OPEN_TO_READERS = (
    CaseState.READY,
    CaseState.IN_READING,
    CaseState.FIRST_READ,
    CaseState.REVEALED,
    CaseState.WAITING,
    CaseState.UNREADABLE,
)
_CONTINUE_AS_ADJUDICATOR = "You have seen the readers' opinions on this case. Continue as its adjudicator."
_SIGNED_WITHOUT_YOU = "This case was signed off without your opinion. No further opinions can be saved."
_NO_REASON = "Enter a reason for the amendment."


def is_signed(case: CaseView) -> bool:
    """Return whether a case is signed off, and so takes no further reads."""
    return case.state in _SIGNED


def show_why_no_opinion(case: CaseView) -> bool:
    """Show why a case takes no opinion from this reader; return False if it takes one or they have finished it."""
    if case.final_read is not None or case.state in _OPEN_TO_READERS:
        return False
    if not is_signed(case):
        st.info(_CONTINUE_AS_ADJUDICATOR)
        st.page_link("adjudicate.py", label="Adjudication", query_params={"case": str(case.id)})
    else:
        st.info(_SIGNED_WITHOUT_YOU)
        draw_sign_off(case)
    return True


@st.fragment
def draw_sign_off(case: CaseView) -> None:
    """Draw the state of the sign-off, and what this reader can do next."""
    reader = resources.account().id
    with resources.sessions().read() as session:
        view = store.sign_offs.sign_offs_of(session, case.id, reader)
    if view.consensus is not None and case.final_read is not None:  # its adjudicator sees it above
        note = f" – {formatting.escape(view.consensus.note)}" if view.consensus.note else ""
        st.caption(f"Adjudicator's consensus: {write_consensus(view.consensus)}{note}")
    if view.versions:
        _draw_versions(case, view)
    elif view.signed_at is not None:
        st.caption(f"Signed off {times.format_date_time(view.signed_at)}.")
    elif view.proposed is not None:
        _ask_to_sign(case, view.proposed)
    elif view.triggers and not resources.single_reader_mode():
        st.caption(f"Waiting for adjudication before sign-off: {formatting.escape('; '.join(view.triggers))}.")


def write_consensus(consensus: Consensus) -> str:
    """Write a consensus in one line."""
    opinion = Opinion(consensus.label, consensus.confidence, consensus.subtype)
    return f"{formatting.opinion_words(opinion)}, severity {consensus.severity}"


def _ask_to_sign(case: CaseView, proposed: ProposedSignOff) -> None:
    form = ReadForm.sign_off(case.id)
    by = "consensus" if proposed.consensus_id else "your opinion" if proposed.readers == 1 else "all readers"
    st.markdown(f"Label to sign off &ensp; **{_write_label(proposed.label, proposed.subtype)}** &ensp; ({by})")
    if not form.awaits_confirmation:
        st.button(
            "Sign off the case …",
            key=form.widget_key("ask"),
            shortcut="L",
            width="stretch",
            on_click=form.toggle,
            args=("confirm",),
        )
    else:
        note = inputs.ask_note(form, "Note on the sign-off (optional)")
        st.markdown(
            f"**Signing as {formatting.escape(reader_name())}.** After sign-off, no further opinions can be saved."
        )
        st.button("Cancel", key=form.widget_key("not"), width="stretch", on_click=form.toggle, args=("confirm",))
        if st.button("Yes, sign it off", key=form.widget_key("yes"), shortcut="S", type="primary", width="stretch"):
            _sign(case, form, proposed, note)
    saved.show_conflict(form)


def _sign(case: CaseView, form: ReadForm, proposed: ProposedSignOff, note: str) -> None:
    reader = resources.account().id
    try:
        with resources.sessions().begin() as session:
            signed = store.sign_offs.sign_off(session, case.id, reader, proposed, note)
    except CaseChangedError as error:
        form.keep_conflict(error)
        return
    saved.remember_saved(f"{formatting.escape(case.accession)} sign-off", form, signed.saved_at)
    st.rerun()


def _draw_versions(case: CaseView, view: SignOffView) -> None:
    last = view.versions[-1]
    words = "Signed off" if last.version == 1 else f"Amended, version {last.version}"
    st.markdown(f"{words} &ensp; **{_write_label(last.label, last.subtype)}**")
    st.caption(_write_version(last))
    form = ReadForm.signed_amendment(case.id)
    is_open = form.is_open
    if len(view.versions) > 1 and not is_open:  # the form needs the space
        with st.expander(f"{len(view.versions)} versions"):
            for version in view.versions[:-1]:
                label = _write_label(version.label, version.subtype)
                st.caption(f"Version {version.version}: **{label}**, {_write_version(version)}")
    words = "Cancel amendment" if is_open else "Amend the sign-off …"
    st.button(words, key=form.widget_key("turn"), shortcut="L", width="stretch", on_click=form.toggle, args=("open",))
    if is_open:
        _ask_amendment(case, form, last)


def _ask_amendment(case: CaseView, form: ReadForm, last: SignOff) -> None:
    # The version that was current when the form was opened: the reader must see a newer one before replacing it.
    replaces = form.begin_replacing(last.version)
    with st.container(key="amend-label", horizontal=True, gap="xsmall"):
        choice = inputs.ask_label(form, inputs.ALL_LABELS)
    subtype = inputs.ask_subtype(form, choice.label if choice else None)
    note = inputs.ask_note(form, "Note on this version (optional)")
    why = st.text_area(
        "Reason", placeholder="Reason for the amendment", height=68, max_chars=NOTE_LIMIT, key=form.widget_key("why"),
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    pressed = inputs.draw_save_button(form, "Save amendment")
    drafts.keep(form)
    missing = "Choose one of the answers first." if choice is None else "" if why.strip() else _NO_REASON
    if pressed and missing:
        st.error(missing)
    elif pressed and choice is not None:
        _amend(case, form, Amendment(choice.label, subtype, note, why.strip()), replaces)
    if saved.show_conflict(form):
        form.replace_version(last.version)
        st.rerun()


def _amend(case: CaseView, form: ReadForm, amended: Amendment, replaces: int) -> None:
    reader = resources.account().id
    try:
        with resources.sessions().begin() as session:
            signed = store.sign_offs.amend_sign_off(session, case.id, reader, amended, replaces_version=replaces)
    except (CaseChangedError, ValueError) as error:
        form.keep_conflict(error)
        return
    # The next amendment starts with empty fields.
    ReadForm.count_signed_amendment(case.id)
    saved.remember_saved(f"{formatting.escape(case.accession)} amendment", form, signed.saved_at)
    st.rerun()


def _write_label(label: Malignancy | None, subtype: str | None) -> str:
    return f"{formatting.label_words(label)}{f', {formatting.subtype_words(subtype)}' if subtype else ''}"


def _write_version(version: SignOff) -> str:
    why = f", reason: {formatting.escape(version.why)}" if version.why else ""
    note = f" – {formatting.escape(version.note)}" if version.note else ""
    return f"{formatting.escape(version.signer)}, {times.format_date_time(version.saved_at)}{why}{note}"
