"""The named peers of the benchmark, written as their users would write them."""

from collections.abc import Callable

import numpy as np
import timm
import torch
import torchstain
import ttach
from numpy.typing import NDArray
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor, nn
from torchvision import transforms

from core.card import Card, Triple
from core.network.hybrid import HybridNetwork, build_published_head
from core.results import Patches, RgbImage


class PlainHybrid(nn.Module):
    """The published hybrid in its plain form: two timm networks with concatenated outputs."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        convolutional, transformer = card.branches
        self.convolutional = timm.create_model(convolutional, num_classes=0)
        self.transformer = timm.create_model(transformer, num_classes=0)
        width = int(self.convolutional.num_features) + int(self.transformer.num_features)  # type: ignore[arg-type]
        self.head = build_published_head(width, len(card.label_set.classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, images x classes."""
        logits: Tensor = self.head(torch.cat([self.convolutional(images), self.transformer(images)], dim=1))
        return logits

    def adopt(self, network: HybridNetwork) -> None:
        """Copy the weights of our network, so that both must return the same probabilities."""
        self.convolutional.load_state_dict(network.branches[0].net.state_dict())  # type: ignore[union-attr]
        self.transformer.load_state_dict(network.branches[1].net.state_dict(), strict=False)  # type: ignore[union-attr]
        self.head.load_state_dict(network.head.state_dict())


def views_then_grad_cam(
    network: PlainHybrid, card: Card, *, every_view: bool
) -> Callable[[Patches], NDArray[np.float32]]:
    """Return the peer: eight views one by one through ttach, then pytorch-grad-cam on one view or on all."""
    network.eval()
    wrapper = ttach.ClassificationTTAWrapper(
        nn.Sequential(network, nn.Softmax(dim=1)), ttach.aliases.d4_transform(), merge_mode="mean"
    )
    target = [ClassifierOutputTarget(1)]

    def analyse(patches: Patches) -> NDArray[np.float32]:
        images = standardise(patches, card)
        with torch.inference_mode():
            probabilities = wrapper(images)
        with GradCAM(network, [network.convolutional.bn2]) as cam:
            for view in ttach.aliases.d4_transform() if every_view else [None]:
                cam(input_tensor=view.augment_image(images) if view else images, targets=target * len(images))
        result: NDArray[np.float32] = probabilities.numpy()
        return result

    return analyse


class PlainResNet(nn.Module):
    """The published ResNet50 of single patches: a timm network and one linear layer."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self.net = timm.create_model("resnet50", num_classes=len(card.label_set.classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, images x classes."""
        logits: Tensor = self.net(images)
        return logits

    def adopt(self, network: HybridNetwork) -> None:
        """Copy the weights of our network, so that both must return the same probabilities."""
        branch: nn.Module = network.branches[0].net  # type: ignore[assignment]
        self.net.load_state_dict(branch.state_dict(), strict=False)
        self.net.fc.load_state_dict(network.head.state_dict())  # type: ignore[union-attr]


def patch_by_patch(network: PlainResNet, card: Card) -> Callable[[RgbImage], NDArray[np.float32]]:
    """Return the published way: whole patches from the upper left corner, one after another; edges are dropped."""
    network.eval()
    to_tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize(card.mean, card.std)])
    side = card.input_policy.patch_side

    def analyse(image: RgbImage) -> NDArray[np.float32]:
        picture, rows = Image.fromarray(image), []
        for top in range(0, picture.height - side + 1, side):
            for left in range(0, picture.width - side + 1, side):
                patch = picture.crop((left, top, left + side, top + side))
                with torch.no_grad():
                    logits = network(to_tensor(patch).unsqueeze(0))
                rows.append(torch.softmax(logits, dim=1).numpy()[0])
        return np.array(rows)

    return analyse


def standardise(patches: Patches, card: Card) -> Tensor:
    """Return patches as the network expects them, patches x 3 x side x side."""
    images = torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 255
    return (images - torch.tensor(card.mean).view(3, 1, 1)) / torch.tensor(card.std).view(3, 1, 1)


def reinhard_by_skimage(image: RgbImage, means: Triple, deviations: Triple) -> RgbImage:
    """Normalise by Reinhard with scikit-image's LAB, targets in OpenCV's 8-bit units."""
    units, offset = np.array([2.55, 1, 1]), np.array([0, 128, 128])
    lab = rgb2lab(image)
    scaled = (lab - lab.mean(axis=(0, 1))) / lab.std(axis=(0, 1)) * (np.array(deviations) / units)
    rgb = lab2rgb(scaled + (np.array(means) - offset) / units)
    return np.asarray(np.rint(rgb * 255), dtype=np.uint8)


def macenko_by_torchstain() -> Callable[[RgbImage], RgbImage]:
    """Return torchstain's Macenko on its NumPy backend, with its own reference stains."""
    normalizer = torchstain.normalizers.MacenkoNormalizer(backend="numpy")

    def transform(image: RgbImage) -> RgbImage:
        normalised, _, _ = normalizer.normalize(I=image, stains=False)
        return np.asarray(normalised, dtype=np.uint8)

    return transform
