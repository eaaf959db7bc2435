"""Writes an evaluation's folder: predictions, metrics, plots, and a report to read as HTML and as Markdown."""

import base64
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from core.card import Card
from core.evaluation import Evaluation, Figure, Group, GroupKind
from core.measures.figures import (
    ACCURACY,
    AUC,
    MALIGNANT_PROBABILITY,
    PATIENT_RECOGNITION_RATE,
    RECALL,
    SPECIFICITY,
)
from training.claim import RESEARCH_USE, checklist
from training.judged_images import JudgedImage
from training.plots import Plot, draw
from training.predictions import predictions

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_FAILURES = 10  # shown; all of them are in predictions.parquet
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~!$])|(?<=:)(//)")
_GROUPS: dict[GroupKind, str] = {"magnification": "By magnification", "subtype": "By subtype", "patient": "By patient"}
# In the tables of groups; metrics.json has the others.
_OF_GROUPS = (ACCURACY, AUC, RECALL, SPECIFICITY, MALIGNANT_PROBABILITY, PATIENT_RECOGNITION_RATE)


@dataclass(frozen=True, slots=True)
class GroupTable:
    """The groups of one kind, and for each its figures under `columns`, None where it has none."""

    kind: GroupKind
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Group, tuple[Figure | None, ...]], ...]


def write_evaluation(folder: Path, evaluation: Evaluation, card: Card, images: Sequence[JudgedImage]) -> None:
    """Write predictions.parquet, metrics.json, the plots, report.html and report.md into a folder."""
    (folder / "metrics.json").write_text(evaluation.to_json(), encoding="utf-8")
    predictions(images, card, evaluation.split).to_parquet(folder / "predictions.parquet", index=False)
    plots = draw(evaluation, folder)
    for name, text in render(evaluation, card, images, plots, folder).items():
        (folder / name).write_text(text, encoding="utf-8")


def render(
    evaluation: Evaluation, card: Card, images: Sequence[JudgedImage], plots: Sequence[Plot], folder: Path
) -> dict[str, str]:
    """Fill both templates; the HTML carries its plots within, the Markdown names the files."""
    values = {
        "evaluation": evaluation,
        "card": card,
        "items": checklist(evaluation, card),
        "failures": worst(images),
        "groups": group_tables(evaluation.groups),
        "research_use": RESEARCH_USE,
    }
    inline = [(plot, _data_address(folder / plot.name)) for plot in plots]
    return {
        "report.html": _environment(html=True).get_template("report.html").render(values, plots=inline),
        "report.md": _environment(html=False).get_template("report.md").render(values, plots=plots),
    }


def group_tables(groups: Sequence[Group]) -> list[GroupTable]:
    """Lay out the main figures of magnifications, subtypes and patients."""
    tables = []
    for kind, title in _GROUPS.items():
        members = sorted((group for group in groups if group.kind == kind), key=_natural)
        found = [{figure.name: figure for figure in reversed(group.figures)} for group in members]
        columns = tuple(name for name in _OF_GROUPS if any(name in figures for figures in found))
        rows = [(g, tuple(figures.get(name) for name in columns)) for g, figures in zip(members, found, strict=True)]
        if rows:
            tables.append(GroupTable(kind, title, columns, tuple(rows)))
    return tables


def worst(images: Sequence[JudgedImage]) -> list[JudgedImage]:
    """Give the wrongly called images, the most confident first."""
    wrong = [image for image in images if image.reason is None and image.malignant != image.called_malignant]
    return sorted(wrong, key=_said_of_truth)[:_FAILURES]


def number(value: float | None, digits: int = 3) -> str:
    """Write a figure; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(figure: Figure) -> str:
    """Write the bounds of a figure; a dash where there are none."""
    return "–" if figure.low is None or figure.high is None else f"{number(figure.low)} to {number(figure.high)}"


def harmless(text: str) -> str:
    """Replace characters that steer a terminal, or the direction of writing, by a mark; file names may hold any."""
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)


def _natural(group: Group) -> tuple[int, str]:
    """Sort 40X before 100X."""
    digits = re.match(r"\d{1,9}", group.name)
    return (int(digits[0]) if digits else 0, group.name)


def _said_of_truth(image: JudgedImage) -> float:
    return image.malignant_probability if image.malignant else 1 - image.malignant_probability


def _data_address(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(("html",)),  # by the template's name
        undefined=StrictUndefined,
        # Every value passes here, so that none can be forgotten in a template.
        finalize=_plain if html else _in_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "interval": interval}
    return environment


def _plain(value: object) -> object:
    return harmless(value) if type(value) is str else value


def _in_markdown(value: object) -> str:
    text = harmless(str(value)).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\g<0>", text)
