"""Every config of the project runs end to end: its own phases, split, loss and classes, with a tiny network."""

import json
from pathlib import Path

import pytest
import torch

from core.card import read_card
from core.data.datasets import load_dataset
from core.fitting.config import FitConfig
from core.network.checkpoint import load_classifier
from core.network.hybrid import build_hybrid_network
from core.pipeline import analyse
from tests.helpers.images.dataset_trees import bach_tree, breakhis_tree, idc_tree
from training import train
from training.runs.plan import OWN_DATASET

CONFIGS = sorted((Path(train.__file__).parent / "configs").glob("*.toml"))
RUNS = [path for path in CONFIGS if not path.stem.startswith("search")]
RECIPES = sorted((Path(train.__file__).parent / "configs" / "recipes").glob("*.toml"))
# What makes any of them small; their other numbers are what is tested.
TINY = (
    "pretrained=false",
    "input_policy.input_side=32",
    "input_policy.patch_side=48",
    "input_policy.stride=48",
    "cache_side=0",
    "batch_size=4",
    "members=1",
    "phases.*.epochs=1",
    "sampling.batches=2",
    "protocol.folds=2",
    "views=one",
)
TINY_WARM_UP = ("generated.images=2", "generated.batches=2")
TINY_BRANCHES = {1: 'branches=["test_efficientnet"]', 2: 'branches=["test_efficientnet", "test_vit"]'}
# The tiny network has seven blocks; that the real ones have enough is a test of its own.
FEWER_BLOCKS = {"vgg16_partial": ("phases.1.unfrozen=last:5",)}
# Two networks, wide heads and three phases, or a warm-up and folds.
QUICK = ("efficientnet_b0_binary", "vgg16_frozen", "cnn_binary_weights")
PUBLISHED = (
    "hybrid_breakhis",
    "efficientnet_b0_binary",
    "efficientnet_b0_subtypes",
    "resnet50_patches",
    "vgg16_frozen",
    "vgg16_top4",
    "vgg16_partial",
    "vgg16_all",
    "efficientnet_b0_idc",
    "efficientnet_b3_idc",
    "cnn_binary_weights",
    "cnn_binary_augmented",
    "cnn_subtypes",
)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of few made images for each dataset."""
    root = tmp_path_factory.mktemp("trees")
    return {
        "breakhis": breakhis_tree(root / "breakhis", flat=True),
        "bach": bach_tree(root / "bach"),
        "idc": idc_tree(root / "idc", (8863, 10253, 16570, 9035)),
    }


def test_every_published_row_has_its_config() -> None:
    assert set(PUBLISHED) <= {path.stem for path in RUNS}


@pytest.mark.parametrize("path", [*RUNS, *RECIPES], ids=lambda path: path.stem)
def test_a_config_is_named_as_its_file_and_says_what_is_known(path: Path) -> None:
    config = FitConfig.from_toml(path)
    assert config.name == path.stem
    first, *_ = path.read_text().splitlines()
    assert first.startswith("# ")
    if path.stem in PUBLISHED:
        assert "Published" in path.read_text()
        assert "our interpretation" in path.read_text()


@pytest.mark.parametrize("path", [*RUNS, *RECIPES], ids=lambda path: path.stem)
def test_the_networks_of_a_config_exist_and_have_the_blocks_that_it_frees(path: Path) -> None:
    config = FitConfig.from_toml(path)
    with torch.device("meta"):
        network = build_hybrid_network(config)
    freed = max(phase.last_blocks for phase in config.phases)
    assert all(len(blocks) > freed for blocks in network.blocks())


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[] if path.stem in QUICK else [pytest.mark.slow], id=path.stem) for path in RUNS],
)
def test_a_config_runs_end_to_end(path: Path, trees: dict[str, Path], tmp_path: Path) -> None:
    config = FitConfig.from_toml(path)
    root = trees[OWN_DATASET[config.task]]
    train.run(
        path,
        data=[root],
        out=tmp_path / "checkpoint.safetensors",
        runs=tmp_path / "runs",
        assignments=[
            *(*TINY, TINY_BRANCHES[len(config.branches)]),
            *(TINY_WARM_UP if config.generated else ()),
            *FEWER_BLOCKS.get(path.stem, ()),
        ],
        threads=1,
        database=f"sqlite:///{tmp_path / 'runs.sqlite'}",
    )
    card = read_card(tmp_path / "checkpoint.safetensors")
    assert (card.name, card.label_set) == (config.name, config.label_set)
    assert (card.head, card.fusion, card.magnification) == (config.head, config.fusion, config.magnification)
    assert card.metrics
    (history,) = (tmp_path / "runs").glob("*/history.jsonl")
    told = [json.loads(line)["phase"] for line in history.read_text().splitlines()]
    assert set(told) - {"generated tissue"} == {phase.name for phase in config.phases}
    image = load_dataset(OWN_DATASET[config.task], root)[0]
    classifier = load_classifier(tmp_path / "checkpoint.safetensors").at(image.magnification)
    prediction = analyse(image.path.read_bytes(), classifier).prediction
    assert prediction is not None
    assert prediction.label in config.label_set.classes
