"""Write the report of an evaluation: plots, tables and the CLAIM checklist, as HTML and Markdown.

The checklist is filled from the card and the evaluation; items that neither answers are "not reported". Source:
Mongan et al., "Checklist for Artificial Intelligence in Medical Imaging (CLAIM)", Radiology: Artificial Intelligence
2(2), 2020, with the items and numbers of its 2024 update (Tejani et al., Radiology: Artificial Intelligence 6(4)).
The topics are our short names for the items.
"""

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from core.card import Card
from core.files import replace_control_characters
from core.statistics.evaluation import Confusion, Curve, Evaluation, Figure, Group, GroupKind
from core.statistics.figure_names import (
    ACCURACY,
    AUC,
    MALIGNANT_PROBABILITY,
    PATIENT_RECOGNITION_RATE,
    RECALL,
    SPECIFICITY,
)
from core.wording import bounds_words
from training.evaluation.predictions import JudgedImage, build_predictions_table

NOT_REPORTED = "not reported"
RESEARCH_USE = (
    "Research use only. No output of this model is a diagnosis, and no decision about a patient may be based on it."
)
_PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "scikit-learn")

_INCHES, _DOTS = 4.2, 120  # side of a plot, and dots per inch
_ACCENT, _INK, _FAINT = "#1b7f86", "#22282c", "#8a9499"
# x axis, y axis, and the reference line: a network without skill or, for reliability, perfect calibration.
_AXES = {
    "roc": ("1 - specificity", "sensitivity", "diagonal"),
    "precision_recall": ("sensitivity (recall)", "precision", "none"),
    "reliability": ("predicted malignant probability", "observed share of malignant images", "diagonal"),
    "risk_coverage": ("coverage (share of images with a prediction)", "risk (share of errors among them)", "none"),
}
_TITLES = {
    "roc": "ROC curve",
    "precision_recall": "Precision-recall curve",
    "reliability": "Reliability diagram",
    "risk_coverage": "Risk-coverage curve",
}

