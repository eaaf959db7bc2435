"""Labelled images judged one by one, and what is kept of them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.data.datasets import LabelledImage, list_breakhis
from core.imaging.demo import generate_tissue
from core.labels import BACH, BINARY, BREAKHIS
from core.network.checkpoint import load_classifier
from core.network.classifier import Classifier
from core.pipeline import analyse
from core.statistics.evaluation import ScopeCounts
from db.files import Files
from tests.helpers.runs.checkpoints import SUBTYPE_CARD, TINY_CARD, tissue_and_checkpoint
from tests.helpers.scopes import FixedScope
from training.evaluation.chosen_images import ChosenImage
from training.evaluation.predictions import (
    PREVIEW_SIDE,
    Judge,
    build_predictions_table,
    common_label_set,
    judgements_of,
)


class KilledError(Exception):
    """Stands for a kill in the middle of a run."""


@pytest.fixture(scope="module")
def tissue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tissue of four patients beside a random checkpoint."""
    folder = tmp_path_factory.mktemp("judged")
    tissue_and_checkpoint(folder)
    return folder


@pytest.fixture(scope="module")
def classifier(tissue: Path) -> Classifier:
    """The checkpoint at work."""
    return load_classifier(tissue / "tiny.safetensors")


def _chosen(tissue: Path) -> list[ChosenImage]:
    return [ChosenImage(image) for image in list_breakhis(tissue / "tissue")]


def _killed_after(count: int) -> Callable[[], None]:
    seen = []

    def advance() -> None:
        seen.append(1)
        if len(seen) == count:
            raise KilledError

    return advance


def test_a_killed_run_goes_on_where_it_stopped(tissue: Path, classifier: Classifier, tmp_path: Path) -> None:
    asked: list[int | None] = []

    def classifiers(fold: int | None) -> Classifier:
        asked.append(fold)
        return classifier

    whole = Judge(classifiers, tissue / "tissue").judge(_chosen(tissue))
    judge = Judge(classifiers, tissue / "tissue", Files(tmp_path / "files"), maps=True, journal=tmp_path / "journal")
    with pytest.raises(KilledError):
        judge.judge(_chosen(tissue), _killed_after(3))
    with (tmp_path / "journal").open("a") as file:
        file.write('{"file": "SOB_B_F-14-1')  # the line that was being written
    asked.clear()
    found = judge.judge(_chosen(tissue))
    assert len(asked) == 5
    plain = [replace(i, preview_sha256=None, heatmap_sha256=None, evidence_low=None, evidence_high=None) for i in found]
    assert plain == whole
    judge.forget()
    assert not (tmp_path / "journal").exists()


def test_a_changed_image_or_a_lost_preview_is_judged_again(
    tissue: Path, classifier: Classifier, tmp_path: Path
) -> None:
    asked: list[int | None] = []

    def classifiers(fold: int | None) -> Classifier:
        asked.append(fold)
        return classifier

    names = [chosen.image.path.name for chosen in _chosen(tissue)]
    for name in names:
        (tmp_path / name).write_bytes((tissue / "tissue" / name).read_bytes())
    chosen = [ChosenImage(image) for image in list_breakhis(tmp_path)]
    judge = Judge(classifiers, tmp_path, Files(tmp_path / "files"), journal=tmp_path / "journal")
    first = judge.judge(chosen)
    (tmp_path / names[0]).write_bytes((tmp_path / names[1]).read_bytes())
    lost = str(first[5].preview_sha256)
    (tmp_path / "files" / lost[:2] / lost[2:4] / lost).unlink()
    asked.clear()
    again = judge.judge(chosen)
    assert len(asked) == 2
    assert again[0].probabilities == again[1].probabilities
    assert again[2:] == first[2:]


def test_previews_and_maps_are_small_and_upright(tmp_path: Path, classifier: Classifier) -> None:
    image = generate_tissue(1, "malignant", 460, 700)
    cv2.imwrite(str(tmp_path / "SOB_M_DC-14-7-100-001.png"), image[..., ::-1])
    files = Files(tmp_path / "files")
    (found,) = Judge(lambda fold: classifier, tmp_path, files, maps=True).judge(
        [ChosenImage(image) for image in list_breakhis(tmp_path)]
    )
    preview = cv2.imdecode(np.frombuffer(files.get(str(found.preview_sha256)), np.uint8), cv2.IMREAD_COLOR_RGB)
    heatmap = cv2.imdecode(np.frombuffer(files.get(str(found.heatmap_sha256)), np.uint8), cv2.IMREAD_UNCHANGED)
    assert preview is not None
    assert heatmap is not None
    assert preview.shape == (210, PREVIEW_SIDE, 3)
    assert heatmap.shape == (210, PREVIEW_SIDE)
    small = cv2.resize(image, (PREVIEW_SIDE, 210), interpolation=cv2.INTER_AREA)
    assert np.abs(preview.astype(int) - small).mean() < 6
    assert found.evidence_low is not None
    assert found.evidence_high is not None
    assert found.evidence_low < found.evidence_high


