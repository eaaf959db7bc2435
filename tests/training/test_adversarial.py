from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from core.data.datasets import LabelledImage
from core.fitting.adversarial import DomainHead, TargetImages, domain_weight, reverse_gradients
from core.fitting.batches import TrainingBatch
from core.fitting.config import Adversarial, Phase, Sampling
from core.fitting.images import TrainingImages
from core.fitting.loop import Work, fit
from core.fitting.loss import Objective, Totals
from core.run_history import Epoch
from tests.helpers.runs.fits import CONFIG, tiny_network, weights_of

HIDING = replace(
    CONFIG, adversarial=Adversarial(1.0), phases=(Phase("head", 1, "head", 1e-3), Phase("all", 2, "all", 1e-3))
)


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Five unlabelled images of another colour."""
    folder = tmp_path_factory.mktemp("elsewhere")
    paths = tuple(folder / f"{number}.png" for number in range(5))
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((40, 40, 3), 60 + number, np.uint8))
    return paths


def test_gradients_come_back_reversed() -> None:
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    passed = reverse_gradients(values)
    (passed * torch.tensor([3.0, 5.0])).sum().backward()
    assert torch.equal(passed, values)
    assert values.grad is not None
    assert values.grad.tolist() == [-3, -5]


def test_the_head_learns_to_tell_what_its_input_learns_to_hide() -> None:
    torch.manual_seed(0)
    head = DomainHead(4)
    features = torch.cat([torch.zeros(8, 4), torch.ones(8, 4)]).requires_grad_()
    optimiser = torch.optim.SGD(head.parameters(), lr=0.3)
    for _ in range(50):
        loss = head.losses(features, 8).mean()
        optimiser.zero_grad()
        features.grad = None
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.3
    assert features.grad is not None
    # A step down the reversed gradient makes the guess worse.
    assert head.losses(features - 100 * features.grad, 8).mean().item() > loss.item()


def test_the_weight_rises_from_nothing() -> None:
    weights = [domain_weight(0.5, progress) for progress in (0, 0.1, 0.5, 1)]
    assert weights[0] == 0
    assert weights == sorted(weights)
    assert weights[-1] == pytest.approx(0.5, abs=1e-3)


def test_every_image_of_a_batch_has_a_target_image_beside_it(
    images: list[LabelledImage], targets: tuple[Path, ...]
) -> None:
    config = replace(HIDING, sampling=Sampling("shuffled"), augmentation=replace(CONFIG.augmentation, stain=0))
    drawn: Counter[bytes] = Counter()
    beside = TargetImages(targets, replace(config, augmentations="none"), None)
    for draw in TrainingImages(images, config, None).epoch(1, 1, 0):
        patches = beside.patches(draw, np.arange(len(draw)), 1, 1)
        assert patches.shape == (len(draw), 32, 32, 3)
        drawn.update(patch[0, 0].tobytes() for patch in patches)
    assert sum(drawn.values()) == len(images)
    assert len(drawn) > 1


def test_the_domain_loss_is_the_mean_over_both_kinds_of_images_and_reaches_the_branches_reversed() -> None:
    network = tiny_network(CONFIG).eval()
    domain = DomainHead(network.fusion.width)
    batch = TrainingBatch(torch.tensor([0, 1]), torch.tensor([4, 4]), images=torch.rand(4, 3, 32, 32))
    objective = Objective(network, torch.ones(2), CONFIG, domain)
    plain, both = (objective(batch, Totals(2.0, 2, 0), weight) for weight in (0.0, 0.3))
    assert batch.images is not None
    fused = network.fusion(network.pooled(network.features(batch.images)))
    told = functional.binary_cross_entropy_with_logits(
        domain.layers(fused).squeeze(1), torch.tensor([0.0, 0.0, 1.0, 1.0])
    )
    assert (both - plain).item() == pytest.approx(0.3 * told.item(), abs=1e-6)
    weight = next(network.branches.parameters())
    (hidden,) = torch.autograd.grad(both - plain, weight)
    (shown,) = torch.autograd.grad(0.3 * told, weight)
    assert torch.allclose(hidden, -shown, atol=1e-7)


def test_target_images_change_what_the_branches_learn_and_a_stopped_run_goes_on(
    images: list[LabelledImage], targets: tuple[Path, ...], tmp_path: Path
) -> None:
    plain, hiding, resumed = tiny_network(HIDING), tiny_network(HIDING), tiny_network(HIDING)
    fit(plain, images, [], replace(HIDING, adversarial=None))
    history = fit(hiding, images, [], HIDING, work=Work(targets=targets))
    assert not torch.equal(weights_of(plain), weights_of(hiding))

    class StoppedError(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        raise StoppedError

    work = Work(tmp_path, targets=targets)
    for _ in history.epochs:
        with pytest.raises(StoppedError):
            fit(resumed, images, [], HIDING, work=work, progress=stop)
    assert fit(resumed, images, [], HIDING, work=work) == history
    assert torch.equal(weights_of(resumed), weights_of(hiding))


def test_the_option_and_the_target_images_need_each_other(
    images: list[LabelledImage], targets: tuple[Path, ...]
) -> None:
    with pytest.raises(ValueError, match="need each other: set both or neither"):
        fit(tiny_network(HIDING), images, [], HIDING)
    with pytest.raises(ValueError, match="need each other: set both or neither"):
        fit(tiny_network(CONFIG), images, [], CONFIG, work=Work(targets=targets))
