"""Explain a model to its readers in plain words, and ask them to confirm it once before they see its opinion."""

from collections.abc import Iterator, Sequence

import streamlit as st

from core.card import Card
from core.reading.scope_words import NO_OPINION, UNUSUAL
from core.statistics import figure_names
from core.statistics.evaluation import Group
from core.wording import count_words, interval_words
from db import store
from db.values.evaluations import EvaluationRow
from db.values.reading import ModelIdentity
from pages.ui import formatting, resources

_CONFIRM = "I have read this"
_NOT_A_DIAGNOSIS = (
    "For research use only. Its opinion is not a diagnosis and must not be used to decide about a patient's care."
)
_KINDS = {"subtype": "Subtype", "magnification": "Magnification"}


def draw_explanation(card: Card, version: str) -> None:
    """Draw the whole explanation of the model in service."""
    st.markdown(f"**{formatting.escape(card.name)}** &nbsp; version `{version}`")
    st.markdown("##### What it is")
    st.markdown("\n".join(f"* {line}" for line in _write_nature(card)))
    st.markdown("##### What it is good and bad at")
    _draw_record(version)
    if card.note:
        st.caption(formatting.escape(card.note))
    st.markdown("##### What its numbers and colours mean")
    st.markdown("\n".join(f"* {line}" for line in _write_numbers(card)))
    st.markdown("##### What it does not know")
    st.markdown("\n".join(f"* {line}" for line in _write_limits(card)))


def ask_on_page(version: str, *, confirmed: bool) -> None:
    """Ask for the confirmation below the whole explanation, or say that it was given."""
    if confirmed:
        st.caption("You have confirmed that you have read this.")
    elif st.button(_CONFIRM, shortcut="G", type="primary"):
        _confirm(version)


def ask_before_reveal(model: ModelIdentity) -> None:
    """Ask in place of the model's first opinion for the confirmation; one click shows the opinion."""
    st.markdown("##### Meet the model")
    st.markdown("Before you see this model's opinion for the first time:")
    file = resources.checkpoint()
    card = file.card if file.version == model.version else None
    lines = [f"**{formatting.escape(model.name)}** {model.version}", *(_write_nature(card) if card else [])]
    lines += [*_write_short_numbers(), _NOT_A_DIAGNOSIS]
    st.markdown("\n".join(f"* {line}" for line in lines))
    if st.button(f"{_CONFIRM}: show its opinion", shortcut="G", type="primary", width="stretch"):
        _confirm(model.version)
    if card is not None:
        st.page_link("meet_model.py", label="More about this model")


def _confirm(version: str) -> None:
    reader = resources.account().id
    with resources.sessions().begin() as session:
        store.models.confirm_model(session, reader, version)
    st.rerun()


def _write_nature(card: Card) -> Iterator[str]:
    data = card.training_data
    patients = count_words(data.patients, "patient")
    yield (
        f"It was fitted to {count_words(data.images, 'image')} of {patients} "
        f"({formatting.escape(data.dataset)}). It knows nothing of the clinical history, other stains or whole slides."
    )
    if card.demonstration:
        yield "It is a demonstration model: it is meant for trying out this program, and it is often wrong."


def _write_short_numbers() -> Iterator[str]:
    yield "Its number is an estimated probability, not a certainty. It can be confident and still be wrong."
    yield "The map shows what the model took as evidence for malignancy, not where a tumour is."
    yield f'"{NO_OPINION.removeprefix("⊘ ").capitalize()}" means that the images are unlike those it learned from.'


def _write_numbers(card: Card) -> Iterator[str]:
    yield (
        "The **probability** of malignancy lies between 0 and 1. At or above the **threshold**, the model says "
        "malignant. It can be confident and still be wrong: 0.9 does not mean that it is right nine times out of ten."
    )
    yield (
        "The **heat map** shows the evidence for or against malignancy at each point, in logits; the colour scale "
        "below the image applies to that image only. It explains the model, not the tissue: a bright area is not "
        "necessarily tumour."
    )
    if card.input_policy.kind == "patches":
        yield "An image is cut into **patches**, and its probability is their mean, which can hide a small focus."
    yield "The probability of a **case** is the mean of its images."


def _write_limits(card: Card) -> Iterator[str]:
    if card.scope is None:
        yield (
            "It cannot tell whether an image is like those it learned from: it labels any image. Be wary of images "
            "of another laboratory, stain, scanner or magnification."
        )
    else:
        scope = card.scope
        yield (
            f"It compares each image with those it learned from. **{formatting.escape(UNUSUAL)}**: it is less like "
            "them than most images are. **No opinion**: it is too unlike them, and the model gives neither label nor "
            "number. Upload the original camera file: a rotated, resized or compressed copy may get no opinion."
        )
        yield (
            f"This is no guarantee. Of images like the training images, {scope.false_alarms:.1%} get no opinion by "
            "mistake, and an image unlike them may still get one."
        )
    if card.scale is not None:
        yield (
            f"It was trained on images of {card.scale.low:g} to {card.scale.high:g} µm per pixel. An image at another "
            "scale is resampled if its scale is known; otherwise it is analysed unchanged."
        )
    yield "Anything its training set lacks, such as a rare entity, gets the closest label that the model knows."
    yield _NOT_A_DIAGNOSIS


def _draw_record(version: str) -> None:
    rows = _rows_of(version)
    evaluations = [found for found in map(resources.measure_for_account, rows) if found is not None]
    if rows and not evaluations:
        st.markdown(
            "Its evaluations may include images of cases you have not finished. They will be shown here once you have."
        )
    elif not rows:
        st.markdown("This version has not been evaluated here, so its error rate is unknown.")
    for each in evaluations:
        auc = each.figure(figure_names.AUC)
        st.markdown(
            f"On **{formatting.escape(each.dataset)}**, {formatting.escape(each.split)}: "
            f"{count_words(each.images, 'image')} of {count_words(each.patients, 'patient')}, "
            f"AUC {formatting.escape(interval_words(auc))} (0.5 is guessing, 1 is perfect)."
        )
        for kind, words in _KINDS.items():
            _draw_groups(words, [group for group in each.groups if group.kind == kind])
    st.page_link("evaluation.py", label="Evaluation: curves, and images with typical errors")


def _rows_of(version: str) -> Sequence[EvaluationRow]:
    return [row for row in resources.evaluations().rows() if row.model_version == version]


def _draw_groups(words: str, groups: Sequence[Group]) -> None:
    if len(groups) < 2:
        return
    ordered = sorted(groups, key=lambda group: group.wrong / max(1, group.images))
    st.table(
        {
            words: [formatting.escape(formatting.subtype_words(group.name)) for group in ordered],
            "Images": [f"{group.images:,} of {count_words(group.patients, 'patient')}" for group in ordered],
            "Misclassified": [f"{group.wrong:,} ({group.wrong / max(1, group.images):.0%})" for group in ordered],
        },
        hide_index=True,
    )
