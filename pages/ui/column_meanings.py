"""What the columns of exported tables mean: the data dictionary that comes with every workbook."""

from core.reading.scope_words import SHOWN_SCOPES
from db.values.audit import EVENT_COLUMNS

_CASE = {
    "case": "case number",
    "magnification": "magnification of the case, as entered at upload",
    "demonstration": "TRUE for a generated demo case",
}
_OPINION = {
    "stage": "first: before the reveal; final: after the reveal; withdrawn: withdraws the preceding final read",
    "label": "benign, malignant or cannot assess; in an evaluation the label of the image in the dataset",
    "confidence": "from 1 (a guess) to 5 (certain); empty for cannot assess",
    "subtype": "subtype named by the reader; may be empty",
    "reason": "code of the reason why a final read differs from the model",
    "map_useful": "the reader's rating of the heat map",
    "note": "the reader's note",
    "model_visible": "TRUE if the model's opinion was shown",
    "model_scope": SHOWN_SCOPES,
    "opened_at": "time at which the form was opened, in UTC",
    "saved_at": "time at which the read was saved, in UTC",
    "read": "number of the read",
    "replaces": "number of the earlier read that this one replaces or withdraws",
}
_READING = {
    "reader": "name or number of the reader",
    "iteration": "2 if the reader reads the case for the second time",
    "first_label": "label before the reveal",
    "first_confidence": "confidence before the reveal, 1 to 5",
    "first_seconds": "seconds from opening the form to saving the first read",
    "final_label": "label after the reveal",
    "final_confidence": "confidence after the reveal, 1 to 5",
    "final_seconds": "seconds from opening the form to saving the final read",
    "standing_label": "label that counts now, after amendments",
    "standing_confidence": "confidence that counts now, 1 to 5",
    "model_label": "label of the model that was shown; no opinion if the images were unlike its training images",
    "model": "first twelve digits of the sha256 of the checkpoint that was shown",
    "reference_label": "label that is taken as correct; empty if not settled",
}
_FIGURES = {
    "of": "images that the figure is about: all of them, or the kind of the group",
    "name": "name of the group; empty for all images. Of agreement: the pair that is compared",
    "view": "view of the Agreement page",
    "figure": "name of the figure",
    "unit": "what is counted or measured: images, patients, or the unit of a statistic",
    "n": "number of units that the figure is measured on",
    "hits": "number of units that count for the figure",
    "value": "value of the figure",
    "low": "lower end of the 95% interval",
    "high": "upper end of the 95% interval",
}
_PREDICTIONS = {
    "file": "name of the image file in the dataset",
    "patient_id": "number of the patient",
    "predicted": "class with the highest probability",
    "malignant": "TRUE if the label is malignant",
    "called_malignant": "TRUE if the probability of malignancy reaches the threshold",
    "malignant_probability": "probability of malignancy, 0 to 1",
    "notes": "how the image file was read, if anything was left out or changed",
}
_STATISTICS = {
    "source": "name of the source set",
    "target": "name of the target set",
    "statistic": "property of the images that is compared",
    "source_median": "median in the source set",
    "target_median": "median in the target set",
    "difference_in_sd": "difference in standard deviations between patients of the source set",
    "p": "probability of such a difference by chance, from permutations",
}
_TRAINING = {
    "part": "part of the run: a fold, or the whole",
    "epoch": "number of the epoch, from 1",
    "phase": "phase of the training",
    "learning_rate": "learning rate of the epoch",
    "loss": "mean training loss",
    "validation_loss": "mean loss on the validation images",
    "validation_auc": "AUC on the validation images",
    "seconds": "duration of the epoch in seconds",
}
_MEANINGS = _CASE | _OPINION | _READING | _FIGURES | _PREDICTIONS | _STATISTICS | _TRAINING | dict(EVENT_COLUMNS)
_PROBABILITY = "p_"  # beginning of the columns with the probabilities of classes


def explain_column(name: str) -> str:
    """Return what a column of an exported table means."""
    if name not in _MEANINGS and name.startswith(_PROBABILITY):
        return f"probability of the class {name.removeprefix(_PROBABILITY)}, 0 to 1"
    return _MEANINGS[name]
