"""The viewer and the page around it in a real chromium: reveal, reruns, and what is asked of the network."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.viewer.viewing import PAINT, label, open_case, paint, zoom

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_nothing_of_the_model_is_asked_for_or_shown_before_the_reveal(screen: Page, viewer_address: str) -> None:
    asked: list[str] = []
    screen.on("request", lambda request: asked.append(request.url))
    open_case(screen, viewer_address, revealed=False)
    expect(screen.locator(".sr-map-tools")).to_be_hidden()
    expect(screen.locator(".sr-scale")).to_be_hidden()
    for key in "hk[]":
        screen.keyboard.press(key)
    assert paint(screen)[0] == 0
    assert any(url.endswith("/images/1") for url in asked)
    assert not any("heatmap" in url for url in asked)


def test_every_request_stays_on_our_own_address(screen: Page, viewer_address: str) -> None:
    asked: list[str] = []
    screen.on("request", lambda request: asked.append(request.url))
    open_case(screen, viewer_address, revealed=True)
    screen.keyboard.press("ArrowRight")
    expect(screen.locator(".sr-words strong")).to_have_text("image 2 of 4")
    screen.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith((viewer_address, "blob:", "data:"))] == []


def test_a_rerun_keeps_the_place_and_loads_nothing_again(screen: Page, viewer_address: str) -> None:
    asked = open_case(screen, viewer_address, revealed=True)
    screen.keyboard.press("ArrowRight")
    screen.wait_for_load_state("networkidle")
    screen.keyboard.press("z")
    screen.keyboard.press("]")
    place = zoom(screen), label(screen), paint(screen)
    screen.evaluate("() => { document.querySelector('.sr-tissue canvas').marked = true; }")
    asked.clear()
    screen.get_by_label("note").fill("seen")
    screen.get_by_label("note").press("Control+Enter")
    expect(screen.get_by_text("note is 'seen'")).to_be_visible()
    assert (zoom(screen), label(screen), paint(screen)) == place
    assert screen.evaluate("() => document.querySelector('.sr-tissue canvas').marked") is True
    assert [path for path in asked if path.startswith(("/images", "/assets"))] == []


def test_the_reveal_keeps_the_place_and_brings_only_the_map(screen: Page, viewer_address: str) -> None:
    asked = open_case(screen, viewer_address, revealed=False)
    screen.keyboard.press("z")
    shown = zoom(screen)
    screen.get_by_text("reveal").click()
    screen.wait_for_function(f"({PAINT})()[0] > 0")
    assert zoom(screen) == shown
    assert [path for path in asked if path.startswith(("/images", "/assets"))] == ["/images/1/heatmap"]


def test_an_image_that_cannot_be_loaded_says_so_and_the_others_still_open(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=False)
    screen.get_by_text("damaged").click()
    expect(screen.locator(".sr-message")).to_have_text("The image could not be loaded. Reload the page.")
    screen.keyboard.press("ArrowRight")
    expect(screen.locator(".sr-message")).to_be_empty()


def test_a_map_that_cannot_be_loaded_leaves_the_tissue_to_be_read(screen: Page, viewer_address: str) -> None:
    screen.route("**/heatmap", lambda route: route.fulfill(status=403))
    screen.goto(f"{viewer_address}/?map=1")
    expect(screen.locator(".sr-note")).to_have_text("The map could not be loaded. Reload the page.")
    expect(screen.locator(".sr-zoom")).to_have_text(re.compile(r"\d+%"))
    expect(screen.locator(".sr-message")).to_be_empty()
