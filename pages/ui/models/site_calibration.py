"""Fit the model in service to the cases of this site: what is still needed, what it would change, and the new file."""

import streamlit as st

from core.card import Card, UnusableCheckpointError
from core.statistics.resampling import Interval
from core.statistics.site_calibration import (
    LEAST_CASES,
    LEAST_OF_EACH,
    SiteFigures,
    SiteFit,
    TooFewCasesError,
    describe_missing,
)
from core.wording import count_words, interval_words
from db.values.accounts import Permission
from pages.ui import components, formatting, resources
from service.site_calibration import find_cases, fit_model, write_fitted
from service.worker.checkpoint_in_service import CheckpointFile

_FITTED = "site-fit"  # session key: the version and what was fitted to it
_ABOUT = (
    "Its temperature and thresholds can be fitted to signed-off or adjudicated cases of this site; its weights stay as "
    "they are."
)
_CAUTION = (
    "The labels are those of readers who may have seen the model's opinion, so the figures may be too favourable. "
    "Figures after the fit are cross-validated: each case is measured with a fit to the other cases. Only the AUC uses "
    "the fit to all cases."
)


def draw_site_calibration(file: CheckpointFile) -> None:
    """Draw how the model in service can be fitted to this site; administrators only."""
    if file.card is None or not resources.may(Permission.ADMINISTER):
        return
    st.markdown("##### Fit to this site")
    cases = find_cases(resources.sessions(), resources.account().id, file.version)
    malignant = sum(case.malignant for case in cases)
    counted = f"{count_words(len(cases), 'case')} so far: {malignant} malignant, {len(cases) - malignant} benign."
    missing = describe_missing(cases)
    if missing is not None:
        st.caption(
            f"{_ABOUT} {counted} At least {LEAST_CASES} are needed, {LEAST_OF_EACH} of each label; "
            f"still needed: {missing}."
        )
        return
    st.caption(f"{_ABOUT} {counted}")
    if st.button("Fit and compare"):
        _fit(file.card, file.version)
    fitted: tuple[str, SiteFit] | None = st.session_state.get(_FITTED)
    if fitted is not None and fitted[0] == file.version:
        _draw_fit(file, file.card, fitted[1])


def _fit(card: Card, version: str) -> None:
    try:
        with st.spinner("Fitting and cross-validating …"):
            fit = fit_model(resources.sessions(), resources.account().id, card, version)
    except TooFewCasesError as error:
        st.error(f"Nothing was fitted: {error}.")
        return
    st.session_state[_FITTED] = (version, fit)


def _draw_fit(file: CheckpointFile, card: Card, fit: SiteFit) -> None:
    st.table(
        {
            "": ["AUC by case", "Log loss by case", "Sensitivity", "Specificity"],
            "Now": _list_figures(fit.before),
            "After the fit": _list_figures(fit.after),
        },
        hide_index=True,
    )
    st.markdown(
        f"Temperature {fit.temperature:.2f}, threshold {fit.threshold:.2f} (now {card.threshold:.2f}), for a "
        f"sensitivity of 95%: {fit.sensitive_threshold:.2f}. {write_gain(fit.gain)}"
    )
    st.caption(_CAUTION)
    if st.button("Write as a new checkpoint"):
        _write(file, card, fit)


def _write(file: CheckpointFile, card: Card, fit: SiteFit) -> None:
    try:
        written = write_fitted(resources.sessions(), resources.settings(), resources.account().id, file.path, card, fit)
    except UnusableCheckpointError as error:
        st.error(f"Nothing was written: {formatting.escape(str(error))}.")
        return
    del st.session_state[_FITTED]
    components.announce(
        f"{formatting.escape(written.name)} was written. It is in the list of other checkpoints; put it into service "
        "there. The one in service stays as it is."
    )


def _list_figures(figures: SiteFigures) -> list[str]:
    each = (figures.auc, figures.log_loss, figures.sensitivity, figures.specificity)
    return [_write_interval(one) for one in each]


def _write_interval(figure: Interval) -> str:
    return formatting.escape(interval_words(figure))


def write_gain(gain: Interval) -> str:
    """Write by how much the log loss is lower after the fit, and whether that was shown."""
    if gain.low is not None and gain.low > 0:
        return f"The log loss is lower by {_write_interval(gain)}."
    if gain.high is not None and gain.high < 0:
        return f"The fit makes the model worse: the log loss is higher by {_write_interval(-gain)}."
    why = "there is no interval" if gain.low is None else "the interval includes 0"
    return f"No gain has been shown: the log loss is lower by {_write_interval(gain)}, and {why}."
