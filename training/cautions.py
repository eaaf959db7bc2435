"""Says what a reviewer has to know before believing an evaluation's figures."""

from collections.abc import Callable, Sequence

from core.card import Card, TrainingData
from core.cautions import Caution, leak_caution
from core.datasets import DatasetName, LabelledImage
from core.labels import BACH
from core.leaks import Placed, audit
from training.chosen import Choice, Chosen, Part

_FITTED_HERE = (
    "threshold and temperature were fitted to these predictions: sensitivity, specificity, accuracy and calibration "
    "flatter a little; AUC does not depend on them"
)
_LOCK_UNKNOWN = "the card does not say which predictions its threshold and temperature were fitted to"
_FOLDER = "a folder of images"  # as cards of training.train name it
ALONE = "every image counts as a patient of its own: intervals come out too narrow"
_ONE_SIDE = "all images are of one malignancy: there is no AUC, and only one of sensitivity and specificity"


def cautions(
    choice: Choice, dataset: DatasetName, part: Part, cards: Callable[[int | None], Card]
) -> tuple[Caution, ...]:
    """Give every caution that the cards and the choice of images call for, the gravest first.

    `cards` gives the card of each fold's network; None is the checkpoint itself.
    """
    images = [one.image for one in choice.images]
    found = [*_trained_on(choice.images, dataset, cards), *_leaks(choice, part), *choice.warnings]
    if part in ("validation", "out-of-fold"):
        found.append(Caution("fitted here", _FITTED_HERE))
    if not cards(None).locked_on:
        found.append(Caution("lock unknown", _LOCK_UNKNOWN))
    if patients_unknown(images):
        found.append(Caution("patients unknown", ALONE))
    if len({image.malignancy for image in images}) < 2:
        found.append(Caution("one malignancy", _ONE_SIDE))
    return tuple(found)


def patients_unknown(images: Sequence[LabelledImage]) -> bool:
    """Say whether these are images of BACH whose patients nobody wrote down, so that each counts as one."""
    alone = len({image.patient_id for image in images}) == len({image.path for image in images})
    return alone and {image.dataset for image in images} == {BACH.name}


def same_dataset(named: str, dataset: str) -> bool:
    """Say whether a card's training data ("BreaKHis", or several with commas) holds this dataset."""
    return dataset.casefold() in {name.strip().casefold() for name in named.split(",")}


def may_share_patients(data: TrainingData, dataset: DatasetName, labels_of: str) -> bool:
    """Say whether a patient_id of images, loaded as a dataset with its labels, may be one of the training data."""
    return same_dataset(data.dataset, labels_of) or (dataset == "folder" and same_dataset(data.dataset, _FOLDER))


def _leaks(choice: Choice, part: Part) -> list[Caution]:
    """Name what is on the judged side of a split and on another one; pictures are compared by training.audit."""
    if part not in ("validation", "test"):
        return []  # folds may share patients on their held-out sides; what each network saw is in its card
    found = []
    for leak in audit([Placed(image, "the run's split", side) for image, side in choice.sides]).leaks:
        sides = sorted({member.side for member in leak.members})
        if part in sides:
            found.append(leak_caution(leak.kind, " and in ".join(sides), leak.key))
    return found


def _trained_on(chosen: Sequence[Chosen], dataset: DatasetName, cards: Callable[[int | None], Card]) -> list[Caution]:
    """Count the patients that the judging network was trained on.

    A patient_id means something within its own dataset only: patient 7 of another laboratory is someone else. Of a
    folder of images it is not known whose patients they are.
    """
    judged = sorted({(one.fold or 0, one.image.dataset, one.image.patient_id) for one in chosen})
    seen = set()
    for fold, name, patient in judged:
        data = cards(fold or None).training_data
        if may_share_patients(data, dataset, name) and patient in data.patient_ids:
            seen.add((name, patient))
    patients = {(name, patient) for _, name, patient in judged}
    if not seen:
        return []
    if dataset == "folder":
        words = "bear a number that was trained on: if they are the same people, these figures flatter"
    else:
        words = "were trained on: these figures flatter"
    return [Caution("trained on", f"{len(seen)} of {len(patients)} patients {words}")]
