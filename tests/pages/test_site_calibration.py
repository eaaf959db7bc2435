"""Fitting the model in service to this site on the Models page: refused, compared, written, and listed."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from core.card import checkpoint_sha256, model_version, read_card
from core.labels import Malignancy
from core.results import Prediction
from core.settings import Settings
from core.statistics.resampling import Interval
from db import store, tables
from db.values.accounts import Role
from db.values.audit import Action
from db.values.reading import ModelIdentity
from pages.ui.models.site_calibration import write_gain
from service.worker.process import identify_model
from tests.helpers.app_pages import press, visit, words_on
from tests.helpers.rows import analysis, sign_off_row
from tests.helpers.world import CARD, World, add_person, analyse_each, make_case

BALANCED: tuple[Malignancy, ...] = ("benign", "malignant") * 15


def _checkpoint() -> Path:
    return Settings.from_environment().checkpoint


def _add_signed(world: World, *labels: Malignancy) -> None:
    """Add signed-off cases of which the model in service is far too sure, and wrong of every fifth."""
    version = model_version(checkpoint_sha256(_checkpoint()))
    for number, label in enumerate(labels):
        right = 0.985 + 0.0003 * number
        probability = right if (label == "malignant") == (number % 5 > 0) else 1 - right
        with world.sessions.begin() as session:
            case_id = make_case(session, world.reader)
            job = store.jobs.claim_job(session, "w")
            assert job is not None
            said = Prediction(CARD.label_set, (1 - probability, probability), CARD.threshold, 1, 1)
            model = ModelIdentity(version, CARD.name, demonstration=True)
            result = replace(analysis(), prediction=said)
            store.jobs.finish_job(session, job, "w", result, model=model, heatmap=None)
        row = sign_off_row(case_id, world.reader)
        row.label = label
        world.add(row)


def _fitted() -> list[Path]:
    return sorted(Settings.from_environment().fitted_checkpoints.glob("*"))


def test_below_thirty_cases_nothing_is_fitted_and_the_page_says_how_many_are_missing(world: World) -> None:
    _add_signed(world, "benign", "benign", "benign", "malignant")
    with world.sessions.begin() as session:
        make_case(session, world.reader)  # not signed off
    analyse_each(world.sessions, analysis())
    tab = visit("models.py")
    words = words_on(tab)
    assert "4 cases so far: 1 malignant, 3 benign. At least 30 are needed, 5 of each label" in words
    assert "still needed: 26 more cases, including 4 malignant and 2 benign." in words
    assert not [button for button in tab.button if button.label == "Fit and compare"]


def test_what_was_fitted_becomes_a_checkpoint_of_its_own_and_the_old_one_stays(world: World) -> None:
    _add_signed(world, *BALANCED)
    before = _checkpoint().read_bytes()
    tab = press(visit("models.py"), "Fit and compare")
    words = words_on(tab)
    assert "Log loss by case" in words
    assert "The log loss is lower by" in words
    assert _fitted() == []
    press(tab, "Write as a new checkpoint")
    (written,) = _fitted()
    assert _checkpoint().read_bytes() == before
    card = read_card(written)
    version = model_version(checkpoint_sha256(_checkpoint()))
    assert card.site is not None
    assert (card.site.origin, card.site.cases, card.site.malignant) == (version, 30, 15)
    assert card.site.temperature > 1
    assert identify_model("0" * 12, card).network == version, "embeddings stay comparable"
    assert card.name == f"{CARD.name}, fitted to this site"
    assert [metric.name for metric in card.metrics[:2]] == ["AUC by case", "log loss by case"]
    assert written.name in words_on(tab)
    assert "Fitted to this site" in words_on(tab), "its card is among the other checkpoints"
    assert store_in_service(world) is None
    with world.sessions.read() as session:
        query = select(tables.AuditEvent.subject).where(tables.AuditEvent.action == Action.SITE_CALIBRATED)
        (subject,) = session.scalars(query).all()
    assert subject.startswith(f"{version} -> {model_version(checkpoint_sha256(written))}: 30 cases, temperature ")


def store_in_service(world: World) -> object:
    with world.sessions.read() as session:
        return store.models.in_service(session)


def test_a_full_disk_is_told_and_nothing_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _add_signed(world, *BALANCED)
    tab = press(visit("models.py"), "Fit and compare")
    Settings.from_environment().fitted_checkpoints.touch()  # a file where the folder should be
    assert "Nothing was written: cannot write a checkpoint" in words_on(press(tab, "Write as a new checkpoint"))


def test_only_administrators_are_offered_it(world: World) -> None:
    with world.sessions.begin() as session:
        add_person(session, "dr. b", Role.READER)
    tab: AppTest = visit("models.py")
    assert "Fit to this site" not in words_on(tab)


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Interval(0.05, 0.01, 0.09), "The log loss is lower by 0.050"),
        (Interval(0.01, -0.03, 0.05), "and the interval includes 0."),
        (Interval(-0.05, -0.09, -0.01), "makes the model worse: the log loss is higher by 0.050 "),
        (Interval(0.05, None, None), "and there is no interval."),
    ],
)
def test_what_a_fit_gains_is_said_as_it_was_measured(gain: Interval, words: str) -> None:
    assert words in write_gain(gain)
