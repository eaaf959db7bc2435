"""The watch over uploads: month by month, how like the training images of the model in service they are."""

from collections.abc import Sequence

import streamlit as st

from core.card import ScopeReference
from core.statistics.drift import FALSE_ALARMS_PER_YEAR, LEAST_CASES, cases_to_notice
from core.wording import count_words
from db import store
from db.values.accounts import Permission
from pages.ui import resources
from service.upload_watch import WatchedMonth, watch_months

_SHOWN_MONTHS = 24


def draw_watch() -> None:
    """Draw the watch for those who may see it, if the model in service measures the scope of images."""
    file = resources.checkpoint()
    if not resources.may(Permission.WATCH_UPLOADS) or file.card is None or file.card.scope is None:
        return
    account = resources.account().id
    with resources.sessions().read() as session:
        uploads = store.uploads.uploaded_scopes(session, account, file.version)
    st.subheader("Uploads of this site")
    if not uploads:
        st.markdown("The model in service has not yet analysed any upload that you may see.")
        return
    months = watch_months(uploads, file.card.scope.patient_scores)[-_SHOWN_MONTHS:]
    _draw_months(months)
    st.caption(_write_method(file.card.scope))


def _draw_months(months: Sequence[WatchedMonth]) -> None:
    alarms = [f"{month.watched.month:%B %Y}" for month in months if month.watched.alarm]
    if alarms:
        st.warning(
            f"The uploads of {', '.join(alarms)} differ from the training images by more than chance. Check for a "
            "change in stain, scanner, magnification or kind of case."
        )
    newest = months[::-1]
    st.table(
        {
            "Month": [f"{month.watched.month:%Y-%m}" for month in newest],
            "Cases": [f"{month.watched.cases:,}" for month in newest],
            "Images": [f"{month.watched.images:,}" for month in newest],
            "Unusual": [_write_share(month.unusual, month.watched.images) for month in newest],
            "No opinion": [_write_share(month.out, month.watched.images) for month in newest],
            "Compared with the training patients": [_write_verdict(month) for month in newest],
        },
        hide_index=True,
    )


def _write_share(images: int, of: int) -> str:
    return f"{images:,} ({images / of:.0%})"


def _write_verdict(month: WatchedMonth) -> str:
    watched = month.watched
    if watched.limit is None:
        return f"too little to compare (score {watched.typical:.2f})"
    words = "! differs by more than chance" if watched.alarm else "as expected"
    return f"{words} (score {watched.typical:.2f}, limit {watched.limit:.2f})"


def _write_method(scope: ScopeReference) -> str:
    noticed = cases_to_notice(len(scope.patient_scores))
    change = (
        f" A lasting change of one standard deviation between patients is detected in a month of {noticed:,} cases "
        "with a probability of 90%."
        if noticed
        else ""
    )
    return (
        f"A month is compared as soon as it has {count_words(LEAST_CASES, 'case')}. If nothing changes, at "
        f"most {FALSE_ALARMS_PER_YEAR:.0%} of years have a false alarm.{change} Generated demo cases are left out. "
        "This does not affect the order of the worklist."
    )
