"""How pages write labels, opinions, quality, states and times, and how they escape what people typed."""

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
# Where an address of the web or of mail begins; Streamlit makes links of them, however they are escaped.
_ADDRESS = re.compile(r"https?(?=://)|www(?=\.)|[\w.+-](?=@)", re.IGNORECASE)


def label_words(label: Malignancy | None) -> str:
    """Write a label as sign and word, so that it never rests on colour."""
    return {"benign": "○ benign", "malignant": "▲ malignant", None: "◇ cannot assess"}[label]


def opinion_words(opinion: Opinion) -> str:
    """Write an opinion in one line."""
    confidence = f" ({opinion.confidence}/5)" if opinion.confidence else ""
    subtype = f", {subtype_words(opinion.subtype)}" if opinion.subtype else ""
    return f"{label_words(opinion.label)}{confidence}{subtype}"


def subtype_words(subtype: str) -> str:
    """Write a class name as a reader would."""
    return subtype.replace("_", " ")


def plain(text: str) -> str:
    """Keep text that people typed from acting as Markdown, or from becoming a link by looking like one."""
    text = _ADDRESS.sub("\\g<0>\N{WORD JOINER}", text)
    return re.sub(r"([\\`*_{}\[\]<>#|~$:])", r"\\\1", text)


def magnification_words(magnification: str | None) -> str:
    """Write a magnification, or that there is none."""
    return magnification or "not said"


def count_words(number: int, what: str) -> str:
    """Write how many there are of something: "1 case", "2 cases"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def quality_words(quality: Quality) -> str:
    """Write what was found wrong with an image, or that nothing was."""
    return "; ".join(f"! {finding.message}" for finding in quality.findings) or "ok"


def job_words(image: ImageRow) -> str:
    """Write how far the analysis of an image has come."""
    words = {JobState.QUEUED: "queued", JobState.RUNNING: "being analysed", JobState.DONE: "analysed"}
    if image.job is JobState.FAILED:
        return f"no result: {image.job_message or 'the analysis failed'}"
    return "no result" if image.job_message else words[image.job]


def pending(images: tuple[ImageRow, ...]) -> bool:
    """Say whether some image still waits for its analysis."""
    return any(image.job in (JobState.QUEUED, JobState.RUNNING) for image in images)


def clock(moment: datetime) -> str:
    """Write a time of day as the server's clock shows it."""
    return moment.astimezone().strftime("%H:%M:%S")


def day_and_clock(moment: datetime) -> str:
    """Write a day and its time as the server's clock shows it."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def images_words(row: CaseRow) -> str:
    """Write how many images of a case there are, and how many are analysed while some are not."""
    return f"{row.images}" if row.analysed >= row.images else f"{row.analysed} of {row.images} analysed"
