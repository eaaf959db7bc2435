"""Reports tissue apart that the training set has none of: normal and in-situ images of BACH."""

from dataclasses import replace

import numpy as np

from core.card import Card
from core.evaluation import Evaluation
from core.judging import About, build_evaluation
from core.labels import BACH, BREAKHIS
from core.measures.figures import ACCURACY, AUC, BALANCED_ACCURACY, PR_AUC, RECALL, SPECIFICITY
from core.metrics import Judgements
from training.cautions import same_dataset

WITHOUT = "without normal and in situ"
# BreaKHis holds benign tumours and invasive carcinomas only (Spanhol et al., IEEE TBME 2016).
_UNKNOWN_TO_BREAKHIS = ("normal", "in_situ")
_FIGURES = (ACCURACY, BALANCED_ACCURACY, AUC, PR_AUC, RECALL, SPECIFICITY)


def with_known_tissue_apart(evaluation: Evaluation, judgements: Judgements, about: About, card: Card) -> Evaluation:
    """Add the main figures of the images without normal and in-situ tissue, for a network that never saw any.

    The groups by subtype tell how these two fared; here it is seen how much of a drop they make.
    """
    if not same_dataset(card.training_data.dataset, BREAKHIS.name) or card.label_set == BACH:
        return evaluation
    known = ~np.isin(judgements.subtypes, _UNKNOWN_TO_BREAKHIS)
    if known.all() or not known.any():
        return evaluation
    apart = build_evaluation(judgements.only(known), about)
    added = [replace(f, name=f"{f.name}, {WITHOUT}") for f in apart.figures if f.name in _FIGURES]
    return replace(evaluation, figures=(*evaluation.figures, *added))
