"""Draw the card of a checkpoint: how the network was made, and how well it performed."""

import streamlit as st

from core.card import Card, ScopeReference
from core.wording import interval_words
from pages.ui import formatting


def draw_card(card: Card) -> None:
    """Draw a card: how the network was made, and how well it performed."""
    if card.note:
        st.markdown(formatting.escape(card.note))
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("##### How it was made")
        st.table({name: formatting.escape(fact) for name, fact in _facts(card).items()}, hide_header=True)
    with right:
        st.markdown("##### How well it performed")
        _draw_metrics(card)


def summarise_metrics(card: Card, most: int = 4) -> str:
    """Return the first metrics of a card as one line."""
    figures = [f"{m.name} {interval_words(m)} ({m.protocol})" for m in card.metrics[:most]]
    return "; ".join(figures) or "nothing; its card lists no figures"


def _draw_metrics(card: Card) -> None:
    if not card.metrics:
        st.markdown("The card lists no measurements.")
        return
    st.table(
        {
            "Measure": [formatting.escape(metric.name) for metric in card.metrics],
            "Value [95% interval]": [interval_words(m) for m in card.metrics],
            "Protocol": [formatting.escape(metric.protocol) for metric in card.metrics],
        },
        hide_index=True,
    )


def _facts(card: Card) -> dict[str, str]:
    policy, limits, data = card.input_policy, card.quality_limits, card.training_data
    patches = f"{policy.patch_side} px patches every {policy.stride} px, mean of their probabilities"
    whole = f"the whole image as one {policy.input_side} px square"
    views = "one view" if card.views == "one" else f"{card.views} views"
    locked = f", locked on {card.locked_on}" if card.locked_on else ""
    facts = {
        "Classes": f"{card.label_set.name}: {', '.join(card.label_set.classes)}",
        "Malignant threshold": f"{card.threshold:.2f}{locked}",
        "Input": patches if policy.kind == "patches" else whole,
        "Network": f"{' + '.join(card.branches)}, {_head_words(card)}, {views}, {card.precision}",
        "Stain": card.stain.method if card.stain else "not normalised",
        "Warning below": f"sharpness {limits.sharpness:g}, tissue {limits.tissue_fraction:.0%}",
        "Trained on": f"{data.dataset}: {data.images:,} images of {data.patients} patients. {data.note}",
        "Code version": card.code_version,
    }
    if card.site:
        facts["Fitted to this site"] = (
            f"{card.site.cases:,} cases, {card.site.malignant:,} malignant; temperature {card.site.temperature:.2f}; "
            f"the weights are those of version {card.site.origin} ({card.site.protocol})"
        )
    if card.scope:
        facts["Scope"] = _scope_words(card.scope)
    if card.abstention:
        fit = card.abstention
        measured = f"opinion on {fit.coverage:.0%} of the images, {fit.error:.1%} of these wrong ({fit.protocol})"
        facts["Abstention"] = f"fitted to a risk of {fit.risk:.0%}: {measured}"
    return facts


def _scope_words(scope: ScopeReference) -> str:
    return (
        f"unusual from a score of {scope.limit_unusual:.2f}, no opinion from {scope.limit_out:.2f}; "
        f"of {scope.images:,} held-out images of {scope.patients:,} training patients, {scope.unusual:.1%} are unusual "
        f"or out of scope, and {scope.false_alarms:.1%} get no opinion by mistake ({scope.protocol})"
    )


def _head_words(card: Card) -> str:
    fusion = "" if card.fusion == "concatenation" else f"{card.fusion.replace('_', ' ')} fusion, "
    magnification = {
        "ignored": "",
        "input": ", magnification as input",
        "auxiliary": ", magnification as auxiliary task",
    }
    return f"{fusion}{card.head} head{magnification[card.magnification]}"
