"""The paired table of views, stain normalisation and quality control."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch import Tensor

from core.card import StainTarget
from core.data.datasets import LabelledImage, list_breakhis
from core.imaging.decode import decode_image
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork
from core.network.views import ViewSet
from core.pipeline import analyse_image, check_image, cut_normalised_patches
from core.statistics.evaluation import AblationRow
from core.statistics.predictions import auc
from tests.helpers.runs.checkpoints import TINY_CARD, tissue_and_checkpoint
from training.evaluation.ablation import ablate, stain_targets
from training.evaluation.chosen_images import ChosenImage

BLURRED = "SOB_M_DC-14-2-100-099.png"


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tissue of six patients, one blurred image and one that is no image, with a checkpoint."""
    folder = tmp_path_factory.mktemp("ablation")
    tissue_and_checkpoint(folder)
    sharp = cv2.imread(str(folder / "tissue" / "SOB_M_DC-14-2-100-001.png"))
    assert sharp is not None
    cv2.imwrite(str(folder / "tissue" / BLURRED), cv2.GaussianBlur(sharp, (0, 0), 6))
    (folder / "tissue" / "SOB_B_F-14-1-100-098.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def classifier(tissue: Path) -> Classifier:
    """A random classifier that the tissue is judged by."""
    return load_classifier(tissue / "tiny.safetensors")


@pytest.fixture(scope="module")
def rows(tissue: Path, classifier: Classifier) -> tuple[AblationRow, ...]:
    """The table of that classifier."""
    return ablate(
        [ChosenImage(image) for image in list_breakhis(tissue / "tissue")], lambda fold: classifier, classifier.card
    )


def _images(tissue: Path) -> list[LabelledImage]:
    return [image for image in list_breakhis(tissue / "tissue") if not image.path.name.endswith("098.png")]


def _auc(images: list[LabelledImage], classifier: Classifier) -> float:
    said = [analyse_image(decode_image(i.path.read_bytes()).pixels, classifier, heatmap=False) for i in images]
    malignant = [i.malignancy == "malignant" for i in images]
    return auc(np.array(malignant), np.array([a.prediction.malignant_probability for a in said if a.prediction]))


def test_the_table_has_every_way_once(rows: tuple[AblationRow, ...]) -> None:
    assert len({(row.views, row.stain, row.quality_control) for row in rows}) == len(rows) == 18


def test_the_card_s_own_way_is_the_one_without_a_change(rows: tuple[AblationRow, ...]) -> None:
    (own,) = [row for row in rows if row.change is None]
    assert (own.views, own.stain, own.quality_control) == ("8", "none", False)


@pytest.mark.parametrize(("views", "word"), [("one", "none"), ("seven", "7"), ("eight", "8")])
@pytest.mark.parametrize("stain", ["none", "Reinhard", "Macenko"])
def test_each_way_is_what_a_classifier_with_such_a_card_says(
    rows: tuple[AblationRow, ...], tissue: Path, classifier: Classifier, views: ViewSet, word: str, stain: str
) -> None:
    target = dict(zip(("none", "Reinhard", "Macenko"), stain_targets(TINY_CARD), strict=True))[stain]
    other = classifier.with_card(replace(TINY_CARD, views=views, stain=target))
    (row,) = [row for row in rows if (row.views, row.stain, row.quality_control) == (word, stain, False)]
    assert row.images == 9
    assert row.auc.value == pytest.approx(_auc(_images(tissue), other))


def test_all_ways_of_an_image_take_its_eight_views_through_the_network_once_per_stain(
    tissue: Path, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[int] = []
    original = HybridNetwork.features_and_places

    def counted(self: HybridNetwork, images: Tensor, described: int) -> tuple[list[Tensor], Tensor]:
        passed.append(len(images))
        return original(self, images, described)

    monkeypatch.setattr(HybridNetwork, "features_and_places", counted)
    image = _images(tissue)[0]
    patches = len(cut_normalised_patches(decode_image(image.path.read_bytes()).pixels, classifier).patches)
    assert len(ablate([ChosenImage(image)], lambda fold: classifier, classifier.card)) == 0  # no AUC of one image
    assert sum(passed) == 3 * 8 * patches


def test_quality_control_leaves_out_what_has_a_warning(
    rows: tuple[AblationRow, ...], tissue: Path, classifier: Classifier
) -> None:
    flagged = [
        image.path.name
        for image in _images(tissue)
        if check_image(decode_image(image.path.read_bytes()).pixels, TINY_CARD).findings
    ]
    assert BLURRED in flagged
    kept = [image for image in _images(tissue) if image.path.name not in flagged]
    assert {row.images for row in rows if row.quality_control} == {len(kept)}
    (row,) = [row for row in rows if (row.views, row.stain, row.quality_control) == ("8", "none", True)]
    assert row.auc.value == pytest.approx(_auc(kept, classifier))
    assert row.change is not None
    assert row.change.value == pytest.approx(row.auc.value - _auc(_images(tissue), classifier))


def test_a_change_is_measured_on_the_same_patients(rows: tuple[AblationRow, ...]) -> None:
    own = next(row for row in rows if row.change is None)
    for row in rows:
        if row.change is not None:
            assert row.change.value == pytest.approx(row.auc.value - own.auc.value)


def test_the_card_s_own_stain_target_is_used() -> None:
    own = StainTarget("reinhard", means=(170.0, 150.0, 120.0))
    assert stain_targets(replace(TINY_CARD, stain=own)) == (None, own, StainTarget("macenko"))


def test_without_a_result_there_is_no_table(tissue: Path, classifier: Classifier) -> None:
    (broken,) = [image for image in list_breakhis(tissue / "tissue") if image.path.name.endswith("098.png")]
    with pytest.raises(ValueError, match="there are none"):
        ablate([ChosenImage(broken)], lambda fold: classifier, classifier.card)