_TEMPLATES = Path(__file__).resolve().parents[1] / "templates"
_FAILURES = 10  # shown; predictions.parquet has all of them
_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~!$])|(?<=:)(//)")
_GROUPS: dict[GroupKind, str] = {"magnification": "By magnification", "subtype": "By subtype", "patient": "By patient"}
# Shown in the tables of groups; metrics.json has the others.
_GROUP_FIGURES = (ACCURACY, AUC, RECALL, SPECIFICITY, MALIGNANT_PROBABILITY, PATIENT_RECOGNITION_RATE)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the CLAIM checklist and its answer."""

    number: int
    section: str
    topic: str
    answer: str = NOT_REPORTED

    @property
    def reported(self) -> bool:
        """Whether there is an answer."""
        return self.answer != NOT_REPORTED


_FOLDER_LABELS = "the labels in the folder's labels.csv"
_FOLDER_ORIGIN = "a folder of images whose origin is not recorded"

# Where each section of the checklist begins.
_SECTIONS = (
    (1, "Title and abstract"),
    (3, "Introduction"),
    (5, "Study design"),
    (7, "Data"),
    (14, "Reference standard"),
    (19, "Data partitions"),
    (21, "Testing data"),
    (22, "Model"),
    (25, "Training"),
    (28, "Evaluation"),
    (35, "Results: data"),
    (37, "Results: model performance"),
    (40, "Discussion"),
    (42, "Other information"),
)
_TOPICS = (
    "identification as a study of AI, and the technology used",
    "structured summary",
    "background, intended use and clinical role",
    "objectives and hypotheses",
    "prospective or retrospective design",
    "goal of the study",
    "data sources",
    "inclusion and exclusion criteria",
    "preprocessing",
    "selection of data subsets",
    "de-identification",
    "handling of missing data",
    "image acquisition",
    "definition of the reference standard",
    "rationale for the reference standard",
    "source of annotations",
    "annotation of the test set",
    "variability between and within annotators",
    "assignment of data to partitions",
    "level at which partitions are disjoint",
    "intended sample size",
    "description of the model",
    "software",
    "initial parameters",
    "training",
    "selection of the final model",
    "ensembling",
    "metrics",
    "uncertainty and significance",
    "robustness or sensitivity analysis",
    "explainability",
    "evaluation on internal data",
    "testing on external data",
    "trial registration",
    "patients and images included and excluded",
    "demographics of each partition",
    "model performance",
    "estimates of diagnostic performance and their precision",
    "failure analysis",
    "limitations",
    "implications for practice",
    "study protocol or technical details",
    "availability of software, model and data",
    "funding",
)


def fill_claim_checklist(evaluation: Evaluation, card: Card) -> tuple[Item, ...]:
    """Return every item of the CLAIM checklist in order, answered from the evaluation and the card where possible."""
    answers = _answers(evaluation, card)
    return tuple(
        Item(number, _section(number), topic, answers.get(number) or NOT_REPORTED)
        for number, topic in enumerate(_TOPICS, start=1)
    )


def _section(number: int) -> str:
    return [name for first, name in _SECTIONS if first <= number][-1]


def _answers(evaluation: Evaluation, card: Card) -> dict[int, str]:
    data, config = card.training_data, card.config
    return _data_answers(evaluation, card) | {
        1: f"deep learning: {' + '.join(card.branches)}, {len(card.label_set.classes)} classes",
        3: RESEARCH_USE,
        5: "retrospective, on existing labelled images",
        6: f"to evaluate one locked model on {evaluation.dataset} ({evaluation.split})",
        19: f"{evaluation.protocol}; training: {_training_protocol(card)}",
        20: "patient" if data.patient_ids else "",
        22: _model(card),
        23: ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES) + f"; code {card.code_version}",
        24: _initial(card),
        25: _training(card),
        26: _first(config, "keep", "the weights of the {} epoch"),
        27: "one network"
        + (
            f", whose weights are the mean of {config['members']} trained members"
            if config.get("members", 1) != 1
            else ""
        ),
        28: ", ".join(dict.fromkeys(figure.name for figure in evaluation.figures)),
        29: "95% intervals from resampling patients (bias-corrected and accelerated bootstrap)",
        30: f"{len(evaluation.ablation)} ways of preparing the images compared; see Ablation"
        if evaluation.ablation
        else "",
        31: "heat maps of the evidence for malignancy, in logit units, from the same forward pass as the prediction",
        32: "" if _external(evaluation, card) else f"{evaluation.dataset}, {evaluation.split}",
        33: _FOLDER_ORIGIN
        if _is_folder(evaluation)
        else f"{evaluation.dataset}, {evaluation.split}"
        if _external(evaluation, card)
        else "",
        37: "see Figures",
        38: "see Figures; threshold and temperature were locked before this evaluation",
        39: "see Most confident errors",
        40: "; ".join([*(caution.words for caution in evaluation.warnings), card.note]).strip("; "),
        41: RESEARCH_USE,
        42: "the configuration of the run is in the checkpoint's card" if config else "",
    }


def _data_answers(evaluation: Evaluation, card: Card) -> dict[int, str]:
    data = card.training_data
    limits = card.quality_limits
    return {
        7: f"trained on {data.dataset}: {data.images} images of {data.patients} patients; evaluated on "
        f"{evaluation.dataset}",
        8: "every readable image of the selected part, including images with quality warnings",
        9: _preprocessing(card),
        10: f"split: {evaluation.split}",
        12: f"{len(evaluation.excluded)} images without a prediction were excluded and are listed with the reasons"
        f"{f'; {evaluation.scope.words}' if evaluation.scope else ''}",
        14: _FOLDER_LABELS if _is_folder(evaluation) else f"the labels of {evaluation.dataset} as published",
        35: f"{evaluation.images} images of {evaluation.patients} patients included, {len(evaluation.excluded)} images "
        f"excluded; flagged, but not excluded: sharpness below {limits.sharpness:g}, "
        f"tissue below {limits.tissue_fraction:.0%}",
    }


def _is_folder(evaluation: Evaluation) -> bool:
    return evaluation.dataset.startswith("folder ")


def _external(evaluation: Evaluation, card: Card) -> bool:
    trained: Sequence[str] = [name.strip().casefold() for name in card.training_data.dataset.split(",")]
    return evaluation.dataset.casefold() not in trained


def _preprocessing(card: Card) -> str:
    policy = card.input_policy
    stain = f"{card.stain.method} stain normalisation" if card.stain else "no stain normalisation"
    squares = (
        "the whole image"
        if policy.kind == "resize"
        else f"patches of {policy.patch_side} px with a stride of {policy.stride} px"
    )
    scaled = f"{squares}, scaled to {policy.input_side} px"
    return f"{stain}; {scaled}; standardised with the card's mean and standard deviation"


def _model(card: Card) -> str:
    return (
        f"branches {', '.join(card.branches)}; {card.fusion.replace('_', ' ')}; {card.head} head; "
        f"{card.views} views averaged; {card.precision}; magnification {card.magnification}"
    )


def _training_protocol(card: Card) -> str:
    kind = card.config.get("protocol.kind")
    return f"{kind}, seed {card.config.get('protocol.seed', 0)}" if kind else NOT_REPORTED


def _initial(card: Card) -> str:
    if "pretrained" not in card.config:
        return ""
    start = "pretrained weights" if card.config["pretrained"] else "random weights"
    return f"{start}, seed {card.config.get('seed', 0)}"


def _training(card: Card) -> str:
    values = {
        key: value
        for key, value in card.config.items()
        if key.startswith(("phases.", "optimiser.", "loss.", "sampling."))
    }
    return "; ".join(f"{key} {value}" for key, value in values.items())


def _first(config: dict[str, str | int | float | bool], key: str, words: str) -> str:
    return words.format(config[key]) if key in config else ""


@dataclass(frozen=True, slots=True)
class Plot:
    """A PNG file in the evaluation's folder; a wide one takes the whole width of the page."""

    name: str
    title: str
    wide: bool = False


def draw_plots(evaluation: Evaluation, folder: Path) -> tuple[Plot, ...]:
    """Draw every plot of an evaluation into a folder and return the plots."""
    plots = []
    for curve in evaluation.curves:
        plots.append(Plot(f"{curve.kind.replace('_', '-')}.png", _TITLES[curve.kind]))
        (folder / plots[-1].name).write_bytes(_png(_draw_curve(curve)))
    for number, confusion in enumerate(evaluation.confusions):
        classes = len(confusion.classes)
        name = "confusion.png" if number == 0 else f"confusion-{classes}.png"
        plots.append(Plot(name, f"Confusion matrix, {classes} classes", classes > 4))
        (folder / name).write_bytes(_png(_draw_matrix(confusion)))
    return tuple(plots)


def _png(canvas: Canvas) -> bytes:
    buffer = BytesIO()
    # Without the library's version in the file, the same evaluation gives the same bytes.
    canvas.savefig(buffer, format="png", dpi=_DOTS, metadata={"Software": None})
    return buffer.getvalue()


def _canvas(side: float = _INCHES) -> tuple[Canvas, Axes]:
    # Not pyplot: it keeps every figure alive, and looks for a display.
    canvas = Canvas(figsize=(side, side), layout="constrained", facecolor="white")
    axes = canvas.add_subplot()
    axes.tick_params(colors=_INK, labelsize=8)
    for edge in axes.spines.values():
        edge.set_color(_FAINT)
    return canvas, axes


def _draw_curve(curve: Curve) -> Canvas:
    canvas, axes = _canvas()
    across, up, reference = _AXES[curve.kind]
    if reference == "diagonal":
        axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=1, linestyle="--")
    if curve.weights:
        sizes = 20 + 180 * np.array(curve.weights) / max(*curve.weights, 1)
        axes.scatter(curve.x, curve.y, s=sizes, color=_ACCENT, alpha=0.5, linewidths=0)
    axes.plot(curve.x, curve.y, color=_ACCENT, linewidth=1.8)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=across, ylabel=up)
    axes.set_title(_TITLES[curve.kind], fontsize=10, color=_INK)
    return canvas


