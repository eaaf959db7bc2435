"""What a reader does at a page, for the tests in a real browser: open, upload, read, and wait until it is drawn."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as NotInTime

from tests.browser.conftest import SCREENSHOTS, TELEPHONE, Server

Scheme = Literal["dark", "light"]

_PATIENCE_MS = 60_000  # the worker loads torch before its first image


def open_app(page: Page, server: Server, path: str = "") -> None:
    page.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    page.goto(f"{server.url}/{path}")
    # exact: the card of a model says it too, within a sentence
    expect(page.get_by_text("Research use only", exact=True)).to_be_visible()


def picture(page: Page, name: str, *, connected: bool = True) -> None:
    if connected:  # else the page may say for ever that it is running or connecting
        at_rest(page)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def choose(page: Page, *files: Path) -> None:
    """Choose files on a page at rest: Streamlit forgets its answer to a chosen file where a run begins meanwhile."""
    at_rest(page)
    page.locator("input[type=file]").set_input_files(files)
    for file in files:
        expect(page.get_by_role("row", name=re.compile(rf"^\d+ {re.escape(file.name)}"))).to_be_visible()


def upload(page: Page, image: Path) -> None:
    choose(page, image)
    page.get_by_role("button", name="Store images").click()
    expect(page.get_by_text("1 of 1 images ready")).to_be_visible()


# True once for so many frames in a row no script has run and no part of the page was still loading: Streamlit loads the
# code of buttons and tables when they are first drawn, and a new button listens after the frame that shows it.
_IDLE = """frames => {
  const idle = document.querySelector("[data-testid=stApp]")?.dataset.testScriptState === "notRunning"
    && !document.querySelector("[data-testid=stSkeleton]");
  window.idleFrames = idle ? (window.idleFrames ?? 0) + 1 : 0;
  return window.idleFrames >= frames;
}"""


def settled(page: Page) -> None:
    """Wait until the page is drawn whole and listens: a key that comes before its button listens goes nowhere."""
    page.evaluate("() => { delete window.idleFrames; }")
    page.wait_for_function(_IDLE, arg=5)


def chosen(page: Page, words: str) -> None:
    """Wait until a button is drawn as the chosen one, and the page listens to the next key."""
    expect(page.get_by_test_id("stBaseButton-primary").filter(has_text=words)).to_be_visible()
    settled(page)


# True once no script has run, nothing has moved and nothing was missing for so many frames in a row.
_RESTS = """frames => {
  const script = document.querySelector("[data-test-script-state]")?.dataset.testScriptState ?? "notRunning";
  const loaded = [...document.images].every(image => image.complete || image.loading === "lazy");
  const drawn = !document.querySelector("[data-testid=stSkeleton]");
  const places = () => [...document.querySelectorAll("body *")].map(one => {
    const { x, y, width, height } = one.getBoundingClientRect();
    return [x, y, width, height];
  });
  const look = script === "notRunning" && drawn && loaded && document.fonts.status === "loaded" && places().join();
  window.sameFrames = look && look === window.lastLook ? window.sameFrames + 1 : 0;
  window.lastLook = look;
  return window.sameFrames >= frames;
}"""


def at_rest(page: Page) -> None:
    """Wait until the page is drawn whole and stays as it is: a click on what is just being redrawn is lost."""
    page.evaluate("() => { delete window.lastLook; }")
    page.wait_for_function(_RESTS, arg=20)


def tap(page: Page, name: str | re.Pattern[str], *, exact: bool = False) -> None:
    at_rest(page)
    page.get_by_role("button", name=name, exact=exact).tap()


def read_first(page: Page, label: str, confidence: str) -> None:
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    settled(page)
    page.keyboard.press(label)
    chosen(page, "malignant" if label == "m" else "benign")
    page.keyboard.press(confidence)
    chosen(page, confidence)
    page.keyboard.press("Enter")
    meet_model(page)


def meet_model(page: Page) -> None:
    """Confirm the explanation of the model if this is its first opinion here, and wait for the opinion."""
    said, asked = page.get_by_text("Model says"), page.get_by_role("button", name="I have read this")
    expect(said.or_(asked).first).to_be_visible()
    if asked.is_visible():
        settled(page)
        page.keyboard.press("g")
    expect(said).to_be_visible()
    at_rest(page)


# What can be pressed and lies beyond an edge of the window, unless it can be scrolled into it.
_OUT_OF_REACH = """() => {
  const scrolls = one => {
    for (let up = one.parentElement; up && up.dataset.testid !== "stMain"; up = up.parentElement) {
      if (/auto|scroll/.test(getComputedStyle(up).overflowX) && up.scrollWidth > up.clientWidth) return true;
    }
    return false;
  };
  const all = document.querySelectorAll("[data-testid=stMain] :is(button, input, textarea, [role=combobox])");
  return [...all].filter(one => {
    const { left, right, width, height } = one.getBoundingClientRect();
    return width > 1 && height > 1 && (left < -1 || right > innerWidth + 1) && !scrolls(one);
  }).map(one => one.innerText || one.ariaLabel || one.outerHTML.slice(0, 80));
}"""


def within_reach(page: Page) -> None:
    """Expect that all that can be pressed lies within the window, or can be scrolled into it."""
    at_rest(page)
    with suppress(NotInTime):  # a table takes its width, and its tools their place, some time after it is drawn
        page.wait_for_function(f"() => ({_OUT_OF_REACH})().length === 0", timeout=20_000)
    assert page.evaluate(_OUT_OF_REACH) == []
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def within_reach_on_a_telephone(page: Page, name: str) -> None:
    """Look at the page once in a window as wide as a telephone, and go back."""
    before = page.viewport_size
    assert before is not None
    page.set_viewport_size(TELEPHONE)
    within_reach(page)
    picture(page, f"narrow {name}, {TELEPHONE['width']} px")
    page.set_viewport_size(before)
    settled(page)
