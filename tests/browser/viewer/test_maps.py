"""The map of where an image is unlike the training images, beside the heat map and in its place."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.viewer.viewing import PAINT, label, open_case, paint

pytestmark = [pytest.mark.browser, pytest.mark.slow]
_GREEN = [60, 255, 120]


def _show_image(screen: Page, address: str, number: int) -> list[str]:
    asked = open_case(screen, address, revealed=True, more="&unlike=1")
    for _ in range(number - 1):
        screen.keyboard.press("ArrowRight")
    assert label(screen) == f"image {number} of 4"
    screen.wait_for_function(f"({PAINT})()[0] > 0")
    return asked


def test_j_changes_between_the_heat_map_and_where_the_image_is_unlike_the_training_images(
    screen: Page, viewer_address: str
) -> None:
    _show_image(screen, viewer_address, 2)
    evidence = paint(screen)
    legend = screen.locator(".sr-scale")
    screen.keyboard.press("j")
    expect(legend).to_contain_text("Difference from the training images (scaled to this image)")
    expect(legend.locator(".sr-high")).to_have_text("more")
    screen.wait_for_function(f"({PAINT})()[0] > 0")
    assert paint(screen)[2:] == pytest.approx(_GREEN, abs=8)
    expect(screen.get_by_role("button", name="Scope")).to_have_attribute("aria-pressed", "true")
    screen.keyboard.press("j")
    expect(legend).to_contain_text("Evidence for malignancy (logits)")
    screen.wait_for_function(f"({PAINT})()[0] > 0")
    assert paint(screen) == evidence


def test_h_and_k_act_on_the_map_that_is_shown(screen: Page, viewer_address: str) -> None:
    _show_image(screen, viewer_address, 2)
    screen.keyboard.press("j")
    screen.wait_for_function(f"({PAINT})()[0] > 0")
    screen.keyboard.press("h")
    assert paint(screen)[0] == 0
    expect(screen.get_by_role("button", name="Scope")).to_have_attribute("aria-pressed", "false")
    screen.keyboard.press("k")
    expect(screen.locator(".sr-note")).to_have_text("Contour at the upper quartile")
    screen.keyboard.press("k")
    screen.keyboard.press("j")
    assert paint(screen)[2:] == pytest.approx(_GREEN, abs=8)


def test_without_an_opinion_only_the_map_of_where_is_there(screen: Page, viewer_address: str) -> None:
    _show_image(screen, viewer_address, 3)
    assert paint(screen)[2:] == pytest.approx(_GREEN, abs=8)
    screen.keyboard.press("j")
    assert paint(screen)[0] == 0
    screen.keyboard.press("j")
    assert paint(screen)[0] > 0


def test_an_image_like_the_training_images_has_no_such_button(screen: Page, viewer_address: str) -> None:
    asked = _show_image(screen, viewer_address, 1)
    expect(screen.get_by_role("button", name="Scope")).to_be_hidden()
    before = paint(screen)
    screen.keyboard.press("j")
    assert paint(screen) == before
    assert not [path for path in asked if path.endswith("/scope-map")]
