"""Signing a case out beside the tissue: what would be signed, by whom, then the versions and how they are amended."""

import streamlit as st

from core.labels import Malignancy
from db import store
from db.errors import CaseChangedError
from db.values.adjudication import Amendment, SignOffView, ToSign
from db.values.reading import CaseState, CaseView, Consensus, Opinion, SignOff
from pages.ui import formatting, resources
from pages.ui.reading import drafts, inputs, saved
from pages.ui.reading.read_form import NOTE_LIMIT, ReadForm
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


def is_signed(case: CaseView) -> bool:
    """Say whether a case was signed out, and so takes no further reads."""
    return case.state in _SIGNED


def show_why_no_opinion(case: CaseView) -> bool:
    """Show why a case takes no opinion of this reader any more, where they have not given their last one."""
    if case.final_read is not None or case.state in _OPEN_TO_READERS:
        return False
    if not is_signed(case):
        st.info("You have seen what the readers of this case said: settle it as its adjudicator.")
        st.page_link("adjudicate.py", label="Adjudication", query_params={"case": str(case.id)})
    else:
        st.info("This case was signed out without an opinion of yours. It takes no further reads.")
        draw_sign_off(case)
    return True


@st.fragment
def draw_sign_off(case: CaseView) -> None:
    """Show how far the sign-off is, with what this reader can do about it."""
    reader = resources.account().id
    with resources.sessions().read() as session:
        view = store.sign_offs.sign_offs_of(session, case.id, reader)
    if view.consensus is not None and case.final_read is not None:  # who settled it sees it above
        note = f" – {formatting.plain(view.consensus.note)}" if view.consensus.note else ""
        st.caption(f"An adjudicator settled it: {write_consensus(view.consensus)}{note}")
    if view.versions:
        _draw_versions(case, view)
    elif view.signed_at is not None:
        st.caption(f"Signed out {formatting.day_and_clock(view.signed_at)}.")
    elif view.proposed is not None:
        _ask_to_sign(case, view.proposed)
    elif view.triggers and not resources.single_reader_mode():
        st.caption(f"Waits for an adjudicator before it can be signed out: {'; '.join(view.triggers)}.")


def write_consensus(consensus: Consensus) -> str:
    """Write a consensus in one line."""
    said = Opinion(consensus.label, consensus.confidence, consensus.subtype)
    return f"{formatting.opinion_words(said)}, severity {consensus.severity}"


def _ask_to_sign(case: CaseView, proposed: ToSign) -> None:
    form = ReadForm.sign_off(case.id)
    by = "consensus" if proposed.consensus_id else "your opinion" if proposed.readers == 1 else "all readers"
    st.markdown(f"To sign off &ensp; **{_said(proposed.label, proposed.subtype)}** &ensp; {by}")
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
        note = inputs.ask_note(form, "note on the sign-off (optional)")
        st.markdown(f"**You sign as {formatting.plain(reader_name())}.** The case then takes no further reads.")
        st.button("Not yet", key=form.widget_key("not"), width="stretch", on_click=form.toggle, args=("confirm",))
        if st.button("Yes, sign it off", key=form.widget_key("yes"), shortcut="S", type="primary", width="stretch"):
            _sign(case, form, proposed, note)
    saved.show_conflict(form)


def _sign(case: CaseView, form: ReadForm, proposed: ToSign, note: str) -> None:
    reader = resources.account().id
    try:
        with resources.sessions().begin() as session:
            signed = store.sign_offs.sign_off(session, case.id, reader, proposed, note)
    except CaseChangedError as error:
        form.keep_conflict(error)
        return
    saved.remember_saved(f"{formatting.plain(case.accession)} signed out,", form, signed.saved_at)
    st.rerun()


def _draw_versions(case: CaseView, view: SignOffView) -> None:
    last = view.versions[-1]
    words = "Signed out" if last.version == 1 else f"Amended, version {last.version}"
    st.markdown(f"{words} &ensp; **{_said(last.label, last.subtype)}**")
    st.caption(_line(last))
    form = ReadForm.signed_amendment(case.id)
    opened = form.is_open
    if len(view.versions) > 1 and not opened:  # the form needs the room
        with st.expander(f"{len(view.versions)} versions"):
            for version in view.versions[:-1]:
                st.caption(f"Version {version.version}: **{_said(version.label, version.subtype)}**, {_line(version)}")
    words = "Do not amend" if opened else "Amend what is signed …"
    st.button(words, key=form.widget_key("turn"), shortcut="L", width="stretch", on_click=form.toggle, args=("open",))
    if opened:
        _ask_amendment(case, form, last)


def _ask_amendment(case: CaseView, form: ReadForm, last: SignOff) -> None:
    # The version that stood when the form was opened: what was signed since then is looked at before it is replaced.
    replaces = form.begin_replacing(last.version)
    with st.container(key="amend-label", horizontal=True, gap="xsmall"):
        choice = inputs.ask_label(form, inputs.ANY)
    subtype = inputs.ask_subtype(form, choice.label if choice else None)
    note = inputs.ask_note(form, "note of this version (optional)")
    why = st.text_area(
        "Why", placeholder="why it is amended", height=68, max_chars=NOTE_LIMIT, key=form.widget_key("why"),
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    asked = inputs.draw_save_button(form, "Save the amendment")
    drafts.keep(form)
    missing = "Choose an answer first." if choice is None else "" if why.strip() else "Say why it is amended."
    if asked and missing:
        st.error(missing)
    elif asked and choice is not None:
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
    # The next amendment begins with empty fields.
    ReadForm.count_signed_amendment(case.id)
    saved.remember_saved(f"{formatting.plain(case.accession)} amended,", form, signed.saved_at)
    st.rerun()


def _said(label: Malignancy | None, subtype: str | None) -> str:
    return f"{formatting.label_words(label)}{f', {formatting.subtype_words(subtype)}' if subtype else ''}"


def _line(version: SignOff) -> str:
    why = f", because: {formatting.plain(version.why)}" if version.why else ""
    note = f" – {formatting.plain(version.note)}" if version.note else ""
    return f"{formatting.plain(version.signer)}, {formatting.day_and_clock(version.saved_at)}{why}{note}"
