"""Fits the model in service to the cases of this site, and writes that as a checkpoint of its own."""

from dataclasses import replace
from pathlib import Path

from core.card import Card, Metric, SiteCalibration, checkpoint_sha256, model_version, write_with_card
from core.settings import Settings
from core.statistics.resampling import Interval
from core.statistics.site_calibration import LocalCase, SiteFigures, SiteFit, fit_to_site
from db import store
from db.database import Sessions

_SUFFIX = ", fitted to this site"
_PROTOCOL = "signed-off or adjudicated cases of this site, by case; their readers may have seen the model's opinion"
_HELD_OUT = "cases of this site, cross-validated (AUC: fit to all cases)"


def find_cases(sessions: Sessions, account_id: int, version: str) -> list[LocalCase]:
    """Return the cases to which a model version can be fitted.

    Raises:
        NotAllowedError: If this account may not administer models.
    """
    with sessions.read() as session:
        cases = store.site_calibrations.judged_cases(session, account_id, version)
    return [LocalCase(case.label == "malignant", case.probabilities) for case in cases]


def fit_model(sessions: Sessions, account_id: int, card: Card, version: str) -> SiteFit:
    """Fit a model version to the cases of this site, and measure what that changes.

    Raises:
        NotAllowedError: If this account may not administer models.
        TooFewCasesError: If there are too few cases; the message says how many are still needed.
    """
    return fit_to_site(find_cases(sessions, account_id, version), card.threshold)


def write_fitted(sessions: Sessions, settings: Settings, account_id: int, path: Path, card: Card, fit: SiteFit) -> Path:
    """Write the checkpoint with what was fitted as a new file, and record it; the old one stays, and stays in service.

    Raises:
        NotAllowedError: If this account may not administer models.
        UnusableCheckpointError: If the checkpoint cannot be read, or the new one cannot be written.
    """
    before = model_version(checkpoint_sha256(path))
    fitted = fit_card(card, before, fit)
    origin = path.stem.removesuffix(f"-{before}").removesuffix(".site")
    with sessions.begin() as session:
        # First, so that nobody who may not do this leaves a file.
        store.site_calibrations.judged_cases(session, account_id, before)
    written = write_with_card(path, settings.fitted_checkpoints, f"{origin}.site", fitted)
    after = model_version(checkpoint_sha256(written))
    what = f"{fit.benign + fit.malignant} cases, temperature {fit.temperature:.3f}, threshold {fit.threshold:.3f}"
    with sessions.begin() as session:
        store.site_calibrations.record_calibration(session, account_id, before, after, what)
    return written


def fit_card(card: Card, version: str, fit: SiteFit) -> Card:
    """Return the card of a version with what was fitted; what was fitted to its probabilities before is left out."""
    cases = fit.benign + fit.malignant
    origin, temperature = (card.site.origin, card.site.temperature) if card.site else (version, 1.0)
    site = SiteCalibration(origin, temperature * fit.temperature, cases, fit.malignant, _PROTOCOL)
    return replace(
        card,
        name=card.name if card.site else f"{card.name}{_SUFFIX}",
        threshold=fit.threshold,
        sensitive_threshold=fit.sensitive_threshold,
        locked_on=f"{cases} {_PROTOCOL}",
        abstention=None,
        site=site,
        metrics=(
            *_list_metrics(fit.after, f"{cases} {_HELD_OUT}"),
            *_list_metrics(fit.before, f"{cases} cases of this site, before the fit"),
        ),
    )


def _list_metrics(figures: SiteFigures, protocol: str) -> list[Metric]:
    named = (
        ("AUC by case", figures.auc),
        ("log loss by case", figures.log_loss),
        ("sensitivity by case", figures.sensitivity),
        ("specificity by case", figures.specificity),
    )
    return [Metric(name, one.value, *_bounds(one), protocol) for name, one in named]


def _bounds(interval: Interval) -> tuple[float, float]:
    """Return the bounds of an interval; without one, both are the value."""
    return (
        interval.value if interval.low is None else interval.low,
        interval.value if interval.high is None else interval.high,
    )