def _draw_matrix(confusion: Confusion) -> Canvas:
    counts = np.array(confusion.counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = [name.replace("_", " ") for name in confusion.classes]
    canvas, axes = _canvas(_INCHES if len(classes) == 2 else 1.5 + 0.8 * len(classes))
    axes.imshow(shares, cmap="GnBu", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        words = f"{counts[row, column]}\n{share:.0%}\n{confusion.patients[row][column]} pat."
        axes.text(
            column,
            row,
            words,
            ha="center",
            va="center",
            fontsize=9 if len(classes) == 2 else 7,
            color="white" if share > 0.6 else _INK,
        )
    axes.set_xticks(
        range(len(classes)),
        classes,
        rotation=45 if len(classes) > 2 else 0,
        ha="right" if len(classes) > 2 else "center",
    )
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title("Images, share of row, patients", fontsize=10, color=_INK)
    return canvas


@dataclass(frozen=True, slots=True)
class GroupTable:
    """The groups of one kind with their figures in the order of `columns`, None where a group has no such figure."""

    kind: GroupKind
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Group, tuple[Figure | None, ...]], ...]


def write_evaluation(folder: Path, evaluation: Evaluation, card: Card, images: Sequence[JudgedImage]) -> None:
    """Write predictions.parquet, metrics.json, the plots, report.html and report.md into a folder."""
    (folder / "metrics.json").write_text(evaluation.to_json(), encoding="utf-8")
    build_predictions_table(images, card, evaluation.split).to_parquet(folder / "predictions.parquet", index=False)
    plots = draw_plots(evaluation, folder)
    for name, text in render_reports(evaluation, card, images, plots, folder).items():
        (folder / name).write_text(text, encoding="utf-8")


