"""The classifier: one pass for labels and maps, views that cancel out, threads that cannot mix."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from core.card import Fusion, Magnification
from core.labels import BREAKHIS, MAGNIFICATIONS
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork
from core.results import NoResultError
from tests.helpers.networks import SMALL_CARD, small_classifier, small_network
from tests.helpers.stress import amount


def _patches(count: int = 3, seed: int = 0, side: int = 160) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def test_probabilities_of_every_patch_add_up_to_one() -> None:
    probabilities = small_classifier().classify(_patches(5))
    assert probabilities.shape == (5, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_explaining_gives_the_probabilities_of_classifying() -> None:
    classifier = small_classifier()
    probabilities, evidence = classifier.explain(_patches())
    np.testing.assert_allclose(probabilities, classifier.classify(_patches()), atol=1e-6)
    assert evidence.shape == (3, 160, 160)
    assert evidence.dtype == np.float32


def test_patches_do_not_depend_on_their_neighbours_in_the_batch() -> None:
    classifier = small_classifier()
    together, maps = classifier.explain(_patches(5))
    alone, lone_map = classifier.explain(_patches(5)[4:])
    np.testing.assert_allclose(together[4:], alone, atol=1e-5)
    np.testing.assert_allclose(maps[4:], lone_map, atol=1e-4)


def test_a_turned_patch_has_the_same_probability_and_a_turned_map_under_eight_views() -> None:
    classifier = small_classifier()
    patch = _patches(1)
    turned = np.ascontiguousarray(np.rot90(patch, axes=(1, 2)))
    probability, evidence = classifier.explain(patch)
    turned_probability, turned_evidence = classifier.explain(turned)
    np.testing.assert_allclose(probability, turned_probability, atol=1e-5)
    np.testing.assert_allclose(np.rot90(evidence, axes=(1, 2)), turned_evidence, atol=1e-4)


def test_the_mean_of_the_map_plus_the_bias_is_the_log_odds() -> None:
    network = small_network()
    bias = network.head.bias.detach().numpy().copy()  # type: ignore[operator]
    classifier = Classifier(network, replace(SMALL_CARD, views="one"), "v")
    probabilities, evidence = classifier.explain(_patches())
    odds = np.log(probabilities[:, 1] / probabilities[:, 0])
    np.testing.assert_allclose(evidence.mean(axis=(1, 2)) + bias[1] - bias[0], odds, atol=1e-4)


def test_the_temperature_softens_probabilities_and_leaves_the_map_in_logits() -> None:
    sharp, evidence = small_classifier().explain(_patches())
    soft, same = small_classifier(temperature=4.0).explain(_patches())
    assert (np.abs(soft - 0.5) < np.abs(sharp - 0.5)).all()
    np.testing.assert_array_equal(evidence, same)


def test_eight_classes_are_explained_by_their_malignant_log_odds() -> None:
    probabilities, evidence = small_classifier(label_set=BREAKHIS).explain(_patches())
    assert probabilities.shape == (3, 8)
    assert np.abs(evidence).max() > 0


def test_the_map_of_the_convolutional_branch_is_that_of_pytorch_grad_cam() -> None:
    card = replace(SMALL_CARD, branches=("resnet18",), head="published", views="one")
    network = small_network(card)
    image = torch.from_numpy(_patches(1)).permute(0, 3, 1, 2).float() / 255
    standardised = (image - 0.5) / 0.25
    leaf = network.eval().features(standardised)[0].detach().requires_grad_()
    gradient = torch.autograd.grad(network.logits([leaf])[:, 1].sum(), leaf)[0]
    ours = network.evidence([leaf], [gradient])[0][0].detach().numpy()
    with GradCAM(network, [network.branches[0].net.layer4[-1]]) as peer:  # type: ignore[index,union-attr]
        theirs = peer(input_tensor=standardised, targets=[ClassifierOutputTarget(1)])[0]
    np.testing.assert_allclose(_displayed(ours, theirs.shape), theirs, atol=1e-4)


def _displayed(evidence: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Prepare a map as pytorch-grad-cam does: rectify, stretch, enlarge, stretch again."""
    import cv2  # noqa: PLC0415

    stretched = _stretch(np.maximum(evidence, 0))
    return _stretch(np.asarray(cv2.resize(stretched, shape[::-1]), dtype=np.float32))


