"""The viewer on a touch screen: a finger marks, two fingers zoom and leave no mark, whatever tool is in hand."""

from collections.abc import Sequence

import pytest
from playwright.sync_api import CDPSession, Page

from tests.browser.viewer.viewing import Point, Stage, kept, near, open_sheet, zoom

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, object]) -> dict[str, object]:
    """Give the pages of this module a touch screen."""
    return {**browser_context_args, "has_touch": True}


class Hand:
    """Fingers on the screen of a page; a finger keeps its place in the list from the moment it is put down."""

    def __init__(self, screen: Page) -> None:
        self._browser: CDPSession = screen.context.new_cdp_session(screen)

    def touch(self, *fingers: Point) -> None:
        self._send("touchStart", fingers)

    def slide(self, *fingers: Point) -> None:
        self._send("touchMove", fingers)

    def lift(self, *left: Point) -> None:
        """Lift all fingers but those that are `left`."""
        self._send("touchEnd", left)

    def tap(self, place: Point) -> None:
        self.touch(place)
        self.lift()

    def draw(self, *places: Point) -> None:
        """Draw from place to place with one finger."""
        self.touch(places[0])
        for place in places[1:]:
            self.slide(place)
        self.lift()

    def spread(self, middle: Point, start: float = 40, end: float = 160) -> None:
        """Put two fingers down one after the other and move them apart."""
        x, y = middle
        self.touch((x - start, y))
        self.touch((x - start, y), (x + start, y))
        for step in range(1, 7):
            reach = start + (end - start) * step / 6
            self.slide((x - reach, y + 3 * step), (x + reach, y - 3 * step))
        self.lift((x - end, y + 18))
        self.slide((x - end - 30, y + 40))  # the last finger slips before it leaves
        self.lift()

    def _send(self, kind: str, fingers: Sequence[Point]) -> None:
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        self._browser.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def percent(screen: Page) -> int:
    return int(zoom(screen).removesuffix("%"))


@pytest.mark.parametrize("tool", ["p", "t", "f"])
def test_a_pinch_with_a_tool_in_hand_zooms_and_leaves_no_mark(screen: Page, viewer_address: str, tool: str) -> None:
    open_sheet(screen, viewer_address)
    hand, stage, before = Hand(screen), Stage(screen), percent(screen)
    screen.keyboard.press(tool)
    hand.spread(stage.at((350, 230)))
    assert percent(screen) > 2 * before
    assert kept(screen, 0) == []
    screen.keyboard.press("0")
    assert percent(screen) == before
    screen.keyboard.press("Escape")
    screen.keyboard.press("p")  # whatever the pinch has left behind would be finished by now
    hand.tap(stage.at((300, 200)))
    (mark,) = kept(screen, 1)
    assert near(mark.points, [(300, 200)], pixels=1.5)


def test_a_finger_draws_each_kind(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    hand, stage = Hand(screen), Stage(screen)
    screen.keyboard.press("t")
    hand.draw(*map(stage.at, [(420, 310), (400, 280), (380, 250)]))
    screen.keyboard.press("f")
    hand.draw(*map(stage.at, [(250, 150), (330, 150), (330, 190), (250, 190)]))
    box, shape = kept(screen, 2)
    assert near(box.points, [(380, 250), (420, 310)], pixels=1.5)
    assert near(shape.points, [(250, 150), (330, 150), (330, 190), (250, 190)], pixels=1.5)


def test_corners_set_before_a_pinch_stay(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    hand, stage = Hand(screen), Stage(screen)
    screen.keyboard.press("f")
    corners: list[Point] = [(250, 150), (330, 150), (330, 190)]
    for corner in corners[:2]:
        hand.tap(stage.at(corner))
    hand.spread(stage.at((350, 230)))
    screen.keyboard.press("0")
    zoom(screen)
    hand.tap(stage.at(corners[2]))
    screen.keyboard.press("Enter")
    (shape,) = kept(screen, 1)
    assert shape.kind == "shape"
    assert near(shape.points, corners, pixels=1.5)
