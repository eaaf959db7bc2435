"""Formatting of labels, opinions, quality, states and times on pages, and escaping of text that people typed."""

import re
from datetime import datetime

from core.labels import Malignancy
from core.results import Quality
from db.values.reading import CaseState, ImageRow, JobState, Opinion
from db.values.worklist import CaseRow

STATE_WORDS = {
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
# Start of a web or e-mail address; Streamlit turns these into links even if they are escaped.
_ADDRESS = re.compile(r"https?(?=://)|www(?=\.)|[\w.+-](?=@)", re.IGNORECASE)


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


def escape(text: str) -> str:
    """Escape text that people typed, so that it is neither rendered as Markdown nor turned into a link."""
    text = _ADDRESS.sub("\\g<0>\N{WORD JOINER}", text)
    return re.sub(r"([\\`*_{}\[\]<>#|~$:])", r"\\\1", text)


def magnification_words(magnification: str | None) -> str:
    """Return a magnification, or that none was recorded."""
    return magnification or "not recorded"


def count_words(number: int, noun: str) -> str:
    """Return a number with its noun in singular or plural: "1 case", "2 cases"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


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
    return any(image.job in (JobState.QUEUED, JobState.RUNNING) for image in images)


def format_time(moment: datetime) -> str:
    """Return the time of day in the server's time zone."""
    return moment.astimezone().strftime("%H:%M:%S")


def format_date_time(moment: datetime) -> str:
    """Return the date and time in the server's time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def images_words(row: CaseRow) -> str:
    """Return the number of images of a case, and how many are analysed until all are."""
    return f"{row.images}" if row.analysed >= row.images else f"{row.analysed} of {row.images} analysed"
