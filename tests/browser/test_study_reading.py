"""A reader goes through a study by touch on a telephone: the model after each first opinion, then the next case."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from db import store
from db.values.reading import Arm, Stage
from db.values.studies import StudyPlan
from tests.browser.conftest import serve
from tests.helpers.browser_steps import chosen, open_app, picture, tap, within_reach
from tests.helpers.world import World, open_world

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def _plan(world: World) -> None:
    cases = tuple(world.add_case(seed) for seed in (1, 2))
    world.analyse(0.8125)
    with world.sessions.begin() as session:
        store.studies.make_study(session, world.reader, StudyPlan("pilot", (world.reader,), cases, (Arm.BLIND_FIRST,)))


def _read_case(page: Page, number: int) -> None:
    expect(page.get_by_text(f"case {number} of 2")).to_be_visible()
    within_reach(page)
    picture(page, f"narrow study, case {number}")
    tap(page, "malignant")
    chosen(page, "malignant")
    tap(page, "4", exact=True)
    chosen(page, "4")
    tap(page, "Save and reveal")
    expect(page.get_by_text("Model says")).to_be_visible()
    within_reach(page)
    picture(page, f"narrow study, final opinion of case {number}")
    tap(page, "Keep mine")
    chosen(page, "Keep mine")
    tap(page, "Save and open next case")


def test_a_study_is_read_by_touch_on_a_telephone(telephone: Page, tmp_path: Path, checkpoint: Path) -> None:
    page = telephone
    with open_world(tmp_path) as world:
        _plan(world)
        with serve(tmp_path, checkpoint) as server:
            open_app(page, server, "studies")
            within_reach(page)
            picture(page, "narrow studies with a study")
            open_app(page, server, "read_study")
            within_reach(page)
            tap(page, "Start")
            for number in (1, 2):
                _read_case(page, number)
            expect(page.get_by_text("all cases read, thank you")).to_be_visible()
            within_reach(page)
        with world.sessions.begin() as session:
            (study,) = store.study_reading.own_studies(session, world.reader)
            store.studies.close_study(session, world.reader, study.id)
            reads = store.reads.own_reads(session, world.reader)
    assert sorted(read.stage for read in reads) == [Stage.FINAL, Stage.FINAL, Stage.FIRST, Stage.FIRST]
