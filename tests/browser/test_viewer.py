"""The viewer in a real chromium: tissue, evidence, keys, reruns, and what it asks the network for."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_ROOT = Path(__file__).resolve().parents[2]
_APP = Path(__file__).with_name("viewer_app.py")
# The painted part of the overlay: how many pixels, how opaque the most opaque is, and the colour of that one.
_PAINT = """() => {
  const canvas = document.querySelector(".sr-overlay");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let painted = 0, top = 3;
  for (let at = 3; at < data.length; at += 4) { painted += data[at] > 0; if (data[at] > data[top]) top = at; }
  return [painted, data[top], data[top - 3], data[top - 2], data[top - 1]];
}"""
_SMOOTH = "() => document.querySelector('.sr-tissue canvas').getContext('2d').imageSmoothingEnabled"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The viewer's app on a free loopback port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = ["--server.address=127.0.0.1", "--server.headless=true", "--browser.gatherUsageStats=false"]
    command = [sys.executable, "-m", "streamlit", "run", str(_APP), f"--server.port={port}", *flags]
    environment = os.environ | {"PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=subprocess.DEVNULL) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            time.sleep(0.25)
        else:
            return
    pytest.fail(f"no answer from {url}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        system = Path("/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=system if system.exists() else None, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def screen(chromium: Browser) -> Iterator[Page]:
    """A page whose errors fail its test."""
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


def _open(screen: Page, address: str, *, revealed: bool) -> list[str]:
    """Show the case and return the list in which the paths of all later requests appear."""
    screen.goto(f"{address}/?map=1" if revealed else address)
    expect(screen.locator(".sr-zoom")).to_have_text(re.compile(r"\d+ %"), timeout=30_000)
    if revealed:
        screen.wait_for_function(f"({_PAINT})()[0] > 0")
    screen.wait_for_load_state("networkidle")
    asked: list[str] = []
    screen.on("request", lambda request: asked.append(urlsplit(request.url).path))
    return asked


def _paint(screen: Page) -> list[int]:
    screen.wait_for_timeout(150)
    painted: list[int] = screen.evaluate(_PAINT)
    return painted


def _zoom(screen: Page) -> str:
    screen.wait_for_timeout(700)
    return screen.locator(".sr-zoom").inner_text()


def _label(screen: Page) -> str:
    return screen.locator(".sr-words strong").inner_text()


def test_nothing_of_the_model_is_asked_for_or_shown_before_the_reveal(screen: Page, address: str) -> None:
    asked: list[str] = []
    screen.on("request", lambda request: asked.append(request.url))
    _open(screen, address, revealed=False)
    expect(screen.locator(".sr-map-tools")).to_be_hidden()
    expect(screen.locator(".sr-scale")).to_be_hidden()
    for key in "hk[]":
        screen.keyboard.press(key)
    assert _paint(screen)[0] == 0
    assert any(url.endswith("/images/1") for url in asked)
    assert not any("heatmap" in url for url in asked)


def test_every_request_stays_on_our_own_address(screen: Page, address: str) -> None:
    asked: list[str] = []
    screen.on("request", lambda request: asked.append(request.url))
    _open(screen, address, revealed=True)
    screen.keyboard.press("ArrowRight")
    expect(screen.locator(".sr-words strong")).to_have_text("image 2 of 4")
    screen.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []


def test_h_takes_the_evidence_off_the_tissue_and_puts_it_back_at_the_same_place(screen: Page, address: str) -> None:
    _open(screen, address, revealed=True)
    screen.keyboard.press("z")
    zoom = _zoom(screen)
    before = _paint(screen)
    screen.keyboard.press("h")
    assert _paint(screen)[0] == 0
    screen.keyboard.press("h")
    assert _paint(screen) == before
    assert _zoom(screen) == zoom == "100 %"


def test_the_strongest_evidence_has_the_last_colour_of_cividis(screen: Page, address: str) -> None:
    _open(screen, address, revealed=True)
    _, opacity, *colour = _paint(screen)
    assert opacity == pytest.approx(0.5 * 255, abs=3)
    assert colour == pytest.approx([254, 232, 56], abs=8)


def test_brackets_change_the_opacity_within_its_limits(screen: Page, address: str) -> None:
    _open(screen, address, revealed=True)
    screen.keyboard.press("]")
    assert _paint(screen)[1] == pytest.approx(0.6 * 255, abs=3)
    for _ in range(9):
        screen.keyboard.press("[")
    assert _paint(screen)[0] == 0
    assert screen.locator(".sr-tools input").input_value() == "0"


def test_k_draws_the_contour_alone_and_says_where_it_runs(screen: Page, address: str) -> None:
    _open(screen, address, revealed=True)
    everything = _paint(screen)[0]
    screen.keyboard.press("h")
    screen.keyboard.press("k")
    expect(screen.locator(".sr-note")).to_have_text("contour at 0 logits")
    assert 0 < _paint(screen)[0] < everything / 5
    screen.keyboard.press("k")
    expect(screen.locator(".sr-note")).to_be_empty()
    assert _paint(screen)[0] == 0


def test_the_scale_names_its_ends_and_its_zero(screen: Page, address: str) -> None:
    _open(screen, address, revealed=True)
    scale = screen.locator(".sr-scale")
    expect(scale).to_contain_text("evidence for malignant, logits")
    expect(scale.locator(".sr-low")).to_have_text("−2.4")
    expect(scale.locator(".sr-high")).to_have_text("3.6")
    assert scale.locator(".sr-zero").evaluate("mark => mark.style.left") == "40%"


def test_arrows_and_thumbnails_switch_the_image(screen: Page, address: str) -> None:
    asked = _open(screen, address, revealed=True)
    screen.keyboard.press("ArrowRight")
    assert _label(screen) == "image 2 of 4"
    screen.get_by_role("button", name="image 4 of 4").click()
    assert _label(screen) == "image 4 of 4"
    screen.keyboard.press("ArrowRight")
    assert _label(screen) == "image 4 of 4"
    screen.keyboard.press("ArrowLeft")
    expect(screen.locator(".sr-strip [aria-current=true]")).to_have_attribute("aria-label", "image 3 of 4")
    screen.wait_for_function(f"({_PAINT})()[0] > 0")
    assert "/images/4/heatmap" in asked


def test_keys_typed_into_a_note_stay_in_the_note(screen: Page, address: str) -> None:
    _open(screen, address, revealed=True)
    before, zoom = _paint(screen), _zoom(screen)
    note = screen.get_by_label("note")
    note.press_sequentially("hkz0+[]")
    note.press("ArrowLeft")
    expect(note).to_have_value("hkz0+[]")
    assert _paint(screen) == before
    assert (_zoom(screen), _label(screen)) == (zoom, "image 1 of 4")


def test_a_choice_with_the_focus_keeps_its_arrows_but_not_the_letters(screen: Page, address: str) -> None:
    _open(screen, address, revealed=True)
    screen.get_by_role("radio", name="benign").focus()
    screen.keyboard.press("h")
    assert _paint(screen)[0] == 0
    screen.keyboard.press("ArrowRight")
    assert _label(screen) == "image 1 of 4"


def test_a_combination_with_control_is_left_to_the_browser(screen: Page, address: str) -> None:
    _open(screen, address, revealed=True)
    before = _paint(screen)
    screen.keyboard.press("Control+h")
    screen.keyboard.press("Control+k")
    assert _paint(screen) == before


def test_the_keys_of_the_page_do_not_move_the_tissue(screen: Page, address: str) -> None:
    _open(screen, address, revealed=False)
    screen.locator(".openseadragon-canvas").first.click()
    screen.keyboard.press("z")
    _zoom(screen)
    before = screen.locator(".sr-stage").screenshot()
    for key in "bmxadnwsrf12345":
        screen.keyboard.press(key)
    _zoom(screen)
    assert screen.locator(".sr-stage").screenshot() == before


def test_scrolling_zooms_dragging_pans_and_0_fits_again(screen: Page, address: str) -> None:
    _open(screen, address, revealed=False)
    fitted = _zoom(screen)
    expect(screen.locator(".navigator")).to_be_hidden()
    screen.mouse.move(400, 350)
    screen.mouse.wheel(0, -400)
    assert _zoom(screen) != fitted
    expect(screen.locator(".navigator")).to_be_visible()
    before = screen.locator(".sr-stage").screenshot()
    screen.mouse.down()
    screen.mouse.move(300, 300, steps=5)
    screen.mouse.up()
    screen.wait_for_timeout(700)
    assert screen.locator(".sr-stage").screenshot() != before
    screen.keyboard.press("0")
    assert _zoom(screen) == fitted


def test_pixels_are_seen_as_pixels_above_200_percent(screen: Page, address: str) -> None:
    _open(screen, address, revealed=False)
    screen.keyboard.press("z")
    _zoom(screen)
    assert screen.evaluate(_SMOOTH) is True
    screen.keyboard.press("+")
    screen.keyboard.press("+")
    assert _zoom(screen) == "225 %"
    assert screen.evaluate(_SMOOTH) is False


def test_a_rerun_keeps_the_place_and_loads_nothing_again(screen: Page, address: str) -> None:
    asked = _open(screen, address, revealed=True)
    screen.keyboard.press("ArrowRight")
    screen.wait_for_load_state("networkidle")
    screen.keyboard.press("z")
    screen.keyboard.press("]")
    place = _zoom(screen), _label(screen), _paint(screen)
    screen.evaluate("() => { document.querySelector('.sr-tissue canvas').marked = true; }")
    asked.clear()
    screen.get_by_label("note").fill("seen")
    screen.get_by_label("note").press("Control+Enter")
    expect(screen.get_by_text("note is 'seen'")).to_be_visible()
    assert (_zoom(screen), _label(screen), _paint(screen)) == place
    assert screen.evaluate("() => document.querySelector('.sr-tissue canvas').marked") is True
    assert [path for path in asked if path.startswith(("/images", "/assets"))] == []


def test_the_reveal_keeps_the_place_and_brings_only_the_map(screen: Page, address: str) -> None:
    asked = _open(screen, address, revealed=False)
    screen.keyboard.press("z")
    zoom = _zoom(screen)
    screen.get_by_text("reveal").click()
    screen.wait_for_function(f"({_PAINT})()[0] > 0")
    assert _zoom(screen) == zoom
    assert [path for path in asked if path.startswith(("/images", "/assets"))] == ["/images/1/heatmap"]


def test_an_image_that_cannot_be_loaded_says_so_and_the_others_still_open(screen: Page, address: str) -> None:
    _open(screen, address, revealed=False)
    screen.get_by_text("damaged").click()
    expect(screen.locator(".sr-message")).to_have_text("The image could not be loaded; reload the page.")
    screen.keyboard.press("ArrowRight")
    expect(screen.locator(".sr-message")).to_be_empty()


def test_a_map_that_cannot_be_loaded_leaves_the_tissue_to_be_read(screen: Page, address: str) -> None:
    screen.route("**/heatmap", lambda route: route.fulfill(status=403))
    screen.goto(f"{address}/?map=1")
    expect(screen.locator(".sr-note")).to_have_text("The heat map could not be loaded; reload the page.")
    expect(screen.locator(".sr-zoom")).to_have_text(re.compile(r"\d+ %"))
    expect(screen.locator(".sr-message")).to_be_empty()


@pytest.mark.parametrize("width", [900, 420])
def test_a_narrow_window_shows_every_tool(screen: Page, address: str, width: int) -> None:
    screen.set_viewport_size({"width": width, "height": 800})
    _open(screen, address, revealed=True)
    assert screen.evaluate(
        "() => { const v = document.querySelector('.sr-viewer'); return v.scrollWidth <= v.clientWidth; }"
    )
    for tool in screen.locator(".sr-tools button").all():
        expect(tool).to_be_in_viewport(ratio=1)


def test_every_word_of_the_viewer_is_at_least_14_px(screen: Page, address: str) -> None:
    _open(screen, address, revealed=True)
    sizes = screen.locator(".sr-viewer *").evaluate_all(
        """all => all.filter(one => [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
                     .map(one => parseFloat(getComputedStyle(one).fontSize))"""
    )
    assert len(sizes) > 10
    assert min(sizes) >= 14
