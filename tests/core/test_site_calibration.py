"""Fitting a model to a site: refused with too few cases, measured on cases held out, and written beside the old one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.card import (
    SiteCalibration,
    UnusableCheckpointError,
    checkpoint_sha256,
    model_version,
    read_card,
    write_with_card,
)
from core.labels import BREAKHIS
from core.network.checkpoint import load_classifier
from core.pipeline import pool_patches
from core.statistics.site_calibration import LocalCase, TooFewCasesError, describe_missing, fit_to_site
from tests.helpers.fakes import FAKE_CARD
from tests.helpers.networks import small_checkpoint

SITE = SiteCalibration("0123456789ab", 2.0, 30, 12, "cases of a test")


def _cases(count: int, overconfident: float = 4.0) -> list[LocalCase]:
    """Make cases of one to three images, every other malignant, with log-odds so many times what they should be."""
    chance = np.random.default_rng(0)
    made = []
    for number in range(count):
        malignant = number % 2 == 0
        centre = chance.normal(1.2 if malignant else -0.8, 1.5)
        log_odds = overconfident * (centre + chance.normal(0, 0.2, 1 + number % 3))
        made.append(LocalCase(malignant, tuple((1 / (1 + np.exp(-log_odds))).tolist())))
    return made


def test_too_few_cases_are_refused_and_what_is_missing_is_said() -> None:
    benign, malignant = LocalCase(False, (0.2,)), LocalCase(True, (0.8,))
    assert describe_missing([]) == "30 more cases, including 5 malignant and 5 benign"
    assert describe_missing([benign] * 28 + [malignant]) == "4 more cases: 4 malignant"
    assert describe_missing([benign] * 26 + [malignant] * 4) == "1 more case: 1 malignant"
    assert describe_missing([benign] * 9 + [malignant] * 9) == "12 more cases"
    assert describe_missing([benign] * 5 + [malignant] * 25) is None
    with pytest.raises(TooFewCasesError, match="still needed: 1 more case: 1 malignant"):
        fit_to_site([benign] * 26 + [malignant] * 4, 0.5)


def test_an_overconfident_model_is_softened_and_the_gain_is_shown_on_cases_held_out() -> None:
    fit = fit_to_site(_cases(120), 0.9)
    assert 2.5 < fit.temperature < 6
    assert (fit.benign, fit.malignant) == (60, 60)
    assert fit.after.log_loss.value < fit.before.log_loss.value
    assert fit.gain.value == pytest.approx(fit.before.log_loss.value - fit.after.log_loss.value)
    assert fit.gain.low is not None
    assert fit.gain.low > 0
    assert fit.after.auc.value == pytest.approx(fit.before.auc.value, abs=0.01)
    assert fit.after.sensitivity.value > fit.before.sensitivity.value, "0.9 was too high a threshold"
    assert fit.sensitive_threshold <= fit.threshold


def test_the_figures_do_not_come_from_the_cases_that_were_fitted_to() -> None:
    """Labels by chance: on the cases of the fit it would look better than chance, on cases held out it must not."""
    balances = []
    for seed in range(4):
        drawn = np.random.default_rng(seed).uniform(0.01, 0.99, 60)
        after = fit_to_site([LocalCase(bool(n % 2), (float(p),)) for n, p in enumerate(drawn)], 0.5).after
        assert after.log_loss.value > 0.69, "a coin has 0.693"
        balances.append(after.sensitivity.value + after.specificity.value)
    assert np.mean(balances) < 1.05


def test_an_image_is_softened_after_its_patches_were_averaged_and_classes_keep_their_shares() -> None:
    patches = np.array([[0.1, 0.9], [0.4, 0.6], [0.45, 0.55]], np.float32)
    plain = pool_patches(patches, FAKE_CARD)
    fitted = pool_patches(patches, replace(FAKE_CARD, site=SITE, threshold=0.6))
    odds = plain.malignant_probability / (1 - plain.malignant_probability)
    assert fitted.malignant_probability == pytest.approx(odds**0.5 / (1 + odds**0.5))
    assert fitted.malignant_patches == 1, "each patch is softened before it is counted: 0.75, 0.55 and 0.53"
    assert pool_patches(patches, replace(FAKE_CARD, site=replace(SITE, temperature=1.0))) == plain
    eight = np.array([[0.05, 0.05, 0.1, 0, 0.5, 0.2, 0.1, 0]], np.float32)
    card = replace(FAKE_CARD, label_set=BREAKHIS, site=SITE)
    softened = np.array(pool_patches(eight, card).probabilities)
    assert softened[4] / softened[5] == pytest.approx(2.5)
    assert softened[2] / softened[1] == pytest.approx(2.0)
    assert softened.sum() == pytest.approx(1)
    assert softened[4:].sum() == pytest.approx(2 / 3, abs=1e-6), "odds of 4 become 2"


def test_a_checkpoint_with_another_card_has_the_same_weights_and_is_another_version(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    small_checkpoint(path)
    before = path.read_bytes()
    card = replace(read_card(path), site=SITE, threshold=0.3)
    written = write_with_card(path, tmp_path / "fitted", "a.site", card)
    assert written == write_with_card(path, tmp_path / "fitted", "a.site", card), "twice is one file"
    assert [one.name for one in (tmp_path / "fitted").iterdir()] == [
        f"a.site-{model_version(checkpoint_sha256(written))}.safetensors"
    ]
    assert path.read_bytes() == before
    old, new = load_classifier(path), load_classifier(written)
    assert new.card == card
    assert new.version != old.version
    patches = np.zeros((2, card.input_policy.input_side, card.input_policy.input_side, 3), np.uint8)
    one, other = (each.examine(patches, evidence=False).probabilities for each in (old, new))
    assert (one == other).all()


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    small_checkpoint(path)
    (tmp_path / "file").touch()
    with pytest.raises(UnusableCheckpointError, match="cannot write a checkpoint"):
        write_with_card(path, tmp_path / "file", "a.site", read_card(path))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.safetensors", "file"]
