"""The scale bar and the ruler in a real chromium: what they say is what the pixels of the image measure."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.viewer.viewing import Stage, kept, near, open_sheet, press_all, zoom

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_UNITS = {"µm": 1.0, "mm": 1000.0}


def bar(screen: Page) -> tuple[float, float]:
    """Return what the scale bar says in micrometres, and its width on the screen in pixels."""
    words = screen.locator(".sr-length span").first.inner_text()
    number, unit = words.split(" ")
    box = screen.locator(".sr-length i").bounding_box()
    assert box is not None
    return float(number) * _UNITS[unit], box["width"]


def test_the_scale_bar_follows_the_zoom_in_round_lengths(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address, "1&scale=0.5")
    said = set()
    for _ in range(9):
        shown = float(zoom(screen).rstrip("%")) / 100  # screen pixels for each of the image's
        um, width = bar(screen)
        assert width == pytest.approx(um / 0.5 * shown, rel=0.02)
        assert 50 <= width <= 142
        assert re.fullmatch(r"[125]0*(\.0)?", str(um * 10))
        said.add(um)
        screen.keyboard.press("+")
    assert len(said) > 3
    expect(screen.get_by_role("img", name="0.5 µm per pixel, from the TIFF's tags")).to_be_visible()


def test_a_measured_length_is_written_at_its_line_and_stays_right_at_any_zoom(
    screen: Page, viewer_address: str
) -> None:
    open_sheet(screen, viewer_address, "1&scale=0.5")
    stage = Stage(screen)
    screen.keyboard.press("l")
    stage.drag(stage.at((100, 100)), stage.at((200, 150)), stage.at((400, 200)))
    (line,) = kept(screen, 1)
    assert line.kind == "line"
    assert near(line.points, [(100, 100), (400, 200)])
    expect(screen.get_by_role("button", name="Show mark 1")).to_have_text("1 length 158 µm · image 1")
    screen.keyboard.press("z")
    expect(screen.get_by_role("button", name="Show mark 1")).to_have_text("1 length 158 µm · image 1")
    # A scale that the file states is not overwritten by the way.
    expect(screen.get_by_label("Known length of mark 1 in µm")).to_have_count(0)
    screen.keyboard.press("Control+z")
    kept(screen, 0)


def test_without_a_scale_there_are_no_micrometres_until_a_known_length_gives_one(
    screen: Page, viewer_address: str
) -> None:
    open_sheet(screen, viewer_address)
    expect(screen.get_by_role("img", name="Scale unknown")).to_be_visible()
    screen.keyboard.press("z")
    zoom(screen)
    press_all(screen, "l", "Space", "ArrowRight", "ArrowRight", "Space")
    kept(screen, 1)
    expect(screen.get_by_role("button", name="Show mark 1")).to_have_text("1 length 80 px · image 1")
    screen.get_by_label("Known length of mark 1 in µm").fill("20")
    screen.keyboard.press("Enter")
    expect(screen.get_by_role("button", name="Show mark 1")).to_have_text("1 length 20 µm · image 1")
    assert bar(screen)[0] == 20
    expect(screen.get_by_text("saved 0 times")).to_be_visible()
    # Who has mistyped it can type it again.
    screen.get_by_label("Known length of mark 1 in µm").fill("40")
    screen.keyboard.press("Enter")
    expect(screen.get_by_role("button", name="Show mark 1")).to_have_text("1 length 40 µm · image 1")


def test_where_the_scale_is_settled_a_line_cannot_change_it(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address, "final")
    press_all(screen, "l", "Space", "ArrowRight", "Space")
    kept(screen, 1)
    expect(screen.get_by_role("img", name="Scale unknown")).to_be_visible()
    expect(screen.get_by_label("Known length of mark 1 in µm")).to_have_count(0)
