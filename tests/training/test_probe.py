"""`python -m training.probe`: encoders in every published shape, probes by patient, and the checkpoint of one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from timm.layers.mlp import SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from core.card import Card, InputPolicy, UnusableCheckpointError, read_card
from core.data.datasets import LabelledImage
from core.encoder import Encoder
from core.labels import BINARY
from core.network.branches import MissingWeightsError, TransformerBranch
from core.network.checkpoint import load_classifier, save_checkpoint
from core.network.encoder_weights import load_encoder
from core.network.hybrid import HybridNetwork
from core.pipeline import analyse
from core.statistics.weights import weigh_patients
from tests.helpers.images.tissue import tissue_folder
from training.probe import ProbeRequest, probe, run, write_checkpoint
from training.probes import fits
from training.probes.encoders import CONFIGS, EncoderConfig, build_network, find_encoder, read_hub_config
from training.probes.features import EmbeddedImages, embed_images
from training.probes.fits import JUDGES, fit_linear

TINY = "test_vit"  # 64 wide, six blocks, patches of 16 px
SIDE = 32
ALL_CONFIGS = sorted(CONFIGS.glob("*.toml"))

Weights = dict[str, Tensor]


def shapes() -> dict[str, Encoder]:
    """Give every shape of the published encoders, as small as it can be."""
    return {path.stem: _shrink(path.stem, EncoderConfig.from_toml(path).encoder or Encoder()) for path in ALL_CONFIGS}


def _shrink(name: str, encoder: Encoder) -> Encoder:
    small = replace(encoder, patch_size=8, embed_dim=None, depth=2, num_heads=2)
    # The giants of DINOv2 have SwiGLU and registers of their own, which the tiny network has to be told. The halves of
    # SwiGLU need an even width, which the published ratios do not give of 64.
    if name == "h_optimus_0":
        return replace(small, swiglu=True, mlp_ratio=4.0, reg_tokens=4, no_embed_class=True)
    return replace(small, swiglu=True, mlp_ratio=4.0) if encoder.swiglu or name == "midnight_12k" else small


def tiny_config(encoder: Encoder) -> EncoderConfig:
    return EncoderConfig("tiny", TINY, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), SIDE, encoder=encoder)


def timm_network(options: Mapping[str, object]) -> VisionTransformer:
    net = timm.create_model(TINY, num_classes=0, **options).eval()  # type: ignore[arg-type]
    assert isinstance(net, VisionTransformer)
    return net


def own_network(encoder: Encoder, seed: int = 0) -> VisionTransformer:
    """Build the encoder as its authors' page says: by timm alone."""
    torch.manual_seed(seed)
    extra = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU} if encoder.swiglu else {}
    net = timm_network({"img_size": SIDE, **encoder.timm_arguments(), **extra})
    for weight in net.parameters():  # the layer scales too: at 1e-5 no block would show
        nn.init.normal_(weight, std=0.3)
    return net


def published_vector(net: VisionTransformer, encoder: Encoder, images: Tensor) -> Tensor:
    """Return the vector as the authors' pages compute it."""
    tokens = net.forward_features(images)
    patches = tokens[:, net.num_prefix_tokens :].mean(dim=1)
    return {"class": tokens[:, 0], "mean": patches, "class_mean": torch.cat([tokens[:, 0], patches], 1)}[
        encoder.pooling
    ]


@pytest.mark.parametrize("name", sorted(shapes()))
def test_every_published_shape_gives_the_vector_of_its_authors(name: str, tmp_path: Path) -> None:
    encoder = shapes()[name]
    own = own_network(encoder)
    save_file(own.state_dict(), tmp_path / "weights.safetensors")
    network = build_network(tiny_config(encoder), tmp_path / "weights.safetensors")
    images = torch.randn(2, 3, SIDE, SIDE)
    with torch.inference_mode():
        (vector,) = network.pooled(network.features(images))
        assert torch.allclose(vector, published_vector(own, encoder, images), atol=1e-5)


@pytest.mark.parametrize("name", sorted(shapes()))
def test_every_published_shape_is_a_checkpoint_that_explains_itself(name: str, tmp_path: Path) -> None:
    encoder = shapes()[name]
    config = tiny_config(encoder)
    network = build_network(config, random=True)
    policy = InputPolicy("patches", SIDE, 48, 48)
    card = Card("tiny", BINARY, (TINY,), config.head, policy, config.mean, config.std, encoder=encoder)
    save_checkpoint(tmp_path / "tiny.safetensors", network, card)
    classifier = load_classifier(tmp_path / "tiny.safetensors")
    assert classifier.card.encoder == encoder
    (image, *_) = tissue_folder(tmp_path / "tissue", 1, 1)
    found = analyse(image.path.read_bytes(), classifier)
    assert found.prediction is not None
    assert found.heatmap is not None
    assert np.ptp(found.heatmap) > 0


