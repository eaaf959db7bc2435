"""Names of the metrics of an evaluation, in display order."""

from typing import Final

# Benign against malignant; malignant is the positive class.
ACCURACY: Final = "accuracy"
BALANCED_ACCURACY: Final = "balanced accuracy"
AUC: Final = "AUC"
PR_AUC: Final = "PR-AUC"  # average precision
PRECISION: Final = "precision"
RECALL: Final = "recall"  # sensitivity
SPECIFICITY: Final = "specificity"
F1: Final = "F1"
MCC: Final = "MCC"
KAPPA: Final = "Cohen's kappa"
BRIER: Final = "Brier score"
ECE: Final = "expected calibration error"
LOG_LOSS: Final = "log loss"
PATIENT_RECOGNITION_RATE: Final = "patient recognition rate"  # Spanhol et al., IEEE TBME 2016
BINARY_FIGURES: Final = (
    ACCURACY,
    BALANCED_ACCURACY,
    AUC,
    PR_AUC,
    PRECISION,
    RECALL,
    SPECIFICITY,
    F1,
    MCC,
    KAPPA,
    BRIER,
    ECE,
    LOG_LOSS,
    PATIENT_RECOGNITION_RATE,
)
THRESHOLD_RATES: Final = (RECALL, SPECIFICITY, PRECISION, ACCURACY)  # what a threshold changes

# More than two classes. A macro average is taken over the classes that occur in the truth.
CLASS_ACCURACY: Final = "class accuracy"
MACRO_RECALL: Final = "macro recall"  # balanced accuracy of the classes
MACRO_PRECISION: Final = "macro precision"
MACRO_F1: Final = "macro F1"
MICRO_F1: Final = "micro F1"  # with one class per image equal to class accuracy
MACRO_AUC: Final = "macro AUC"  # each class against the rest
MACRO_PR_AUC: Final = "macro PR-AUC"
CLASS_MCC: Final = "class MCC"
CLASS_KAPPA: Final = "class kappa"
CLASS_BRIER: Final = "class Brier score"  # summed over classes, 0..2
CLASS_ECE: Final = "class calibration error"  # of the probability of the called class
CLASS_LOG_LOSS: Final = "class log loss"
CLASS_RECOGNITION_RATE: Final = "class patient recognition rate"

# The images of one patient or one subtype.
MALIGNANT_PROBABILITY: Final = "mean malignant probability"


def of_class(figure: str, label: str) -> str:
    """Return the name of a metric (precision, recall, specificity or F1) of one class against the rest."""
    return f"{figure} of {label}"
