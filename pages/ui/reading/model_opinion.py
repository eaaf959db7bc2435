"""The opinions shown beside the tissue after the first read is saved: the reader's, the model's, and the history."""

from collections.abc import Sequence

import streamlit as st

from core.reading.scope_words import NO_OPINION, write_scopes
from core.results import Prediction
from core.wording import count_words
from db.values.reading import REASONS, CaseView, ImageRow, Opinion, Read, Reveal, Stage
from pages.ui import formatting, times

# Images and warnings listed one by one: a case with hundreds of images would push the form off the screen.
_MOST_PROBABILITIES = 4
_MOST_WARNINGS = 2


def draw_both_opinions(case: CaseView, first: Read) -> None:
    """Draw the reader's first opinion above the model's."""
    st.markdown(f"You said &ensp; **{formatting.opinion_words(first.opinion)}**")
    draw_model_opinion(case)


def draw_model_opinion(case: CaseView) -> None:
    """Draw the model's opinion, or why there is none."""
    if case.shown_scope == "out":
        _draw_no_opinion(case)
        return
    if case.reveal is None:
        st.warning(
            "The model has no result for this case. "
            + formatting.escape(" ".join(_shorten([_write_failure(image) for image in case.images])))
        )
        return
    _draw_reveal(case, case.reveal)


def draw_history(case: CaseView, reads: Sequence[Read]) -> None:
    """Draw the list of all reads of the case that this reader ever saved, in order."""
    count = sum(read.stage is not Stage.WITHDRAWN for read in reads)
    with st.expander(f"Your {count_words(count, 'read')} of {formatting.escape(case.accession)}"):
        withdrawn = {read.supersedes for read in reads if read.stage is Stage.WITHDRAWN}
        stages = {read.id: read.stage for read in reads}
        for read in reads:
            when = times.format_date_time(read.saved_at)
            if read.stage is Stage.WITHDRAWN:
                st.caption(f"{when} final opinion withdrawn")
                continue
            words = "amended" if stages.get(read.supersedes or 0) is Stage.FINAL else read.stage.value
            aside = " in a study" if read.place_id else " (withdrawn)" if read.id in withdrawn else ""
            st.caption(f"{when} {words}{aside}: {formatting.opinion_words(read.opinion)}{write_remarks(read.opinion)}")


def has_map(case: CaseView) -> bool:
    """Return whether any image has a heat map to vote on."""
    return case.reveal is not None and any(image.heatmap_low is not None for image in case.reveal.images)


def list_scope_words(case: CaseView) -> list[str]:
    """Return what is said of the images that are unlike the training images."""
    positions = {image.id: image.position for image in case.images}
    scopes = ((positions[one.image_id], one.scope) for one in case.scopes)
    return write_scopes(scopes, alone=len(case.images) == 1)


def _draw_no_opinion(case: CaseView) -> None:
    st.markdown(f"Model says &ensp; **{NO_OPINION}**")
    _draw_scope_words(case)
    # Images that could not be read, or whose analysis failed.
    for warning in _shorten(_list_warnings(case)):
        st.caption(formatting.escape(warning))
    model = next(one.model for one in case.scopes if one.withheld)
    st.caption(_write_model_name(model.name, model.version, demonstration=model.demonstration))


def _draw_scope_words(case: CaseView) -> None:
    words = list_scope_words(case)
    if words:
        st.warning("  \n".join(map(formatting.escape, _shorten(words))))


def _draw_reveal(case: CaseView, reveal: Reveal) -> None:
    words = formatting.label_words(reveal.malignancy)
    st.markdown(f"Model says &ensp; **{words}** &ensp; {reveal.malignant_probability:.2f}")
    _draw_scope_words(case)
    st.html(_write_bar(reveal.malignant_probability, reveal.threshold))
    st.caption(f"Threshold {reveal.threshold:.2f}. {_write_patches(reveal)}{_write_images(case, reveal)}")
    for warning in _shorten(_list_warnings(case)):
        st.caption(formatting.escape(warning))
    st.caption(_write_revealed_name(reveal))


def write_model(reveal: Reveal) -> str:
    """Write the malignant threshold and the name of the model in one line."""
    return f"Model threshold {reveal.threshold:.2f}, {_write_revealed_name(reveal)}"


def write_remarks(opinion: Opinion) -> str:
    """Write reason, vote, number of marks and of lengths, and note of an opinion, each after a dash."""
    reason = f" – {dict(REASONS)[opinion.reason]}" if opinion.reason else ""
    vote = f" – map useful: {opinion.vote}" if opinion.vote else ""
    marks = f" – {count_words(len(opinion.marked), 'mark')}" if opinion.marked else ""
    lengths = f" – {count_words(len(opinion.measured), 'measured length')}" if opinion.measured else ""
    return f"{reason}{vote}{marks}{lengths}" + (f" – {formatting.escape(opinion.note)}" if opinion.note else "")


def _write_revealed_name(reveal: Reveal) -> str:
    return _write_model_name(reveal.model_name, reveal.model_version, demonstration=reveal.demonstration)


def _write_model_name(name: str, version: str, *, demonstration: bool) -> str:
    return f"{formatting.escape(name)} {version}{' – demonstration model' if demonstration else ''}"


def _write_failure(image: ImageRow) -> str:
    return f"Image {image.position}: {image.job_message or formatting.quality_words(image.quality)}."


def _write_patches(reveal: Reveal) -> str:
    malignant = sum(image.prediction.malignant_patches for image in reveal.images)
    return f"{malignant} of {sum(image.prediction.patches for image in reveal.images)} patches malignant."


def _write_images(case: CaseView, reveal: Reveal) -> str:
    if len(case.images) == 1:
        return ""
    positions = {image.id: image.position for image in case.images}
    each = [f"image {positions[i.image_id]} ({_write_prediction(i.prediction)})" for i in reveal.images]
    probabilities = [i.prediction.malignant_probability for i in reveal.images]
    if len(each) == 1:
        return f" Based on one image only: {each[0]}."
    between = f"{len(each)} images from {min(probabilities):.2f} to {max(probabilities):.2f}"
    return f" Mean of {', '.join(each) if len(each) <= _MOST_PROBABILITIES else between}."


def _list_warnings(case: CaseView) -> list[str]:
    messages = [(i, words) for i in case.images for words in [*i.quality.problems, i.job_message]]
    # An unreadable image has its reason twice: from the upload and from the analysis.
    problems = dict.fromkeys(f"! Image {image.position}: {words}" for image, words in messages if words)
    return [*problems, *(f"Image {i.position}: {note}" for i in case.images for note in i.quality.notes)]


def _shorten(lines: list[str]) -> list[str]:
    rest = len(lines) - _MOST_WARNINGS
    return [*lines[:_MOST_WARNINGS], f"… and {rest} more, shown below each image"] if rest > 0 else lines


def _write_prediction(prediction: Prediction) -> str:
    subtype = f", {formatting.subtype_words(prediction.label)}" if len(prediction.probabilities) > 2 else ""
    return f"{prediction.malignant_probability:.2f}{subtype}"


def _write_bar(probability: float, threshold: float) -> str:
    words = f"Probability of malignancy {probability:.2f}, malignant threshold {threshold:.2f}"
    return (
        f'<div class="probability-bar" role="img" aria-label="{words}" title="{words}">'
        f'<span style="width:{probability:.1%}"></span><i style="left:{threshold:.1%}"></i></div>'
    )