def in_transformers_names(net: VisionTransformer, *, swiglu: bool) -> Weights:
    """Name the weights as Dinov2Model of transformers does."""
    renamed: Weights = {"embeddings.mask_token": torch.zeros(1, 64)}
    for name, tensor in net.state_dict().items():
        block, _, rest = name.removeprefix("blocks.").partition(".")
        layer = f"encoder.layer.{block}."
        if rest.startswith("attn.qkv."):
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                renamed[f"{layer}attention.attention.{part}.{rest.removeprefix('attn.qkv.')}"] = third
        elif name.startswith("blocks."):
            rest = rest.replace("attn.proj", "attention.output.dense")
            rest = rest.replace("ls1.gamma", "layer_scale1.lambda1").replace("ls2.gamma", "layer_scale2.lambda1")
            if swiglu:
                rest = rest.replace("mlp.fc1", "mlp.weights_in").replace("mlp.fc2", "mlp.weights_out")
            renamed[layer + rest] = tensor
        else:
            own = {"cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings"}
            plain = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
            renamed[own.get(name, plain.replace("norm.", "layernorm."))] = tensor
    return renamed


@pytest.mark.parametrize("swiglu", [False, True])
def test_weights_named_as_in_transformers_are_the_same_network(swiglu: bool) -> None:
    encoder = Encoder(depth=2, patch_size=8, init_values=1e-5, swiglu=swiglu)
    own, other = own_network(encoder), own_network(encoder, seed=1)
    load_encoder(other, in_transformers_names(own, swiglu=swiglu))
    images = torch.randn(1, 3, SIDE, SIDE)
    assert torch.allclose(own(images), other(images), atol=1e-6)


def without_norm(weights: Weights) -> None:
    del weights["norm.weight"]


def with_more(weights: Weights) -> None:
    weights["blocks.0.attn.extra"] = torch.zeros(1)


def with_registers(weights: Weights) -> None:
    weights["pos_embed"] = torch.zeros(1, 21, 64)


def of_another_width(weights: Weights) -> None:
    weights["norm.weight"] = torch.zeros(32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_norm, "the weights lack norm.weight"),
        (with_more, "the weights have blocks.0.attn.extra"),
        (with_registers, "pos_embed has 21 places, which are not 1 and a square grid: check reg_tokens"),
        (of_another_width, r"norm.weight does not fit: \(32,\) in the file, \(64,\) in the network"),
    ],
)
def test_weights_of_another_architecture_are_refused(change: Callable[[Weights], None], words: str) -> None:
    net = own_network(Encoder(depth=2, patch_size=8))
    weights = net.state_dict()
    change(weights)
    with pytest.raises(ValueError, match=words):
        load_encoder(net, weights)


def test_a_larger_grid_of_positions_is_adapted() -> None:
    encoder = Encoder(depth=2, patch_size=8)
    large = timm_network({"img_size": 2 * SIDE, **encoder.timm_arguments()})
    net = own_network(encoder)
    load_encoder(net, large.state_dict())
    assert net.pos_embed is not None
    assert net.pos_embed.shape[1] == 17


@pytest.mark.parametrize("path", ALL_CONFIGS, ids=lambda path: str(path.stem))
def test_every_encoder_that_is_listed_is_a_network_that_timm_can_build(path: Path) -> None:
    config = find_encoder(path.stem)
    assert config.name == path.stem
    assert "Never run here" in path.read_text()
    assert config.licence
    with torch.device("meta"):
        network = HybridNetwork(
            (config.architecture,), config.head, 2, input_side=config.input_side, encoder=config.encoder
        )
        assert config.encoder is not None
        branch = network.branches[0]
        assert isinstance(branch, TransformerBranch)
        both = 2 if config.encoder.pooling == "class_mean" else 1
        assert network.head.in_features == branch.width == both * branch.net.num_features
    card = Card("c", BINARY, (config.architecture,), config.head, InputPolicy("resize"), config.mean, config.std)
    assert Card.from_json(replace(card, encoder=config.encoder).to_json()).encoder == config.encoder


