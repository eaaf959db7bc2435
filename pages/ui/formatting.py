"""Formatting of labels, opinions, quality and states on pages, and escaping of text that people typed."""

import re

from core.labels import Malignancy
from core.results import Quality
from db.values.jobs import PENDING, JobState
from db.values.reading import CaseState, ImageRow, Opinion
from db.values.worklist import CaseRow

STATE_WORDS = {
    CaseState.INCOMPLETE: "incomplete",
    CaseState.READY: "to read",
    CaseState.IN_READING: "in reading",
    CaseState.FIRST_READ: "first read saved",
    CaseState.REVEALED: "revealed",
    CaseState.FINAL: "final",
    CaseState.DISCORDANT: "discordant",
    CaseState.ADJUDICATION: "in adjudication",
    CaseState.RESOLVED: "resolved",
    CaseState.SIGNED_OFF: "signed off",
    CaseState.AMENDED: "amended",
    CaseState.WAITING: "being analysed",
    CaseState.UNREADABLE: "unreadable",
}
# What Streamlit changes even if it is escaped: web and e-mail addresses become links, names between two colons become
# emoji, icons and pictures, and some signs between blanks become arrows and dashes.
_CHANGED = re.compile(
    r"https?(?=://)|www(?=\.)|[\w.+-](?=@)|:(?=[\w+/-]+:)|(?<!\S)[-<>~](?=(?:-|=|>|->)(?!\S))", re.IGNORECASE
)
_MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~$:]|&(?=#?\w+;)")
# At the start of a line, these make a list, a heading or a rule, and blanks make code.
_LINE_START = re.compile(r"^(\d+)(?=[.)](?:\s|$))|^(?=[-+](?:\s|$)|[-=]+\s*$)", re.MULTILINE)
_INDENTED = re.compile(r"^[ \t]+", re.MULTILINE)


def label_words(label: Malignancy | None) -> str:
    """Return a label as symbol and word, so that it never depends on colour."""
    return {"benign": "○ benign", "malignant": "▲ malignant", None: "◇ cannot assess"}[label]


def opinion_words(opinion: Opinion) -> str:
    """Return an opinion in one line."""
    confidence = f" ({opinion.confidence}/5)" if opinion.confidence else ""
    subtype = f", {subtype_words(opinion.subtype)}" if opinion.subtype else ""
    return f"{label_words(opinion.label)}{confidence}{subtype}"


def subtype_words(subtype: str) -> str:
    """Return a class name with spaces in place of underscores."""
    return subtype.replace("_", " ")


def capitalise(text: str) -> str:
    """Return a text with a capital first letter; the other letters stay as they are ("AUC of patients")."""
    return text[:1].upper() + text[1:]


def escape(text: str) -> str:
    """Escape text of a person or a file for everything that Streamlit draws as Markdown, so that it stays as it is.

    Markdown are all texts, captions, notices, tooltips, labels and cells of `st.table`; not the cells of a dataframe,
    the choices of a list, and what stands in a field.
    """
    text = _INDENTED.sub("", text)
    text = _CHANGED.sub("\\g<0>\N{WORD JOINER}", text)
    text = _MARKUP.sub(r"\\\g<0>", text)
    return _LINE_START.sub(r"\g<1>\\", text)


def magnification_words(magnification: str | None) -> str:
    """Return a magnification, or that none was recorded."""
    return magnification or "not recorded"


def quality_words(quality: Quality) -> str:
    """Return what is wrong with an image, or "ok", and how its file was read."""
    problems = [f"! {problem}" for problem in quality.problems]
    return "; ".join([*(problems or ["ok"]), *quality.notes])


def job_words(image: ImageRow) -> str:
    """Return the state of the analysis of an image."""
    words = {JobState.QUEUED: "queued", JobState.RUNNING: "being analysed", JobState.DONE: "analysed"}
    if image.job is JobState.FAILED:
        return f"no result: {image.job_message or 'the analysis failed'}"
    return "no result" if image.job_message else words[image.job]


def is_pending(images: tuple[ImageRow, ...]) -> bool:
    """Return whether any image is still waiting for its analysis."""
    return any(image.job in PENDING for image in images)


def images_words(row: CaseRow) -> str:
    """Return the number of images of a case, and how many are analysed until all are."""
    return f"{row.images}" if row.analysed >= row.images else f"{row.analysed} of {row.images} analysed"
