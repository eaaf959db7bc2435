"""What is fitted to frozen features: a linear probe, nearest neighbours, and a small attention pooling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from torch import Tensor, nn

from core.statistics.weights import weigh_patients
from training.probes.features import EmbeddedImages, Features, Tokens

ProbeName = Literal["linear", "nearest neighbours", "attention pooling"]
Probabilities = NDArray[np.float64]  # of malignant

_SHRINKAGE = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of scikit-learn: smaller shrinks more
_UNCHOSEN = 1e-3  # with too few patients to choose
_INNER_FOLDS = 3
_NEIGHBOURS = 20
_COMPONENTS = 64  # principal components of the tokens: few patients cannot teach a thousand weights
_HIDDEN = 32  # units of the attention
_STEPS, _RATE, _DECAY, _DROPOUT = 150, 1e-2, 0.05, 0.25


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """A logistic regression: the malignant log-odds of a vector are `weights` times it, plus `bias`."""

    weights: Features
    bias: float
    shrinkage: float


def fit_linear(train: EmbeddedImages, seed: int = 0) -> LinearProbe:
    """Fit a logistic regression whose shrinkage is chosen by folds of patients; every patient weighs the same."""
    steps = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=5000))
    malignant, patients = train.malignant, train.patient_ids
    folds = min(_INNER_FOLDS, *(len(np.unique(patients[malignant == truth])) for truth in (False, True)))
    grid = _SHRINKAGE if folds > 1 else (_UNCHOSEN,)
    splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed) if folds > 1 else [_whole(train)]
    search = GridSearchCV(steps, {"logisticregression__C": grid}, scoring="neg_log_loss", cv=splits)
    weights = weigh_patients(patients)
    search.fit(train.features, malignant, groups=patients, logisticregression__sample_weight=weights)
    best: Pipeline = search.best_estimator_
    scaler, regression = best[0], best[1]
    # One layer over the vectors as they are: the scaling goes into its weights.
    scaled = regression.coef_[0] / scaler.scale_
    bias = float(regression.intercept_[0] - scaled @ scaler.mean_)
    return LinearProbe(scaled, bias, float(search.best_params_["logisticregression__C"]))


def judge_linear(train: EmbeddedImages, held_out: EmbeddedImages, seed: int = 0) -> Probabilities:
    """Return what a linear probe says of images of other patients."""
    probe = fit_linear(train, seed)
    return np.asarray(1 / (1 + np.exp(-(held_out.features @ probe.weights + probe.bias))))


def judge_neighbours(train: EmbeddedImages, held_out: EmbeddedImages, seed: int = 0) -> Probabilities:
    """Return the share of malignant images among the nearest ones by cosine, nearer ones weighing more."""
    del seed  # nothing is drawn
    nearest = KNeighborsClassifier(min(_NEIGHBOURS, len(train.images)), weights="distance", metric="cosine")
    steps = make_pipeline(StandardScaler(), Normalizer(), nearest).fit(train.features, train.malignant)
    return np.asarray(steps.predict_proba(held_out.features)[:, 1], np.float64)


def judge_attention(train: EmbeddedImages, held_out: EmbeddedImages, seed: int = 0) -> Probabilities:
    """Return what gated attention says, over the whitened principal components of the tokens of an image.

    Source: Ilse et al., "Attention-based Deep Multiple Instance Learning", ICML 2018.
    """
    everything = np.concatenate(train.tokens).astype(np.float32)
    components = PCA(min(_COMPONENTS, *everything.shape), whiten=True, svd_solver="randomized", random_state=seed)
    components.fit(everything)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _AttentionPooling(components.n_components_)
        bags, mask = _stack(train.tokens, components)
        malignant = torch.tensor(train.malignant, dtype=torch.float32)
        share = float(malignant.mean())
        weights = torch.tensor(weigh_patients(train.patient_ids), dtype=torch.float32)
        weights = weights * torch.where(malignant > 0, 0.5 / share, 0.5 / (1 - share))
        optimiser = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
        for _ in range(_STEPS):
            loss = nn.functional.binary_cross_entropy_with_logits(network(bags, mask), malignant, weights)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.inference_mode():
        logits: Tensor = network.eval()(*_stack(held_out.tokens, components))
    return np.asarray(torch.sigmoid(logits).double().numpy())


JUDGES: dict[ProbeName, Callable[[EmbeddedImages, EmbeddedImages, int], Probabilities]] = {
    "linear": judge_linear,
    "nearest neighbours": judge_neighbours,
    "attention pooling": judge_attention,
}


class _AttentionPooling(nn.Module):
    """Gated attention over the tokens of an image, and one layer over their weighted mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.drop = nn.Dropout(_DROPOUT)
        self.content, self.gate = nn.Linear(width, _HIDDEN), nn.Linear(width, _HIDDEN)
        self.score, self.head = nn.Linear(_HIDDEN, 1), nn.Linear(width, 1)

    def forward(self, bags: Tensor, mask: Tensor) -> Tensor:
        """Return the malignant log-odds of each image, from images x tokens x channels."""
        dropped = self.drop(bags)
        scores = self.score(torch.tanh(self.content(dropped)) * torch.sigmoid(self.gate(dropped))).squeeze(2)
        attention = scores.masked_fill(~mask, -torch.inf).softmax(dim=1)
        logits: Tensor = self.head((attention.unsqueeze(2) * dropped).sum(dim=1)).squeeze(1)
        return logits


def _stack(tokens: Sequence[Tokens], components: PCA) -> tuple[Tensor, Tensor]:
    """Return the components of tokens, images x the largest number x components, and which of them are there."""
    most = max(len(one) for one in tokens)
    bags = torch.zeros(len(tokens), most, components.n_components_)
    mask = torch.zeros(len(tokens), most, dtype=torch.bool)
    for place, one in enumerate(tokens):
        bags[place, : len(one)] = torch.from_numpy(components.transform(one.astype(np.float32)).astype(np.float32))
        mask[place, : len(one)] = True
    return bags, mask


def _whole(train: EmbeddedImages) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = np.arange(len(train.images))
    return rows, rows
