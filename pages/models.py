"""The checkpoint in service and what it says of itself."""

import streamlit as st

from core.card import Card
from pages.ui import resources


def _facts(card: Card) -> dict[str, str]:
    policy, limits, data = card.input_policy, card.quality_limits, card.training_data
    squares = f"{policy.patch_side} px squares every {policy.stride} px, mean of their probabilities"
    whole = f"the whole image in one {policy.input_side} px square"
    return {
        "Answers": f"{card.label_set.name}: {', '.join(card.label_set.classes)}",
        "Called malignant": f"from a probability of {card.threshold:.2f}",
        "Input": squares if policy.kind == "patches" else whole,
        "Network": f"{' + '.join(card.branches)}, {card.head} head, {card.views} view(s), {card.precision}",
        "Stain": card.stain.method if card.stain else "colours as they are",
        "Warned below": f"sharpness {limits.sharpness:g}, tissue {limits.tissue_fraction:.0%}",
        "Trained on": f"{data.dataset}: {data.images:,} images of {data.patients} patients. {data.note}",
        "Code version": card.code_version,
    }


st.subheader("Model in service")
checkpoint = resources.checkpoint()
if checkpoint.card is None:
    st.error(f"No model is in service: {checkpoint.problem}. Set SECOND_READ_CHECKPOINT to a checkpoint and restart.")
    st.stop()
card = checkpoint.card
st.markdown(f"**{card.name}** &nbsp; version `{checkpoint.version}`")
st.caption(f"sha256 {checkpoint.sha256}")
if card.demonstration:
    st.info(
        "This is a demonstration model. It was trained on a small public data set so that the program works out of "
        "the box; it is often wrong, and nobody has tested it on images like yours."
    )
if card.note:
    st.markdown(card.note)
left, right = st.columns(2, gap="large")
with left:
    st.markdown("##### How it was made")
    st.table(_facts(card), hide_header=True)
with right:
    st.markdown("##### How good it was")
    if card.metrics:
        st.table(
            {
                "measure": [metric.name for metric in card.metrics],
                "value [95 % interval]": [f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for m in card.metrics],
                "protocol": [metric.protocol for metric in card.metrics],
            },
            hide_index=True,
        )
    else:
        st.markdown("The card names no measurements.")
