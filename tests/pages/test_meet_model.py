"""The explanation of the model, and the one confirmation before its first opinion."""

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from core.card import Card, ScopeReference, TrainedScale, checkpoint_sha256, model_version
from core.labels import BREAKHIS
from core.settings import Settings
from db import store
from db.values.audit import Action
from db.values.reading import Arm, ModelIdentity
from db.values.studies import StudyPlan
from tests.helpers.app_pages import press, visit, words_on
from tests.helpers.evaluations import made_evaluation, made_images
from tests.helpers.rows import NEWER_MODEL, new_evaluation, out_of_scope
from tests.helpers.world import CARD, World, analyse_all, write_card

_ASKED = "Before you see this model"
_SHOWN = ("Model says", "0.80", "/heatmap", "no opinion**", "patches malignant")


def plain(tab: AppTest) -> str:
    return words_on(tab).replace("\\", "")


def add_case(world: World, seed: int = 1, model: ModelIdentity = NEWER_MODEL) -> int:
    """Take in a case that a model which nobody has met yet calls malignant."""
    case_id = world.add_case(seed)
    analyse_all(world.sessions, 0.8, model=model)
    return case_id


def read_first(case_id: int) -> AppTest:
    return press(visit("read_case.py", case=str(case_id)), "▲", "4", "Save and reveal")


def audited(world: World) -> list[str]:
    with world.sessions.read() as session:
        return [event.action for event in store.audit.audit_trail(session, limit=None)]


def in_service() -> str:
    return model_version(checkpoint_sha256(Settings.from_environment().checkpoint))


def put_card(card: Card) -> None:
    write_card(Settings.from_environment().checkpoint, card)


def test_the_first_opinion_of_a_version_waits_for_one_confirmation(world: World) -> None:
    case_id, before = add_case(world), audited(world).count(Action.MODEL_CONFIRMED)
    tab = read_first(case_id)
    words = plain(tab)
    assert _ASKED in words
    assert "For research use only" in words
    assert not [shown for shown in _SHOWN if shown in words]
    assert Action.REVEALED not in audited(world)
    press(tab, "I have read this")
    words = plain(tab)
    assert "Model says" in words
    assert "/heatmap" in words
    assert audited(world).count(Action.MODEL_CONFIRMED) == before + 1
    press(tab, "Keep mine", "Save and open next case")
    assert "Model says" in plain(read_first(add_case(world, 2))), "once for each version"
    assert world.reads(case_id)[1].model_visible


def test_a_case_without_an_opinion_asks_in_the_same_words(world: World) -> None:
    one = add_case(world)
    other = world.add_case(2)
    analyse_all(world.sessions, model=NEWER_MODEL, result=out_of_scope())
    asked = [[each.value for each in read_first(case_id).markdown][-3:] for case_id in (one, other)]
    assert asked[0] == asked[1]
    assert any(_ASKED in words for words in asked[0])


def test_a_study_asks_only_where_it_shows_the_model(world: World) -> None:
    cases = (add_case(world), add_case(world, 2))
    studies = []
    for name, case_id, arm in zip("ab", cases, (Arm.UNAIDED, Arm.MODEL_FIRST), strict=True):
        with world.sessions.begin() as session:
            plan = StudyPlan(name, (world.reader,), (case_id,), (arm,), 0, seed=1)
            studies.append(store.studies.make_study(session, world.reader, plan))
    assert _ASKED not in plain(visit("read_study.py", study=str(studies[0])))
    tab = visit("read_study.py", study=str(studies[1]))
    assert _ASKED in plain(tab)
    assert not [shown for shown in _SHOWN if shown in plain(tab)]
    assert "Model says" in plain(press(tab, "I have read this"))


def test_the_page_explains_the_model_and_takes_the_confirmation(world: World) -> None:
    scope = ScopeReference(0.8, 1.0, 0.021, 0.1, 240, 24, "one patient left out at a time")
    put_card(replace(CARD, scope=scope, scale=TrainedScale(0.1, 0.5, 0.2)))
    tab = visit("meet_model.py")
    words = plain(tab)
    assert "240 images of 24 patients (BreaKHis)" in words
    assert "demonstration model" in words
    assert "0.1 to 0.5 µm per pixel" in words
    assert "2.1% get no opinion by mistake" in words
    assert "This version has not been evaluated here" in words
    assert "not a diagnosis" in words
    press(tab, "I have read this")
    assert "You have confirmed" in plain(tab)
    with world.sessions.read() as session:
        assert store.models.is_confirmed(session, world.reader, in_service())


def test_the_page_says_that_a_model_without_a_scope_answers_any_picture(world: World) -> None:
    assert "it labels any image" in plain(visit("meet_model.py"))


def test_the_page_says_what_the_model_is_good_and_bad_at(world: World) -> None:
    found = replace(made_evaluation(BREAKHIS), model_version=in_service())
    with world.sessions.begin() as session:
        new = replace(new_evaluation(found.to_json()), model_version=in_service())
        store.evaluations.add_evaluation(session, new, made_images(BREAKHIS))
    words = plain(visit("meet_model.py"))
    assert "On **breakhis**, test" in words
    assert "ductal carcinoma" in words
    assert "Misclassified" in words
    assert "Magnification" in words


@pytest.mark.parametrize("problem", [b"", b"no checkpoint"])
def test_without_a_model_the_page_says_so(world: World, problem: bytes) -> None:
    Settings.from_environment().checkpoint.write_bytes(problem)
    assert "No model is in service" in plain(visit("meet_model.py"))
