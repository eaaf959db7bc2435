"""A network ready for inference: standardise, classify and explain patches, all views in one batch.

Batch normalisation is folded into the convolution before it: the same outputs with fewer passes over memory.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from timm.layers.norm_act import BatchNormAct2d
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet
from timm.models.vgg import VGG
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from core.card import Card
from core.computing import Backend, Computing, WantedComputing
from core.imaging.stain import make_stain_normaliser
from core.labels import magnification_index
from core.network.backends import backend_of_card
from core.network.branches import PlainCnn
from core.network.computer import Computer
from core.network.hybrid import HybridNetwork
from core.network.views import apply_view, get_views, undo_view
from core.precision import CheckedWay
from core.results import (
    Evidence,
    NoResultError,
    PatchEmbeddings,
    Patches,
    PatchFeatures,
    PatchFindings,
    Probabilities,
    RgbImage,
)
from core.scope.reference import TrainingReference

# In these families every normalisation is defined right after the convolution whose output it normalises. A DenseNet,
# in contrast, normalises concatenated features before it convolves them.
_FOLDABLE = (EfficientNet, MobileNetV3, ResNet, VGG, PlainCnn)


def fold_batch_norms(network: HybridNetwork) -> HybridNetwork:
    """Fold, in place, each normalisation of the known families into the convolution before it; return the network."""
    for branch in network.branches:
        if isinstance(branch.net, _FOLDABLE):
            for module in branch.net.modules():
                _fold_children(module)
    return network


def _fold_children(module: nn.Module) -> None:
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in list(module.named_children()):
        if before is not None and isinstance(child, nn.BatchNorm2d):
            setattr(module, before[0], fuse_conv_bn_eval(before[1], child))
            setattr(module, name, _without_normalisation(child))
        before = (name, child) if isinstance(child, nn.Conv2d) else None


def _without_normalisation(norm: nn.BatchNorm2d) -> nn.Module:
    return nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()


class Classifier:
    """A network with its card; safe to share between threads, because it never changes.

    Only where a GPU runs out of memory its computer changes, which classifiers of the same network share; then only one
    thread may use it.
    """

    def __init__(
        self,
        network: HybridNetwork,
        card: Card,
        version: str,
        device: str = "cpu",
        *,
        scope: TrainingReference | None = None,
    ) -> None:
        self.scope = scope
        self.version = version
        self._magnification: str | None = None
        self._batch_views: int | None = None  # as many as the computer takes
        folded, place = fold_batch_norms(network.eval().requires_grad_(False)), torch.device(device)
        self._computer = Computer(folded, backend_of_card(card, place), card.input_policy.input_side, place)
        self._use(card)

    def _use(self, card: Card) -> None:
        """Take over a card; only for a classifier that nobody has yet."""
        self.card = card
        self._views = get_views(card.views)
        self._normalise = make_stain_normaliser(card.stain)
        self._mean = torch.tensor(card.mean).view(3, 1, 1)
        self._std = torch.tensor(card.std).view(3, 1, 1)

    @property
    def computing(self) -> Computing:
        """How the network computes at the moment."""
        return self._computer.state

    def tell_changes(self, tell: Callable[[Computing], None]) -> None:
        """Call this whenever a lack of memory changes how the network computes."""
        self._computer.tell_changes(tell)

    def note_shortage(self, words: str) -> None:
        """Remember in words that memory did not suffice while the network was loaded."""
        self._computer.note_shortage(words)

    def choose_backend(self, wanted: WantedComputing, checkpoint_sha256: str) -> None:
        """Compute as configured if that was checked for this checkpoint on this machine; else exactly.

        Only for a classifier that nobody has yet.
        """
        self._computer.choose(wanted, checkpoint_sha256, backend_of_card(self.card, self._computer.device))

    def way(self, checkpoint_sha256: str) -> CheckedWay:
        """Return the way in which the network computes, as it is checked for its checkpoint."""
        return self._computer.way(checkpoint_sha256)

    def computed_by(self, backend: Backend) -> "Classifier":
        """Return a classifier with the same network that computes in another way, whether that was checked or not.

        Raises:
            UnusableBackendError: If this machine cannot.
        """
        other = copy(self)
        other._computer = self._computer.computed_by(backend)
        return other

    def with_card(self, card: Card) -> "Classifier":
        """Return a classifier with the same network and another card."""
        other = copy(self)
        other._use(card)
        return other

    def at(self, magnification: str | None) -> "Classifier":
        """Return a classifier with the same network for images of one magnification; None means unknown.

        It matters only if the network takes the magnification as input; any word outside MAGNIFICATIONS is unknown.
        """
        other = copy(self)
        other._magnification = magnification
        return other

    def with_scope(self, scope: TrainingReference | None) -> "Classifier":
        """Return a classifier with the same network that judges the scope of images by this reference, or not."""
        other = copy(self)
        other.scope = scope
        return other

    def with_batch(self, views: int) -> "Classifier":
        """Return a classifier with the same network through which so many views of patches go at once."""
        if views < 1:
            raise ValueError(f"a batch has one view or more, not {views}")
        other = copy(self)
        other._batch_views = views
        return other

    def normalise(self, image: RgbImage) -> RgbImage:
        """Normalise the colours of an image to the card's target, if it has one."""
        return self._normalise(image)

    def classify(self, patches: Patches) -> Probabilities:
        """Return patches x classes: softmax at the card's temperature, averaged over the views.

        Raises:
            NoResultError: If an output is not a finite number.
        """
        return self.examine(patches, evidence=False).probabilities

    def explain(self, patches: Patches) -> tuple[Probabilities, Evidence]:
        """Return the probabilities and the evidence of `examine`.

        Raises:
            NoResultError: If an output is not a finite number.
            ValueError: If there are no patches.
        """
        found = self.examine(patches, evidence=True)
        if found.evidence is None:
            raise ValueError("there are no patches to explain")
        return found.probabilities, found.evidence

    def examine(self, patches: Patches, *, evidence: bool) -> PatchFindings:
        """Return the probabilities and, from the same forward pass, features and evidence (patches x side x side).

        The features are those of the upright patches. The evidence is for the malignant log-odds, before the
        temperature; on two classes that is the difference of the logits.

        Raises:
            NoResultError: If an output is not a finite number.
        """
        parts, done = [], 0
        while done < len(patches):
            chunk = patches[done : done + self.batch]
            try:
                parts.append(self._explain(chunk) if evidence else self._classify(chunk))
            except torch.cuda.OutOfMemoryError:
                if not self._computer.make_room(len(chunk) * len(self._views), len(self._views)):
                    raise
                continue
            done += len(chunk)
        return PatchFindings.join(parts)

    def explain_by_branch(self, patches: Patches) -> tuple[Evidence, ...]:
        """Return the evidence of each branch, patches x side x side; their sum is that of `examine`.

        Raises:
            NoResultError: If an output is not a finite number.
        """
        chunks = [self._explain_parts(chunk)[1] for chunk in self._chunks(patches)]
        return tuple(_to_array(torch.cat(parts)) for parts in zip(*chunks, strict=True))

    def embed(self, patches: Patches) -> PatchEmbeddings:
        """Return the features that the head sees of every upright patch: patches x channels."""
        return np.concatenate([self._embed(chunk) for chunk in self._chunks(patches)])

    def features(self, patches: Patches) -> PatchFeatures:
        """Return the features of `examine`, of the upright patches alone."""
        return np.concatenate([self._features(chunk) for chunk in self._chunks(patches)])

    @property
    def layer_widths(self) -> tuple[int, ...]:
        """The channels of each layer that the features describe."""
        widths: tuple[int, ...] = self._computer.network.layer_widths
        return widths

    @property
    def reference_widths(self) -> tuple[int, ...]:
        """The channels of the first layers, by which images are compared with the training images."""
        widths: tuple[int, ...] = self._computer.network.reference_widths
        return widths

    @property
    def batch(self) -> int:
        """How many patches, all their views together, go through the network at once."""
        return max(1, self._computer.views_at_once(self._batch_views) // len(self._views))

    def _chunks(self, patches: Patches) -> Iterator[Patches]:
        for start in range(0, len(patches), self.batch):
            yield patches[start : start + self.batch]

    def _standardised(self, patches: Patches) -> Tensor:
        device = self._computer.device
        images = torch.from_numpy(patches).to(device).permute(0, 3, 1, 2).float() / 255
        return (images - self._mean.to(device)) / self._std.to(device)

    def _all_views(self, patches: Patches) -> Tensor:
        """Stack the views of the standardised patches, view-major: views * patches x 3 x side x side."""
        standardised = self._standardised(patches)
        return torch.cat([apply_view(view, standardised) for view in self._views])

    def _magnifications(self, images: int) -> Tensor:
        return torch.full((images,), magnification_index(self._magnification), device=self._computer.device)

    def _features(self, patches: Patches) -> PatchFeatures:
        with torch.inference_mode(), self._computer.autocast():
            return _to_array(self._computer.features_and_places(self._standardised(patches), len(patches))[1])

    def _embed(self, patches: Patches) -> PatchEmbeddings:
        with torch.inference_mode():
            batch = self._standardised(patches).contiguous(memory_format=torch.channels_last)
            network = self._computer.network
            return _join_pooled(network.pooled(network.features(batch)), len(batch))

    def _classify(self, patches: Patches) -> PatchFindings:
        computer = self._computer
        with torch.inference_mode(), computer.autocast():
            # The first view is upright in every set of views: see core.network.views.
            features, places = computer.features_and_places(self._all_views(patches), len(patches))
            pooled = computer.network.pooled(features)
            logits = computer.network.logits_of(pooled, self._magnifications(len(features[0])))
            return PatchFindings(
                self._probabilities(logits.float(), len(patches)),
                _to_array(places),
                embeddings=_join_pooled(pooled, len(patches)),
            )

    def _explain(self, patches: Patches) -> PatchFindings:
        found, parts = self._explain_parts(patches)
        return replace(found, evidence=_to_array(torch.stack(parts).sum(dim=0)))

    def _explain_parts(self, patches: Patches) -> tuple[PatchFindings, list[Tensor]]:
        """Return what is found of the patches without their evidence, and the evidence of each branch."""
        computer = self._computer
        with torch.no_grad(), computer.autocast():
            last, places = computer.features_and_places(self._all_views(patches), len(patches))
            features = [f.detach().requires_grad_() for f in last]
        with torch.enable_grad(), computer.autocast():
            pooled = computer.network.pooled(features)
            logits = computer.network.logits_of(pooled, self._magnifications(len(features[0]))).float()
            # Gradients of these leaves only: nothing accumulates on the shared network, so threads cannot interfere.
            gradients = torch.autograd.grad(_malignant_log_odds(logits, self.card).sum(), features)
        with torch.no_grad():
            maps = computer.network.evidence(features, gradients)
            parts = [self._upright(part, patches.shape[1]) for part in maps]
            found = PatchFindings(
                self._probabilities(logits.detach(), len(patches)),
                _to_array(places),
                embeddings=_join_pooled(pooled, len(patches)),
            )
            return found, parts

    def _upright(self, maps: Tensor, side: int) -> Tensor:
        """Undo the views, average them, and enlarge to the patch; the mean over positions is preserved."""
        per_view = maps.unflatten(0, (len(self._views), -1))
        upright = torch.stack([undo_view(view, m) for view, m in zip(self._views, per_view, strict=True)]).mean(dim=0)
        return functional.interpolate(upright.unsqueeze(1), size=(side, side), mode="bilinear").squeeze(1)

    def _probabilities(self, logits: Tensor, patches: int) -> Probabilities:
        if not torch.isfinite(logits).all():
            raise NoResultError("the network's output is not a finite number")
        softmax = torch.softmax(logits / self.card.temperature, dim=1)
        return _to_array(softmax.unflatten(0, (len(self._views), patches)).mean(dim=0))


def _join_pooled(pooled: Sequence[Tensor], patches: int) -> PatchEmbeddings:
    """Return the branches' pooled features of the first images side by side; tokens are averaged."""
    first = [part[:patches].detach().float() for part in pooled]
    return _to_array(torch.cat([p.mean(dim=1) if p.ndim == 3 else p for p in first], dim=1))


def _to_array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.cpu().numpy()
    return array


def _malignant_log_odds(logits: Tensor, card: Card) -> Tensor:
    malignant = list(card.label_set.malignant_indices)
    benign = [i for i in range(logits.shape[1]) if i not in malignant]
    return logits[:, malignant].logsumexp(dim=1) - logits[:, benign].logsumexp(dim=1)
