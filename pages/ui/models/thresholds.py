"""The thresholds of the model in service: which one this site uses, and the choice of another."""

import streamlit as st

from core.card import Card
from db import store
from db.values.accounts import Permission
from db.values.evaluations import SiteThreshold, ThresholdAim
from pages.ui import components, formatting, resources, times

_WORDS = {
    ThresholdAim.BALANCE: "best balance of sensitivity and specificity (Youden's J)",
    ThresholdAim.SENSITIVITY: "sensitivity of 95%",
}


def draw_thresholds(card: Card, version: str) -> None:
    """Draw the two thresholds of a card and which is used here; an administrator may choose the other one.

    A card with one threshold leaves nothing to choose.
    """
    if card.sensitive_threshold is None:
        return
    values = {ThresholdAim.BALANCE: card.threshold, ThresholdAim.SENSITIVITY: card.sensitive_threshold}
    with resources.sessions().read() as session:
        chosen = store.models.site_threshold(session, version)
    used = chosen.aim if chosen else ThresholdAim.BALANCE
    st.markdown("##### Threshold at this site")
    st.table(
        {
            "Threshold": [f"{value:.2f}" for value in values.values()],
            "For": [_WORDS[aim] for aim in values],
            "": ["**used here**" if aim is used else "" for aim in values],
        },
        hide_index=True,
    )
    st.caption(_write_origin(card, chosen))
    other = next(aim for aim in values if aim is not used)
    if resources.may(Permission.ADMINISTER) and st.button(f"Use {values[other]:.2f}: {_WORDS[other]}"):
        _choose(version, other, values[other])


def _choose(version: str, aim: ThresholdAim, value: float) -> None:
    account = resources.account().id
    with resources.sessions().begin() as session:
        store.models.choose_threshold(session, account, version, aim, value)
    components.announce(
        f"From now on, images at {value:.2f} or above are classified as malignant. Stored results keep their threshold."
    )


def _write_origin(card: Card, chosen: SiteThreshold | None) -> str:
    locked = f" Both were measured on {formatting.escape(card.locked_on)}." if card.locked_on else ""
    if chosen is None:
        return f"The model card sets the threshold; no other has been chosen here.{locked}"
    who = f"{formatting.escape(chosen.account)}, {times.format_date_time(chosen.at)}"
    return f"Chosen by {who}. Earlier results keep their threshold.{locked}"