def test_a_file_that_is_gone_has_a_reason(tissue: Path, classifier: Classifier) -> None:
    image = replace(_chosen(tissue)[0].image, path=tissue / "tissue" / "SOB_B_F-14-1-100-404.png")
    (found,) = Judge(lambda fold: classifier, tissue / "tissue").judge([ChosenImage(image)])
    assert found.reason == "the file cannot be read: No such file or directory"


def test_a_name_that_is_no_text_can_still_be_written_down(tmp_path: Path, classifier: Classifier) -> None:
    path = tmp_path / "caf\udce9.png"
    path.write_bytes(b"")
    image = LabelledImage(path, "adenosis", "1", "40X", "breakhis")
    (found,) = Judge(lambda fold: classifier, tmp_path, journal=tmp_path / "journal").judge([ChosenImage(image)])
    assert found.file == "caf\\udce9.png"


def test_a_network_that_wants_the_magnification_is_told_it(tmp_path: Path) -> None:
    checkpoint = tissue_and_checkpoint(tmp_path, replace(TINY_CARD, magnification="input"))
    classifier = load_classifier(checkpoint)
    chosen = _chosen(tmp_path)
    said = Judge(lambda fold: classifier, tmp_path / "tissue").judge(chosen)
    told, other = (
        [analyse(one.image.path.read_bytes(), classifier.at(word), heatmap=False).prediction for one in chosen]
        for word in ("100X", "400X")
    )
    assert [image.probabilities for image in said] == [p.probabilities for p in told if p]
    assert [image.probabilities for image in said] != [p.probabilities for p in other if p]


def test_only_malignancy_is_compared_where_classes_differ(tissue: Path, classifier: Classifier) -> None:
    judged = Judge(lambda fold: classifier, tissue / "tissue").judge(_chosen(tissue))
    assert common_label_set(judged, TINY_CARD) == BINARY
    assert common_label_set(judged, SUBTYPE_CARD) == BREAKHIS
    assert common_label_set(judged, replace(TINY_CARD, label_set=BACH)) == BINARY
    found = judgements_of(judged, TINY_CARD)
    assert found.labels.tolist() == [int(image.malignant) for image in judged]
    assert found.probabilities[:, 1].tolist() == [image.malignant_probability for image in judged]
    assert set(found.subtypes) == {"fibroadenoma", "ductal_carcinoma"}


def test_images_out_of_scope_are_counted_apart(tissue: Path, classifier: Classifier) -> None:
    judge = classifier.with_scope(FixedScope(0.5, 2.5, 1.5, 0.5))  # type: ignore[arg-type]
    judged = Judge(lambda _: judge, tissue / "tissue").judge(_chosen(tissue))
    assert [image.scope for image in judged] == ["in", "out", "unusual", "in"] * 2
    assert [image.scope_score for image in judged[:2]] == [0.5, 2.5]
    assert all((image.reason is not None) == (image.scope == "out") for image in judged)
    assert len(judgements_of(judged, TINY_CARD).labels) == 6
    counts = ScopeCounts.of(image.scope for image in judged)
    assert counts == ScopeCounts(4, 2, 2)
    assert counts.coverage == 0.75
    table = build_predictions_table(judged, TINY_CARD, "all")
    assert list(table["scope"]) == [image.scope for image in judged]
    assert np.isnan(table["p_malignant"][1])


def test_what_the_network_says_beyond_its_scope_is_kept_where_that_is_asked(
    tissue: Path, classifier: Classifier
) -> None:
    narrow = classifier.with_scope(FixedScope(0.5, 2.5))  # type: ignore[arg-type]
    judged = Judge(lambda _: narrow, tissue / "tissue", beyond_scope=True).judge(_chosen(tissue))
    plain = Judge(lambda _: classifier, tissue / "tissue").judge(_chosen(tissue))
    assert [(image.scope, image.scope_score) for image in judged] == [("in", 0.5), ("out", 2.5)] * 4
    assert [image.probabilities for image in judged] == [image.probabilities for image in plain]
    assert len(judgements_of(judged, TINY_CARD).labels) == 8


def test_if_every_image_is_out_of_scope_that_is_said(tissue: Path, classifier: Classifier) -> None:
    judge = classifier.with_scope(FixedScope(9.0))  # type: ignore[arg-type]
    judged = Judge(lambda _: judge, tissue / "tissue").judge(_chosen(tissue))
    with pytest.raises(ValueError, match=r"and 8 are out of scope.*With --beyond-scope they are measured too"):
        judgements_of(judged, TINY_CARD)


def test_without_a_reference_no_scope_is_counted(tissue: Path, classifier: Classifier) -> None:
    judged = Judge(lambda _: classifier, tissue / "tissue").judge(_chosen(tissue)[:1])
    assert judged[0].scope is None
    assert ScopeCounts.of(image.scope for image in judged) is None