def _stretch(values: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = values - values.min()
    stretched: NDArray[np.float32] = shifted / (1e-7 + shifted.max())
    return stretched


@pytest.mark.parametrize("fusion", ["cross_attention", "compact_bilinear"])
def test_a_fused_network_explains_what_it_classifies(fusion: Fusion) -> None:
    classifier = small_classifier(fusion=fusion, head="dense", magnification="input").at("100X")
    probabilities, evidence = classifier.explain(_patches())
    np.testing.assert_allclose(probabilities, classifier.classify(_patches()), atol=1e-6)
    assert evidence.shape == (3, 160, 160)
    assert np.isfinite(evidence).all()
    assert np.abs(evidence).max() > 0


def test_a_classifier_answers_at_the_magnification_it_is_put_to() -> None:
    classifier = small_classifier(magnification="input")
    answers = [classifier.at(word).classify(_patches()) for word in (None, *MAGNIFICATIONS)]
    for number, answer in enumerate(answers):
        assert all(np.abs(answer - other).max() > 1e-4 for other in answers[:number])
    np.testing.assert_array_equal(classifier.classify(_patches()), answers[0])
    np.testing.assert_array_equal(classifier.at("7X").classify(_patches()), answers[0])
    np.testing.assert_array_equal(classifier.at("400X").at(None).classify(_patches()), answers[0])


def test_a_changed_card_keeps_the_magnification() -> None:
    classifier = small_classifier(magnification="input").at("400X")
    same = classifier.with_card(replace(classifier.card, note="changed"))
    np.testing.assert_array_equal(same.classify(_patches()), classifier.classify(_patches()))


@pytest.mark.parametrize("magnification", ["ignored", "auxiliary"])
def test_a_network_without_magnification_as_input_answers_alike_at_every_one(magnification: Magnification) -> None:
    classifier = small_classifier(magnification=magnification)
    np.testing.assert_array_equal(classifier.at("400X").classify(_patches()), classifier.classify(_patches()))


def test_a_patch_lies_where_the_head_sees_it_whatever_its_neighbours_are() -> None:
    network = small_network()
    features = Classifier(network, SMALL_CARD, "v").embed(_patches(5))
    standardised = (torch.from_numpy(_patches(5)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    with torch.inference_mode():
        pooled = network.pooled(network.features(standardised))
    np.testing.assert_allclose(features, np.concatenate([p.numpy() for p in pooled], axis=1), atol=1e-4)
    alone = small_classifier().embed(_patches(5)[4:])
    np.testing.assert_allclose(features[4:], alone, atol=1e-4)


def test_a_patch_lies_elsewhere_upside_down_and_tokens_are_averaged() -> None:
    classifier = small_classifier(fusion="cross_attention", head="dense")
    features = classifier.embed(_patches(2))
    assert features.shape[0] == 2
    assert features.ndim == 2
    turned = classifier.embed(np.ascontiguousarray(_patches(2)[:, ::-1]))
    assert np.abs(features - turned).max() > 1e-3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_output_that_is_not_a_number_gives_no_result(bad: float) -> None:
    network = small_network()
    with torch.no_grad():
        network.head.bias[0] = bad  # type: ignore[operator]
    classifier = Classifier(network, SMALL_CARD, "v")
    with pytest.raises(NoResultError):
        classifier.classify(_patches())
    with pytest.raises(NoResultError):
        classifier.explain(_patches())


def test_the_evidence_of_the_branches_adds_up_to_that_of_the_network() -> None:
    classifier, patches = small_classifier().with_batch(16), _patches(5)
    parts = classifier.explain_by_branch(patches)
    assert [part.shape for part in parts] == [patches.shape[:3]] * 2
    np.testing.assert_allclose(sum(parts), classifier.explain(patches)[1], atol=1e-5)
    assert np.abs(parts[0] - parts[1]).max() > 1e-3


def test_no_gradient_is_left_on_the_shared_network() -> None:
    network: HybridNetwork = small_network()
    Classifier(network, SMALL_CARD, "v").explain(_patches())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())


@pytest.mark.slow
def test_eight_threads_give_what_one_gives() -> None:
    classifier = small_classifier()
    images = [_patches(2, seed) for seed in range(amount(240, 40))]
    alone = [classifier.explain(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(classifier.explain, images))
    for (p, evidence), (q, same) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(p, q)
        np.testing.assert_array_equal(evidence, same)


@pytest.mark.parametrize("evidence", [False, True])
def test_the_features_of_upright_patches_come_with_the_probabilities(evidence: bool) -> None:
    classifier = small_classifier()
    found = classifier.examine(_patches(5), evidence=evidence)
    np.testing.assert_allclose(found.features, classifier.features(_patches(5)), rtol=1e-3, atol=1e-4)
    assert found.features.shape == (5, 4, 4, 2 * sum(classifier.layer_widths))
    assert (found.evidence is not None) == evidence


@pytest.mark.parametrize("evidence", [False, True])
@pytest.mark.parametrize("fusion", ["concatenation", "cross_attention"])
def test_where_upright_patches_lie_comes_with_the_probabilities(fusion: Fusion, evidence: bool) -> None:
    classifier = small_classifier(fusion=fusion, head="dense")
    found = classifier.examine(_patches(5), evidence=evidence)
    assert found.embeddings is not None
    np.testing.assert_allclose(found.embeddings, classifier.embed(_patches(5)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["test_efficientnet", "resnet18", "mobilenetv3_small_050", "densenet121", "vgg11_bn"])
def test_early_maps_come_from_the_pass_that_gives_the_last_one(name: str) -> None:
    network = small_network(replace(SMALL_CARD, branches=(name,), head="published")).eval()
    images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (last,), places = network.features_and_places(images, 1)
        torch.testing.assert_close(last, network.features(images)[0])
    assert len(network.layer_widths) == 3
    assert places.shape == (1, 4, 4, 2 * sum(network.layer_widths))


def test_images_are_compared_by_the_layers_of_the_convolutional_branches_that_come_first() -> None:
    hybrid = small_network(replace(SMALL_CARD, branches=("test_efficientnet", "test_vit")))
    assert hybrid.reference_widths == hybrid.layer_widths[:3]
    assert len(hybrid.layer_widths) == 4
    for branches in (("test_vit", "test_efficientnet"), ("test_efficientnet",)):
        network = small_network(replace(SMALL_CARD, branches=branches))
        assert network.reference_widths == network.layer_widths


def test_a_network_without_early_maps_is_described_by_its_last_one() -> None:
    network = small_network(replace(SMALL_CARD, branches=("cnn3", "test_vit"))).eval()
    images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features, places = network.features_and_places(images, 2)
    cnn, vit = network.layer_widths
    assert len(features) == 2
    torch.testing.assert_close(places[..., :cnn].mean(dim=(1, 2)), features[0].mean(dim=(2, 3)))
    assert places.shape == (2, 4, 4, 2 * (cnn + vit))
