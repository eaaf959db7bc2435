"""Marking on the tissue in a real chromium: by mouse and by keyboard, at two zooms, kept in image pixels."""

from math import cos, pi, sin

import pytest
from playwright.sync_api import Page, expect

from tests.browser.viewer.viewing import PAINT, Stage, kept, label, near, open_sheet, paint, press_all, zoom

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_mouse_marks_each_kind_within_a_pixel(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    for turn, scale in enumerate((None, 1.0)):
        screen.keyboard.press("z" if scale else "0")
        zoom(screen)
        stage = Stage(screen)
        screen.keyboard.press("p")
        screen.mouse.click(*stage.at((300, 200), scale))
        screen.keyboard.press("t")
        stage.drag(stage.at((420, 310), scale), stage.at((380, 250), scale))
        screen.get_by_role("button", name="Shape F").click()
        corners = [(250.0, 150.0), (330.0, 150.0), (330.0, 190.0), (250.0, 190.0)]
        for corner in corners:
            screen.mouse.click(*stage.at(corner, scale))
        screen.mouse.click(*stage.at(corners[0], scale))  # back at the first one, which closes it
        point, box, shape = kept(screen, 3 * (turn + 1))[-3:]
        assert [point.kind, box.kind, shape.kind] == ["point", "box", "shape"]
        assert near(point.points, [(300, 200)])
        assert near(box.points, [(380, 250), (420, 310)])
        assert near(shape.points, corners)


def test_a_long_outline_keeps_its_form_in_few_points(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    stage = Stage(screen)
    screen.keyboard.press("f")
    turns = [at * pi / 110 for at in range(220)]
    stage.drag(*(stage.at((350 + 90 * cos(turn), 230 + 90 * sin(turn))) for turn in turns))
    points = kept(screen, 1)[0].points
    assert 20 < len(points) <= 200
    assert all(abs(((x - 350) ** 2 + (y - 230) ** 2) ** 0.5 - 90) < 2 for x, y in points)


def test_the_keyboard_marks_each_kind_at_the_cross(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    screen.keyboard.press("z")
    zoom(screen)
    press_all(screen, "p", "Space")
    assert near(kept(screen, 1)[0].points, [(350, 230)])
    press_all(screen, "t", "Space", "ArrowRight", "ArrowRight", "ArrowDown", "Enter")
    assert near(kept(screen, 2)[1].points, [(350, 230), (430, 270)])
    press_all(screen, "f", "Space", "ArrowLeft", "Space", "ArrowUp", "Space", "Enter")
    assert near(kept(screen, 3)[2].points, [(430, 270), (390, 270), (390, 230)])
    press_all(screen, "l", "Space", "ArrowRight", "ArrowDown", "Enter")
    assert near(kept(screen, 4)[3].points, [(390, 230), (430, 270)])
    assert label(screen) == "image 1 of 4", "while a tool is in the hand the arrows move the tissue"
    expect(screen.get_by_text("saved 0 times")).to_be_visible()
    press_all(screen, "p", "Escape", "Enter")
    expect(screen.get_by_text("saved 1 times")).to_be_visible()
    assert len(kept(screen, 4)) == 4


def test_a_mark_can_be_noted_deleted_and_brought_back(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    press_all(screen, "p", "Space", "t", "Space", "ArrowRight", "ArrowDown", "Space")
    kept(screen, 2)
    screen.keyboard.press("e")
    screen.keyboard.type("spindle cells, ptf")  # letters that are tools elsewhere
    screen.keyboard.press("Enter")
    expect(screen.get_by_test_id("stText")).to_contain_text("spindle cells, ptf")
    expect(screen.get_by_text("saved 0 times")).to_be_visible()
    screen.get_by_role("button", name="Delete mark 1").click()
    assert [mark.kind for mark in kept(screen, 1)] == ["box"]
    screen.keyboard.press("Control+z")
    assert [(mark.kind, mark.note) for mark in kept(screen, 2)] == [("point", ""), ("box", "spindle cells, ptf")]
    screen.keyboard.press("Control+z")
    assert [mark.kind for mark in kept(screen, 1)] == ["point"]


def test_a_mark_belongs_to_its_image_and_comes_back_after_a_reload(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    screen.keyboard.press("ArrowRight")
    zoom(screen)
    press_all(screen, "p", "Space")
    before = kept(screen, 1)
    assert before[0].image_id == 2
    assert paint(screen)[0] > 0
    screen.keyboard.press("ArrowLeft")
    zoom(screen)
    assert paint(screen)[0] == 0
    screen.get_by_role("button", name="Show mark 1").click()
    assert label(screen) == "image 2 of 4"
    screen.reload()
    assert kept(screen, 1) == before
    open_sheet(screen, viewer_address, "final")  # another window saved the first opinion meanwhile
    assert kept(screen, 1) == before


def test_saved_marks_and_those_of_others_are_seen_and_stay(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address, "saved&others=1")
    screen.wait_for_function(f"({PAINT})()[0] > 0")
    assert paint(screen)[0] > 0
    expect(screen.get_by_role("button", name="Show the marks of reader 2")).to_be_visible()
    expect(screen.get_by_role("button", name="Point")).to_be_hidden()
    press_all(screen, "p", "Space")
    kept(screen, 0)