def render_reports(
    evaluation: Evaluation, card: Card, images: Sequence[JudgedImage], plots: Sequence[Plot], folder: Path
) -> dict[str, str]:
    """Fill both templates and return the texts by file name; the HTML embeds the plots, the Markdown links to them."""
    values = {
        "evaluation": evaluation,
        "card": card,
        "items": fill_claim_checklist(evaluation, card),
        "failures": find_confident_errors(images),
        "groups": group_tables(evaluation.groups),
        "research_use": RESEARCH_USE,
    }
    inline = [(plot, _data_address(folder / plot.name)) for plot in plots]
    return {
        "report.html": _environment(html=True).get_template("report.html").render(values, plots=inline),
        "report.md": _environment(html=False).get_template("report.md").render(values, plots=plots),
    }


def group_tables(groups: Sequence[Group]) -> list[GroupTable]:
    """Return tables of the main figures by magnification, subtype and patient."""
    tables = []
    for kind, title in _GROUPS.items():
        members = sorted((group for group in groups if group.kind == kind), key=_natural)
        by_name = [{figure.name: figure for figure in reversed(group.figures)} for group in members]
        columns = tuple(name for name in _GROUP_FIGURES if any(name in figures for figures in by_name))
        rows = [(g, tuple(figures.get(name) for name in columns)) for g, figures in zip(members, by_name, strict=True)]
        if rows:
            tables.append(GroupTable(kind, title, columns, tuple(rows)))
    return tables


def find_confident_errors(images: Sequence[JudgedImage]) -> list[JudgedImage]:
    """Return the misclassified images, the most confident first."""
    wrong = [image for image in images if image.reason is None and image.malignant != image.called_malignant]
    return sorted(wrong, key=_probability_of_truth)[:_FAILURES]


def format_number(value: float | None, digits: int = 3) -> str:
    """Format a value; a dash if there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _natural(group: Group) -> tuple[int, str]:
    """Return a sort key that puts 40X before 100X."""
    digits = re.match(r"\d{1,9}", group.name)
    return (int(digits[0]) if digits else 0, group.name)


def _probability_of_truth(image: JudgedImage) -> float:
    return image.malignant_probability if image.malignant else 1 - image.malignant_probability


def _data_address(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(("html",)),  # by the template's name
        undefined=StrictUndefined,
        # Applied to every value, so that no template can forget to escape one.
        finalize=_plain if html else _in_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": format_number, "interval": bounds_words}
    return environment


def _plain(value: object) -> object:
    return replace_control_characters(value) if type(value) is str else value


def _in_markdown(value: object) -> str:
    text = replace_control_characters(str(value)).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\g<0>", text)
