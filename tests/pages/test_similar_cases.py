"""Similar cases below the tissue: after the reveal, without a name, and never in a study."""

import pytest
from sqlalchemy import select

from db import store, tables
from db.values.audit import Action
from db.values.reading import Arm
from db.values.studies import StudyPlan
from tests.helpers.app_pages import open_case, press, visit, words_on
from tests.helpers.rows import MALIGNANT, OPENED, sign_off_row
from tests.helpers.world import World

TITLE = "Similar signed-off cases"


@pytest.fixture
def case_id(world: World) -> int:
    """A case to read, and one that was signed off as benign with an image that lies near; its number is telltale."""
    signed = world.add_case(1, accession="S24-TELLTALE")
    made = world.add_case(2)
    world.analyse()
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, signed, world.reader, MALIGNANT, OPENED)
        store.reads.record_final_read(session, signed, world.reader, MALIGNANT, OPENED)
    world.add(sign_off_row(signed, world.reader))
    return made


def test_a_similar_case_is_shown_after_the_reveal_and_not_before(world: World, case_id: int) -> None:
    tab = open_case(case_id)
    before = words_on(press(tab, "▲", "4"))
    assert not [word for word in (TITLE, "images/1/thumbnail", "imilar", "distance 0") if word in before]
    after = words_on(press(tab, "Save and reveal"))
    assert TITLE in after
    assert "images/1/thumbnail" in after
    assert "○ benign" in after, "the label that was signed, in a word"
    assert "100X, distance 0." in after.replace("<br>", ", ")
    assert "TELLTALE" not in after
    with world.sessions.read() as session:
        query = select(tables.AuditEvent.subject).where(tables.AuditEvent.action == Action.SIMILAR_SHOWN)
        assert session.scalars(query).all() == ["C-0001"]


@pytest.mark.parametrize("arm", [Arm.BLIND_FIRST, Arm.MODEL_FIRST])
def test_a_study_shows_no_similar_case(world: World, case_id: int, arm: Arm) -> None:
    plan = StudyPlan("pilot", (world.reader,), (case_id,), (arm,), 0, seed=7)
    with world.sessions.begin() as session:
        study = store.studies.make_study(session, world.reader, plan)
    tab = visit("read_study.py", study=str(study))
    shown = words_on(tab if arm is Arm.MODEL_FIRST else press(tab, "▲", "4", "Save and reveal"))
    assert "Model says" in shown
    assert "imilar" not in shown


def test_without_a_case_to_compare_with_there_is_nothing(world: World) -> None:
    lone = world.add_case(1)
    world.analyse()
    assert "imilar" not in words_on(press(open_case(lone), "▲", "4", "Save and reveal"))


def test_a_case_analysed_before_embeddings_were_stored_says_so(world: World, case_id: int) -> None:
    with world.sessions.begin() as session:
        for trigger in ("no_update", "no_delete"):
            session.connection().exec_driver_sql(f"DROP TRIGGER image_embeddings_{trigger}")
        newest = select(tables.ImageEmbedding).order_by(tables.ImageEmbedding.id.desc()).limit(1)
        session.delete(session.scalars(newest).one())
    words = words_on(press(open_case(case_id), "▲", "4", "Save and reveal"))
    assert "this case was analysed before" in words
    assert TITLE not in words
