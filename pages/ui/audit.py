"""Draw the Audit trail page: its verification, the filters, and the events."""

from datetime import UTC, date, datetime
from functools import partial

import streamlit as st

from core.wording import count_words
from db import store
from db.store.audit import EventChoices, EventPage, verify_for
from db.values.audit import PROGRAM, AuditFinding, EventFilter, Verification
from pages.ui import csv_tables, downloads, resources, times

PAGE_SIZE = 100  # events
_VERIFIED = "audit-verified"  # session keys
_PAGE = "audit-page"
_FILTER = "audit-wanted"
_PROGRAM = "the program itself"
_KIND_WORDS = {"changed": "was changed", "missing": "is missing", "inserted": "was inserted"}


def draw_verification() -> None:
    """Offer to check the trail and the rows it covers, and draw the result of the last check."""
    button, words = st.columns([1, 4], vertical_alignment="center")
    if button.button("Verify", type="primary", shortcut="V", width="stretch"):
        bar = st.progress(0.0, "Checking events, rows and files …")

        def report(done: int, of: int) -> None:
            bar.progress(done / of if of else 1.0, f"{done:,} of {of:,} events, rows and files checked …")

        verified = verify_for(resources.sessions(), resources.files(), resources.account().id, report)
        bar.empty()
        st.session_state[_VERIFIED] = (datetime.now(UTC), verified)
    last: tuple[datetime, Verification] | None = st.session_state.get(_VERIFIED)
    if last is None:
        words.caption("Looks for events, rows and files that were edited, deleted, added, swapped or cut off.")
        return
    words.caption(_summary_words(*last))
    _draw_findings(last[1])


def ask_filter(choices: EventChoices) -> EventFilter:
    """Ask which events to list."""
    person, action, about, days = st.columns([1.2, 1.3, 1.3, 1.4], vertical_alignment="bottom")
    account = person.selectbox("Person", [PROGRAM, *choices.accounts], format_func=_person_words, index=None,
                               placeholder="anyone", key="audit-person")  # fmt: skip
    done = action.selectbox("Action", choices.actions, index=None, placeholder="anything", key="audit-action")
    text = about.text_input(
        "Case or subject", placeholder="any part of the name or number", max_chars=200, key="audit-about"
    ).strip()
    chosen = days.date_input("Days", value=[], key="audit-days")
    since, until = _span(chosen if isinstance(chosen, tuple) else (chosen,))
    return EventFilter(account=account, action=done, since=since, until=until, about=text or None)


def page_number(chosen: EventFilter) -> int:
    """Return the number of the page to show; a change of the filters starts again at the newest events."""
    if st.session_state.get(_FILTER) != chosen:
        st.session_state[_FILTER] = chosen
        st.session_state[_PAGE] = 1
    return int(st.session_state.setdefault(_PAGE, 1))


def draw_events(page: EventPage, number: int, chosen: EventFilter) -> None:
    """Draw one page of events, buttons to the other pages, and a download of all matching events."""
    if not page.found:
        st.markdown("No event matches these filters.")
        return
    last = -(-page.found // PAGE_SIZE)
    st.dataframe(
        {
            "Event": [one.number for one in page.events],
            "Time": [times.format_date_time(one.at) for one in page.events],
            "Person": [one.account or _PROGRAM for one in page.events],
            "Action": [one.action for one in page.events],
            "Case or subject": [one.subject for one in page.events],
        },
        hide_index=True,
        height=420 if len(page.events) > 10 else "auto",
    )
    newer, older, where, file = st.columns([1, 1, 2.4, 1.2], vertical_alignment="center")
    newer.button("Newer", disabled=number <= 1, on_click=_change_page, args=(-1,), width="stretch")
    older.button("Older", disabled=number >= last, on_click=_change_page, args=(1,), width="stretch")
    first = (number - 1) * PAGE_SIZE
    where.caption(f"{first + 1:,} to {first + len(page.events):,} of {page.found:,} events, newest first.")
    with file:
        make = partial(_events_file, resources.account().id, chosen)
        what = f"audit trail, {page.found} events"
        downloads.draw_lazy_download("These events", what, make, "audit.csv")


def _events_file(by: int, chosen: EventFilter) -> csv_tables.TableFile:
    with resources.sessions().read() as session:
        return csv_tables.events_csv(store.audit.all_events(session, by, chosen))


def _change_page(step: int) -> None:
    st.session_state[_PAGE] += step


def _person_words(name: str) -> str:
    return name or _PROGRAM


def _span(days: tuple[date, ...]) -> tuple[datetime | None, datetime | None]:
    """Return the beginning of the first day and the end of the last; one day alone counts as both."""
    if not days:
        return None, None
    return times.start_of_day(days[0]), times.start_of_day(days[-1], days=1)


def _summary_words(at: datetime, verified: Verification) -> str:
    anchor = f"anchored up to event {verified.anchored:,}" if verified.anchored else "not anchored outside the database"
    return (
        f"Checked at {times.format_time(at)}: {verified.events:,} events, {anchor}, the {verified.rows:,} rows they "
        f"cover, and {verified.files:,} stored files."
    )


def _draw_findings(verified: Verification) -> None:
    if verified.whole:
        anchor = "external anchor, " if verified.anchored else ""
        st.success(f"No tampering found: hash chain, {anchor}row seals and stored files agree.")
        return
    number = count_words(len(verified.findings), "finding")
    st.error(f"{number}: these records differ from what this program wrote.")
    st.dataframe(
        {
            "What": [_KIND_WORDS.get(one.kind, one.kind) for one in verified.findings],
            "Row": [one.row for one in verified.findings],
            "Events": [_number_words(one) for one in verified.findings],
            "Evidence": [one.words for one in verified.findings],
        },
        hide_index=True,
    )


def _number_words(finding: AuditFinding) -> str:
    if not finding.last:
        return "–"
    return str(finding.first) if finding.first == finding.last else f"{finding.first} to {finding.last}"