def test_the_number_of_weights_of_the_largest_is_that_of_its_page() -> None:
    config = find_encoder("uni2_h")
    with torch.device("meta"):
        network = HybridNetwork((config.architecture,), "linear", 2, input_side=224, encoder=config.encoder)
    assert sum(weight.numel() for weight in network.branches.parameters()) == pytest.approx(681e6, rel=0.01)


@pytest.mark.parametrize(("key", "value"), [("depth", 500), ("embed_dim", 100_000), ("reg_tokens", -1)])
def test_a_card_cannot_ask_for_a_network_that_fills_the_memory(key: str, value: int) -> None:
    card = Card("c", BINARY, (TINY,), "linear", InputPolicy("resize"), (0.5,) * 3, (0.5,) * 3, encoder=Encoder())
    table = json.loads(card.to_json())
    table["encoder"][key] = value
    with pytest.raises(UnusableCheckpointError, match=f"encoder.{key} is {value}"):
        Card.from_json(json.dumps(table))


def test_an_encoder_is_the_only_branch_and_its_head_fits_its_pooling() -> None:
    card = Card("c", BINARY, (TINY,), "linear", InputPolicy("resize"), (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match="only branch"):
        replace(card, branches=(TINY, TINY), encoder=Encoder())
    with pytest.raises(ValueError, match="additive head"):
        replace(card, encoder=Encoder(pooling="mean"))


def test_the_config_of_a_hub_becomes_an_encoder() -> None:
    pretrained = {"mean": [0.7, 0.6, 0.7], "std": [0.2, 0.2, 0.2], "input_size": [3, 224, 224]}
    arguments = {"img_size": 224, "init_values": 1e-5, "num_classes": 0, "dynamic_img_size": True, "global_pool": "avg"}
    found = read_hub_config("hf-hub:lab/encoder", "vit_large_patch16_224", pretrained, arguments)
    assert (found.name, found.weights, found.input_side) == ("lab/encoder", "hf-hub:lab/encoder", 224)
    assert found.encoder == Encoder(pooling="mean", init_values=1e-5, dynamic_img_size=True)
    assert found.head == "additive"
    with pytest.raises(ValueError, match="unknown_argument"):
        read_hub_config("hf-hub:lab/encoder", "vit_large_patch16_224", pretrained, {"unknown_argument": 1})


def test_what_is_no_encoder_is_told_with_what_there_is() -> None:
    with pytest.raises(ValueError, match="h_optimus_0, kaiko_vit_b16"):
        find_encoder("no such encoder")
    with pytest.raises(MissingWeightsError, match=r"pass a \.safetensors file with --weights"):
        build_network(find_encoder("transpath_vit_s16"))
    with pytest.raises(MissingWeightsError, match="at /no/file: pass an existing"):
        build_network(find_encoder("uni"), Path("/no/file"))


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledImage]:
    """Two images of each of eight patients, four of them benign."""
    return tissue_folder(tmp_path_factory.mktemp("tissue"), 8, 2)


def request(tissue: list[LabelledImage]) -> ProbeRequest:
    config = replace(find_encoder("test_efficientnet"), weights="timm", input_side=32)
    return ProbeRequest(config, tuple(tissue), (tissue[0].path.parent,), patch_side=48, folds=2)


@pytest.fixture(scope="module")
def embedded(tissue: list[LabelledImage]) -> EmbeddedImages:
    torch.manual_seed(0)
    asked = request(tissue)
    config = asked.encoder
    card = Card(
        "c", BINARY, (config.architecture,), "linear", InputPolicy("patches", 32, 48, 48), (0.5,) * 3, (0.5,) * 3
    )
    return embed_images(tissue, build_network(config, random=True), card)


def test_an_image_has_one_vector_and_a_few_tokens(embedded: EmbeddedImages) -> None:
    assert embedded.features.shape == (16, 256)
    assert {tokens.shape[1] for tokens in embedded.tokens} == {256}
    assert max(len(tokens) for tokens in embedded.tokens) <= 16 * 4


@pytest.mark.parametrize("name", sorted(JUDGES))
def test_a_probe_learns_what_can_be_learned_and_says_the_same_again(
    name: fits.ProbeName, embedded: EmbeddedImages
) -> None:
    rng = np.random.default_rng(0)
    shift = np.where(embedded.malignant, 3.0, -3.0)
    clear = EmbeddedImages(
        embedded.images,
        rng.normal(size=(16, 6)) + shift[:, None],
        tuple((rng.normal(size=(4, 6)) + one).astype(np.float16) for one in shift),
    )
    train, held_out = clear.only(np.arange(0, 16, 2)), clear.only(np.arange(1, 16, 2))
    said = JUDGES[name](train, held_out, 0)
    assert ((said >= 0.5) == held_out.malignant).all()
    assert np.array_equal(said, JUDGES[name](train, held_out, 0))


