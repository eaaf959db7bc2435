from dataclasses import replace
from pathlib import Path

import pytest

from core.fitting.config import FitConfig, Generated, Phase, Sampling
from core.labels import BACH, BINARY, BREAKHIS, IDC
from tests.helpers.runs.fits import CONFIG

TOML = """
name = "tiny"
branches = ["test_efficientnet"]
head = "additive"
mean = [0.5, 0.5, 0.5]
std = [0.2, 0.2, 0.2]
[input_policy]
kind = "resize"
[augmentation]
zoom = 1.2
[sampling]
kind = "patients"
batches = 3
[[phases]]
name = "head"
epochs = 3
unfrozen = "head"
learning_rate = 1e-3
cached = 2
[[phases]]
name = "last"
epochs = 4
unfrozen = "last:2"
learning_rate = 1e-4
backbone_rate = 1e-5
"""


def test_a_run_is_read_from_its_file_and_flattened_for_the_card(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(TOML)
    config = FitConfig.from_toml(tmp_path / "run.toml")
    assert config.branches == ("test_efficientnet",)
    assert config.epochs == 7
    assert [phase.last_blocks for phase in config.phases] == [0, 2]
    flat = config.flat()
    assert flat["phases.1.unfrozen"] == "last:2"
    assert flat["phases.0.backbone_rate"] == "none"
    assert flat["augmentation.zoom"] == 1.2
    assert flat["input_policy.kind"] == "resize"
    assert flat["stain"] == "none"
    assert flat["mean"] == "0.5, 0.5, 0.5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs = 3", "epoch = 3"), "phases.0"),
        (("zoom = 1.2", "zom = 1.2"), "augmentation.zom"),
        (('kind = "resize"', 'knd = "resize"'), "input_policy"),
        (('kind = "patients"', 'kind = "patient"'), "sampling.kind"),
        (("epochs = 3", "epochs = 0"), "needs at least one epoch"),
        (
            ('head = "additive"', 'head = "additive"\nsensitivity = 1.1'),
            "sensitivity of the threshold must lie in 0..1",
        ),
        (('unfrozen = "head"', 'unfrozen = "last:0"'), "unfrozen"),
        (("cached = 2", "cached = -1"), "must not be negative"),
        (("backbone_rate = 1e-5", "cached = 1"), "cannot be cached"),
        (("backbone_rate = 1e-5", "plateau_factor = 1.0"), "plateau_factor"),
        (('name = "last"', 'name = "head"'), "one name"),
        (("batches = 3", ""), "no natural end"),
        (("[augmentation]", "[optimiser]\naccumulation = 0\n[augmentation]"), "accumulation"),
        (("[augmentation]", "[loss]\nsmoothing = 1.0\n[augmentation]"), "below 1"),
        (("[augmentation]", "[protocol]\nfolds = 1\n[augmentation]"), "two folds"),
        (("[augmentation]", "[generated]\nshare = 1.0\n[augmentation]"), "a share below 1"),
        (("[augmentation]", "[generated]\nshares = 0.1\n[augmentation]"), "generated.shares"),
        (('head = "additive"', 'head = "additive"\nmembers = 0'), "a member"),
        (('head = "additive"', 'head = "additive"\naveraging = 1.0'), "below 1"),
        (('head = "additive"', 'head = "additive"\naugmentations = "strong"'), "augmentations"),
        (('name = "tiny"', ""), "name"),
        (("zoom = 1.2", "zoom = 0.5"), "zoom must be at least 1"),
    ],
)
def test_a_wrong_key_or_value_in_a_file_is_an_error_that_names_it(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    changed = TOML.replace(*change, 1)
    assert changed != TOML
    (tmp_path / "run.toml").write_text(changed)
    with pytest.raises(ValueError, match=f"run.toml.*{message}"):
        FitConfig.from_toml(tmp_path / "run.toml")


def test_a_task_names_the_classes_and_generated_tissue_has_two_only() -> None:
    with pytest.raises(ValueError, match="binary task only"):
        replace(CONFIG, task="bach", generated=Generated())
    sets = [replace(CONFIG, task=task).label_set for task in ("binary", "subtypes", "bach", "idc")]
    assert sets == [BINARY, BREAKHIS, BACH, IDC]


def test_phases_and_samplings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="learning rates above 0"):
        Phase("p", 1, "all", 0.0)
    with pytest.raises(ValueError, match="no natural end"):
        Sampling("patients")
