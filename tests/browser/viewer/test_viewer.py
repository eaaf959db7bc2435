"""The viewer in a real chromium: tissue, evidence, and the keys."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.viewer.viewing import PAINT, label, open_case, open_sheet, paint, wait_for_rest, zoom

pytestmark = [pytest.mark.browser, pytest.mark.slow]
_SMOOTH = "() => document.querySelector('.sr-tissue canvas').getContext('2d').imageSmoothingEnabled"


def test_h_takes_the_evidence_off_the_tissue_and_puts_it_back_at_the_same_place(
    screen: Page, viewer_address: str
) -> None:
    open_case(screen, viewer_address, revealed=True)
    screen.keyboard.press("z")
    shown = zoom(screen)
    before = paint(screen)
    screen.keyboard.press("h")
    assert paint(screen)[0] == 0
    screen.keyboard.press("h")
    assert paint(screen) == before
    assert zoom(screen) == shown == "100%"


def test_the_strongest_evidence_has_the_last_colour_of_cividis(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    _, opacity, *colour = paint(screen)
    assert opacity == pytest.approx(0.5 * 255, abs=3)
    assert colour == pytest.approx([254, 232, 56], abs=8)


def test_brackets_change_the_opacity_within_its_limits(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    screen.keyboard.press("]")
    assert paint(screen)[1] == pytest.approx(0.6 * 255, abs=3)
    for _ in range(9):
        screen.keyboard.press("[")
    assert paint(screen)[0] == 0
    assert screen.locator(".sr-tools input").input_value() == "0"


def test_k_draws_the_contour_alone_and_says_where_it_runs(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    everything = paint(screen)[0]
    screen.keyboard.press("h")
    screen.keyboard.press("k")
    expect(screen.locator(".sr-note")).to_have_text("Contour at 0 logits")
    assert 0 < paint(screen)[0] < everything / 5
    screen.keyboard.press("k")
    expect(screen.locator(".sr-note")).to_be_empty()
    assert paint(screen)[0] == 0


def test_the_scale_names_its_ends_and_its_zero(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    scale = screen.locator(".sr-scale")
    expect(scale).to_contain_text("Evidence for malignancy (logits)")
    expect(scale.locator(".sr-low")).to_have_text("−2.4")
    expect(scale.locator(".sr-high")).to_have_text("3.6")
    assert scale.locator(".sr-zero").evaluate("mark => mark.style.left") == "40%"


def test_arrows_and_thumbnails_switch_the_image(screen: Page, viewer_address: str) -> None:
    asked = open_case(screen, viewer_address, revealed=True)
    screen.keyboard.press("ArrowRight")
    assert label(screen) == "image 2 of 4"
    screen.get_by_role("button", name="image 4 of 4").click()
    assert label(screen) == "image 4 of 4"
    screen.keyboard.press("ArrowRight")
    assert label(screen) == "image 4 of 4"
    screen.keyboard.press("ArrowLeft")
    expect(screen.locator(".sr-strip [aria-current=true]")).to_have_attribute("aria-label", "image 3 of 4")
    screen.wait_for_function(f"({PAINT})()[0] > 0")
    assert "/images/4/heatmap" in asked


def test_keys_typed_into_a_note_stay_in_the_note(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    before, shown = paint(screen), zoom(screen)
    note = screen.get_by_label("note")
    note.press_sequentially("hkz0+[]")
    note.press("ArrowLeft")
    expect(note).to_have_value("hkz0+[]")
    assert paint(screen) == before
    assert (zoom(screen), label(screen)) == (shown, "image 1 of 4")


def test_a_choice_with_the_focus_keeps_its_arrows_but_not_the_letters(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    screen.get_by_role("radio", name="benign").focus()
    screen.keyboard.press("h")
    assert paint(screen)[0] == 0
    screen.keyboard.press("ArrowRight")
    assert label(screen) == "image 1 of 4"


def test_a_combination_with_control_is_left_to_the_browser(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    before = paint(screen)
    screen.keyboard.press("Control+h")
    screen.keyboard.press("Control+k")
    assert paint(screen) == before


def test_the_keys_of_the_page_do_not_move_the_tissue(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=False)
    screen.locator(".openseadragon-canvas").first.click()
    screen.keyboard.press("z")
    zoom(screen)
    before = screen.locator(".sr-stage").screenshot()
    for key in "bmxadnwsrf12345":
        screen.keyboard.press(key)
    zoom(screen)
    assert screen.locator(".sr-stage").screenshot() == before


def test_scrolling_zooms_dragging_pans_and_0_fits_again(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=False)
    fitted = zoom(screen)
    expect(screen.locator(".navigator")).to_be_hidden()
    screen.mouse.move(400, 350)
    screen.mouse.wheel(0, -400)
    assert zoom(screen) != fitted
    expect(screen.locator(".navigator")).to_be_visible()
    before = screen.locator(".sr-stage").screenshot()
    screen.mouse.down()
    screen.mouse.move(300, 300, steps=5)
    screen.mouse.up()
    wait_for_rest(screen)
    assert screen.locator(".sr-stage").screenshot() != before
    screen.keyboard.press("0")
    assert zoom(screen) == fitted


def test_pixels_are_seen_as_pixels_above_200_percent(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=False)
    screen.keyboard.press("z")
    zoom(screen)
    assert screen.evaluate(_SMOOTH) is True
    screen.keyboard.press("+")
    screen.keyboard.press("+")
    assert zoom(screen) == "225%"
    assert screen.evaluate(_SMOOTH) is False


@pytest.mark.parametrize("width", [900, 420])
def test_a_narrow_window_shows_every_tool(screen: Page, viewer_address: str, width: int) -> None:
    screen.set_viewport_size({"width": width, "height": 800})
    open_sheet(screen, viewer_address, "1&map=1&unlike=1")
    screen.get_by_role("button", name="image 2 of 4").click()
    expect(screen.get_by_role("button", name="Scope")).to_be_visible()
    assert screen.evaluate(
        "() => { const v = document.querySelector('.sr-viewer'); return v.scrollWidth <= v.clientWidth; }"
    )
    for tool in screen.locator(".sr-tools button").all():
        expect(tool).to_be_in_viewport(ratio=1)


def test_every_word_of_the_viewer_is_at_least_14_px(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    sizes = screen.locator(".sr-viewer *").evaluate_all(
        """all => all.filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
                     .map(one => parseFloat(getComputedStyle(one).fontSize))"""
    )
    assert len(sizes) > 10
    assert min(sizes) >= 14


def test_enter_saves_the_read_and_does_not_press_the_tool_clicked_before(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    screen.get_by_role("button", name="Map").click()
    assert paint(screen)[0] == 0
    screen.keyboard.press("Enter")
    expect(screen.get_by_text("saved 1 times")).to_be_visible()
    assert paint(screen)[0] == 0


def test_a_tool_pressed_from_the_keyboard_does_not_save_the_read(screen: Page, viewer_address: str) -> None:
    open_case(screen, viewer_address, revealed=True)
    screen.get_by_role("button", name="Map").focus()
    screen.keyboard.press("Enter")
    assert paint(screen)[0] == 0
    screen.get_by_label("note").fill("a rerun")
    screen.get_by_label("note").press("Control+Enter")
    expect(screen.get_by_text("note is 'a rerun'")).to_be_visible()
    expect(screen.get_by_text("saved 0 times")).to_be_visible()