def test_a_linear_probe_is_the_logistic_regression_of_standardised_vectors(embedded: EmbeddedImages) -> None:
    found = fit_linear(embedded)
    mean, std = embedded.features.mean(axis=0), embedded.features.std(axis=0)
    reference = LogisticRegression(C=found.shrinkage, class_weight="balanced", max_iter=5000)
    scaled = (embedded.features - mean) / np.where(std == 0, 1, std)
    reference.fit(scaled, embedded.malignant, sample_weight=weigh_patients(embedded.patient_ids))
    ours = embedded.features @ found.weights + found.bias
    assert np.allclose(ours, reference.decision_function(scaled), atol=1e-4)


def test_no_patient_is_judged_by_a_probe_that_was_fitted_to_them(
    tissue: list[LabelledImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[set[str], set[str]]] = []

    def watch(train: EmbeddedImages, held_out: EmbeddedImages, seed: int) -> NDArray[np.float64]:
        seen.append((set(train.patient_ids), set(held_out.patient_ids)))
        return np.full(len(held_out.images), 0.5)

    monkeypatch.setattr("training.probe.JUDGES", {"linear": watch})
    asked = request(tissue)
    rows, _ = probe(asked, build_network(asked.encoder, random=True))
    assert len(seen) == 2
    assert all(not train & held_out for train, held_out in seen)
    assert set().union(*(held_out for _, held_out in seen)) == {image.patient_id for image in tissue}
    assert rows[0].image is not None
    assert rows[0].image.value == 0.5


def test_the_checkpoint_says_what_the_probe_says(tissue: list[LabelledImage], tmp_path: Path) -> None:
    save = tmp_path / "encoder.safetensors"
    encoder = Encoder(pooling="class_mean", depth=2, patch_size=8)
    save_file(own_network(encoder).state_dict(), save)
    # One patch of each image, mirrored to fill it: the mean of probabilities and of vectors are then the same.
    config = replace(tiny_config(encoder), saw=("bach",))
    asked = replace(request(tissue), encoder=config, weights=save, patch_side=56)
    _, embedded = probe(asked, build_network(asked.encoder, save))
    card = write_checkpoint(asked, embedded, tmp_path / "probe.safetensors")
    assert [metric.name for metric in card.metrics][-1] == "AUC by accession number"
    assert "2-fold, pooled out of fold" in card.locked_on
    assert "Its pretraining saw bach" in read_card(tmp_path / "probe.safetensors").note
    classifier = load_classifier(tmp_path / "probe.safetensors")
    classifier = classifier.with_card(replace(classifier.card, views="one", temperature=1.0))
    found = fit_linear(embedded)
    for image, vector in zip(embedded.images[:3], embedded.features, strict=False):
        said = analyse(image.path.read_bytes(), classifier, heatmap=False).prediction
        assert said is not None
        wanted = 1 / (1 + np.exp(-(vector @ found.weights + found.bias)))
        assert said.malignant_probability == pytest.approx(wanted, abs=1e-4)


def test_the_command_prints_the_figures_and_warns_of_what_the_encoder_saw(
    tissue: list[LabelledImage], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = Encoder(depth=1, patch_size=8)
    save_file(own_network(encoder).state_dict(), tmp_path / "tiny.safetensors")
    (tmp_path / "tiny.toml").write_text(
        'name = "tiny"\narchitecture = "test_vit"\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\ninput_side = 32\n'
        'saw = ["breakhis"]\n[encoder]\ndepth = 1\npatch_size = 8\n'
    )
    run(
        str(tmp_path / "tiny.toml"),
        [tissue[0].path.parent],
        weights=tmp_path / "tiny.safetensors",
        patch_side=48,
        folds=2,
        as_json=True,
    )
    printed = capsys.readouterr()
    rows = json.loads(printed.out)
    assert [row["probe"] for row in rows] == list(JUDGES)
    assert all(0 <= row["image"]["low"] <= row["image"]["value"] <= row["image"]["high"] <= 1 for row in rows)
    assert "tiny was pretrained on images of breakhis" in " ".join(printed.err.split())


def test_a_wrong_encoder_ends_the_command_with_a_message(
    tissue: list[LabelledImage], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit):
        run("no such encoder", [tissue[0].path.parent])
    assert "is not an encoder" in capsys.readouterr().err
