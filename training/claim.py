"""Answers the CLAIM checklist as far as a card and an evaluation can: what nobody wrote down is "not reported".

Mongan et al., "Checklist for Artificial Intelligence in Medical Imaging (CLAIM)", Radiology: Artificial Intelligence
2(2), 2020, with the items and numbers of its 2024 update (Tejani et al., Radiology: Artificial Intelligence 6(4)).
The topics are our short words for the items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from core.card import Card
from core.evaluation import Evaluation

NOT_REPORTED = "not reported"
RESEARCH_USE = (
    "Research use only. No output of this model is a diagnosis, and no decision about a patient may rest on it."
)
_PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Item:
    """One item of the checklist; without an answer it is not reported."""

    number: int
    section: str
    topic: str
    answer: str = NOT_REPORTED

    @property
    def reported(self) -> bool:
        """Whether there is an answer."""
        return self.answer != NOT_REPORTED


_FOLDER_LABELS = "the labels in the folder's labels.csv"
_FOLDER_ORIGIN = "a folder of images; where they come from is not known here"

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
    "study of AI, and which kind of technology",
    "structured summary",
    "background, intended use and role",
    "aims and hypotheses",
    "prospective or retrospective",
    "goal of the study",
    "sources of the data",
    "who is included and who is not",
    "preprocessing",
    "subsets of the data",
    "de-identification",
    "missing data",
    "acquisition of the images",
    "how the reference standard was obtained",
    "why this reference standard",
    "who annotated",
    "annotation of the test set",
    "variability between and within annotators",
    "how data were assigned to partitions",
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
    "robustness or sensitivity",
    "explainability",
    "evaluation on internal data",
    "testing on external data",
    "trial registration",
    "patients and images, included and excluded",
    "demographics of each partition",
    "performance",
    "diagnostic performance and its precision",
    "failures",
    "limitations",
    "implications for practice",
    "protocol or technical details",
    "availability of software, model and data",
    "funding",
)


def checklist(evaluation: Evaluation, card: Card) -> tuple[Item, ...]:
    """Answer every item in order."""
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
        5: "retrospective, on labelled images that were there before",
        6: f"to measure one locked model on {evaluation.dataset} ({evaluation.split})",
        19: f"{evaluation.protocol}; training: {_training_protocol(card)}",
        20: "patient" if data.patient_ids else "",
        22: _model(card),
        23: ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES) + f"; code {card.code_version}",
        24: _initial(card),
        25: _training(card),
        26: _first(config, "keep", "the weights of the {} epoch"),
        27: "one network"
        + (f", the mean of the weights of {config['members']} members" if config.get("members", 1) != 1 else ""),
        28: ", ".join(dict.fromkeys(figure.name for figure in evaluation.figures)),
        29: "95 % intervals by resampling patients (bias-corrected and accelerated bootstrap)",
        30: f"{len(evaluation.ablation)} ways of preparing the images compared, see Ablation"
        if evaluation.ablation
        else "",
        31: "heat maps of the evidence for malignancy in logit units, from the pass that makes the prediction",
        32: "" if _external(evaluation, card) else f"{evaluation.dataset}, {evaluation.split}",
        33: _FOLDER_ORIGIN
        if _is_folder(evaluation)
        else f"{evaluation.dataset}, {evaluation.split}"
        if _external(evaluation, card)
        else "",
        37: "see Figures",
        38: "see Figures; threshold and temperature were locked before",
        39: "see Most confidently wrong",
        40: "; ".join([*(caution.words for caution in evaluation.warnings), card.note]).strip("; "),
        41: RESEARCH_USE,
        42: "the configuration of the run is in the checkpoint's card" if config else "",
    }


def _data_answers(evaluation: Evaluation, card: Card) -> dict[int, str]:
    data = card.training_data
    limits = card.quality_limits
    return {
        7: f"trained on {data.dataset}: {data.images} images of {data.patients} patients; judged on "
        f"{evaluation.dataset}",
        8: "every readable image of the named part; images with quality warnings stay in",
        9: _preprocessing(card),
        10: f"split: {evaluation.split}",
        12: f"{len(evaluation.excluded)} images without a prediction are left out and listed with reasons",
        14: _FOLDER_LABELS if _is_folder(evaluation) else f"the labels of {evaluation.dataset} as published",
        35: f"{evaluation.images} images of {evaluation.patients} patients in, {len(evaluation.excluded)} left out; "
        f"warned of, not excluded: sharpness below {limits.sharpness:g}, tissue below {limits.tissue_fraction:.0%}",
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
        "the whole image" if policy.kind == "resize" else f"patches of {policy.patch_side} px every {policy.stride} px"
    )
    return f"{stain}; {squares}, scaled to {policy.input_side} px; standardised by the card's mean and deviation"


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
    kept = {
        key: value
        for key, value in card.config.items()
        if key.startswith(("phases.", "optimiser.", "loss.", "sampling."))
    }
    return "; ".join(f"{key} {value}" for key, value in kept.items())


def _first(config: dict[str, str | int | float | bool], key: str, words: str) -> str:
    return words.format(config[key]) if key in config else ""
