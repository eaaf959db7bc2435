"""What is shown beside the tissue once the first read is saved: both opinions, or why there is only one."""

from collections.abc import Sequence

import streamlit as st

from core.results import Prediction
from db.values.reading import REASONS, CaseView, ImageRow, Opinion, Read, Reveal, Stage
from pages.ui import formatting

# How much is said one by one beside the tissue: there is no room for hundreds of images.
_PROBABILITIES = 4
_WARNINGS = 2


def opinions(case: CaseView, first: Read) -> None:
    """Set the reader's first opinion beside the model's, or say why the model has none."""
    st.markdown(f"You said &ensp; **{formatting.opinion_words(first.opinion)}**")
    model_opinion(case)


def model_opinion(case: CaseView) -> None:
    """Show what the model says, or say why it says nothing."""
    if case.reveal is None:
        st.warning(
            "The model has no result for this case. "
            + formatting.plain(" ".join(_shortened([_why(image) for image in case.images])))
        )
        return
    _model(case, case.reveal)


def history(case: CaseView, reads: Sequence[Read]) -> None:
    """List every read this reader ever saved of the case, in order."""
    said = sum(read.stage is not Stage.WITHDRAWN for read in reads)
    with st.expander(f"Your {said} reads of {formatting.plain(case.accession)}"):
        taken_back = {read.supersedes for read in reads if read.stage is Stage.WITHDRAWN}
        replaced = {read.id: read.stage for read in reads}
        for read in reads:
            when = formatting.day_and_clock(read.saved_at)
            if read.stage is Stage.WITHDRAWN:
                st.caption(f"{when} final opinion taken back")
                continue
            words = "amended" if replaced.get(read.supersedes or 0) is Stage.FINAL else read.stage.value
            aside = " in a study" if read.place_id else " (taken back)" if read.id in taken_back else ""
            st.caption(f"{when} {words}{aside}: {formatting.opinion_words(read.opinion)}{rest_words(read.opinion)}")


def has_map(case: CaseView) -> bool:
    """Say whether some image has a heat map to vote on."""
    return case.reveal is not None and any(image.heatmap_low is not None for image in case.reveal.images)


def shown(case: CaseView) -> tuple[int, ...]:
    """Give the ids of the predictions that are on the screen."""
    return tuple(image.prediction_id for image in case.reveal.images) if case.reveal else ()


def _model(case: CaseView, reveal: Reveal) -> None:
    words = formatting.label_words(reveal.malignancy)
    st.markdown(f"Model says &ensp; **{words}** &ensp; {reveal.malignant_probability:.2f}")
    st.html(_bar(reveal.malignant_probability, reveal.threshold))
    st.caption(f"Malignant from {reveal.threshold:.2f}. {_patches(reveal)}{_per_image(case, reveal)}")
    for words in _shortened(_warnings(case)):
        st.caption(formatting.plain(words))
    st.caption(_name(reveal))


def model_words(reveal: Reveal) -> str:
    """Write in one line from where the model says malignant, and which model it is."""
    return f"Model: malignant from {reveal.threshold:.2f}, {_name(reveal)}"


def rest_words(said: Opinion) -> str:
    """Write reason, vote and note of an opinion, each with a dash before it."""
    reason = f" – {dict(REASONS)[said.reason]}" if said.reason else ""
    vote = f" – map useful: {said.vote}" if said.vote else ""
    marks = f" – {len(said.regions)} marked" if said.regions else ""
    return f"{reason}{vote}{marks}" + (f" – {formatting.plain(said.note)}" if said.note else "")


def _name(reveal: Reveal) -> str:
    demonstration = " – demonstration model" if reveal.demonstration else ""
    return f"{formatting.plain(reveal.model_name)} {reveal.model_version}{demonstration}"


def _why(image: ImageRow) -> str:
    return f"Image {image.position}: {image.job_message or formatting.quality_words(image.quality)}."


def _patches(reveal: Reveal) -> str:
    malignant = sum(image.prediction.malignant_patches for image in reveal.images)
    return f"{malignant} of {sum(image.prediction.patches for image in reveal.images)} patches malignant."


def _per_image(case: CaseView, reveal: Reveal) -> str:
    if len(case.images) == 1:
        return ""
    positions = {image.id: image.position for image in case.images}
    each = [f"image {positions[i.image_id]} {_opinion(i.prediction)}" for i in reveal.images]
    probabilities = [i.prediction.malignant_probability for i in reveal.images]
    between = f"{len(each)} images from {min(probabilities):.2f} to {max(probabilities):.2f}"
    return f" Mean of {', '.join(each) if len(each) <= _PROBABILITIES else between}."


def _warnings(case: CaseView) -> list[str]:
    said = [(i, words) for i in case.images for words in [*(f.message for f in i.quality.findings), i.job_message]]
    # An unreadable image gives its reason twice: when it came in, and again when it was to be analysed.
    return list(dict.fromkeys(f"! image {image.position}: {words}" for image, words in said if words))


def _shortened(lines: list[str]) -> list[str]:
    rest = len(lines) - _WARNINGS
    return [*lines[:_WARNINGS], f"… and {rest} more, told below each image"] if rest > 0 else lines


def _opinion(prediction: Prediction) -> str:
    subtype = f" ({formatting.subtype_words(prediction.label)})" if len(prediction.probabilities) > 2 else ""
    return f"{prediction.malignant_probability:.2f}{subtype}"


def _bar(probability: float, threshold: float) -> str:
    words = f"probability of malignancy {probability:.2f}, called malignant from {threshold:.2f}"
    return (
        f'<div class="probability-bar" role="img" aria-label="{words}" title="{words}">'
        f'<span style="width:{probability:.1%}"></span><i style="left:{threshold:.1%}"></i></div>'
    )
