"""How the browser tests look at the viewer and mark in it: what is painted, at which zoom, and what the server kept."""

import ast
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

WIDTH, HEIGHT = 700, 460  # of the images, in pixels

Point = tuple[float, float]

# The painted part of the overlay: how many pixels, how opaque the most opaque is, and the colour of that one.
PAINT = """() => {
  const canvas = document.querySelector(".sr-overlay");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let painted = 0, top = 3;
  for (let at = 3; at < data.length; at += 4) { painted += data[at] > 0; if (data[at] > data[top]) top = at; }
  return [painted, data[top], data[top - 3], data[top - 2], data[top - 1]];
}"""

# True once tissue, overlay and words have looked the same for so many frames in a row: a glide changes each of them.
_LOOKS_THE_SAME = """frames => {
  const small = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  for (const name of [".sr-tissue canvas", ".sr-overlay"]) {
    const canvas = document.querySelector(name);
    if (canvas?.width) small.drawImage(canvas, 0, 0, 150, 75);
    small.translate(0, 75);
  }
  const words = document.querySelector(".sr-viewer")?.innerText;
  const look = words + small.getImageData(0, 0, 150, 150).data.join();
  window.sameFrames = look === window.lastLook ? window.sameFrames + 1 : 0;
  window.lastLook = look;
  return window.sameFrames >= frames;
}"""


def open_case(screen: Page, address: str, *, revealed: bool, more: str = "") -> list[str]:
    """Show the case, with `more` in its address; return the list to which the path of each later request is added."""
    screen.goto(f"{address}/?map=1{more}" if revealed else address)
    expect(screen.locator(".sr-zoom")).to_have_text(re.compile(r"\d+%"), timeout=30_000)
    if revealed:
        screen.wait_for_function(f"({PAINT})()[0] > 0")
    screen.wait_for_load_state("networkidle")
    asked: list[str] = []
    screen.on("request", lambda request: asked.append(urlsplit(request.url).path))
    return asked


def open_sheet(screen: Page, address: str, marks: str = "1") -> None:
    """Show the case with its sheet of marks."""
    screen.goto(f"{address}/?marks={marks}")
    expect(screen.locator(".sr-zoom")).to_have_text(re.compile(r"\d+%"), timeout=30_000)
    screen.wait_for_load_state("networkidle")


def wait_for_rest(screen: Page) -> None:
    """Wait until the viewer has stopped moving and painting."""
    screen.evaluate("() => { delete window.lastLook; }")
    screen.wait_for_function(_LOOKS_THE_SAME, arg=20)


def paint(screen: Page) -> list[int]:
    wait_for_rest(screen)
    painted: list[int] = screen.evaluate(PAINT)
    return painted


def zoom(screen: Page) -> str:
    wait_for_rest(screen)
    return screen.locator(".sr-zoom").inner_text()


def label(screen: Page) -> str:
    return screen.locator(".sr-words strong").inner_text()


def press_all(screen: Page, *keys: str) -> None:
    for key in keys:
        screen.keyboard.press(key)
        wait_for_rest(screen)  # the tissue glides


class Mark(NamedTuple):
    """One region as the server has it."""

    image_id: int
    kind: str
    points: tuple[Point, ...]
    note: str


def kept(screen: Page, marks: int) -> list[Mark]:
    """Wait until the server has so many marks, and give them."""
    shown = screen.get_by_test_id("stText")
    expect.set_options(timeout=10_000)
    words = "'point'|'box'|'shape'|'line'"
    screen.wait_for_function(
        f"() => (document.querySelector('[data-testid=stText]')?.innerText.match(/{words}/g) ?? []).length === {marks}"
    )
    return [Mark(*each) for each in ast.literal_eval(shown.inner_text())]


class Stage:
    """The tissue on the screen, with a geometry of our own to compare with: where each image pixel must be."""

    def __init__(self, screen: Page) -> None:
        self._screen = screen
        self._box = screen.locator(".sr-overlay").bounding_box()
        assert self._box is not None

    def at(self, point: Point, scale: float | None = None) -> Point:
        """Give the place on the screen of an image pixel while the image is centred; fitted without a scale."""
        box = self._box
        assert box is not None
        scale = scale or min(box["width"] / WIDTH, box["height"] / HEIGHT)
        x = box["x"] + box["width"] / 2 + (point[0] - WIDTH / 2) * scale
        y = box["y"] + box["height"] / 2 + (point[1] - HEIGHT / 2) * scale
        return x, y

    def drag(self, *points: Point) -> None:
        """Draw from place to place with the mouse."""
        self._screen.mouse.move(*points[0])
        self._screen.mouse.down()
        for point in points[1:]:
            self._screen.mouse.move(*point)
        self._screen.mouse.up()


def near(points: tuple[Point, ...], wanted: list[Point], pixels: float = 1.0) -> bool:
    return len(points) == len(wanted) and all(
        abs(a - b) <= pixels
        for found, want in zip(points, wanted, strict=True)
        for a, b in zip(found, want, strict=True)
    )
