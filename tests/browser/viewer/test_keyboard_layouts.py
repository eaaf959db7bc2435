"""The keys of the viewer on other keyboard layouts: the letter that the layout types, else the place of the key."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.viewer.viewing import kept, open_sheet, paint, zoom

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_CONTROL = 2  # of DevTools


def press(screen: Page, typed: str, place: str, modifiers: int = 0) -> None:
    """Press a key at a place that types a letter of the layout."""
    browser = screen.context.new_cdp_session(screen)
    key = {"key": typed, "code": place, "modifiers": modifiers}
    text = {} if modifiers or len(typed) > 1 else {"text": typed}
    browser.send("Input.dispatchKeyEvent", {"type": "keyDown", **key, **text})
    browser.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    browser.detach()


def pressed(screen: Page, name: str) -> None:
    """Wait until a tool is in hand."""
    expect(screen.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")


def test_every_key_works_on_a_cyrillic_layout(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address, "1&map=1")
    fitted = zoom(screen)
    press(screen, "я", "KeyZ")
    assert zoom(screen) == "100%"
    screen.keyboard.press("0")
    assert zoom(screen) == fitted
    for tool, (typed, place) in {
        "Point": ("з", "KeyP"),
        "Box": ("е", "KeyT"),
        "Shape": ("а", "KeyF"),
        "Ruler": ("д", "KeyL"),
    }.items():
        press(screen, typed, place)
        pressed(screen, tool)
    screen.keyboard.press("Escape")
    press(screen, "З", "KeyP")  # with caps lock
    screen.keyboard.press("Space")
    kept(screen, 1)
    press(screen, "у", "KeyE")
    expect(screen.get_by_label("Note on mark 1")).to_be_focused()
    screen.keyboard.press("Enter")
    press(screen, "я", "KeyZ", _CONTROL)
    kept(screen, 0)
    slider = screen.locator(".sr-tools input[type=range]")
    press(screen, "ъ", "BracketRight")
    expect(slider).to_have_value("60")
    press(screen, "х", "BracketLeft")
    expect(slider).to_have_value("50")
    press(screen, "л", "KeyK")
    pressed(screen, "Contour")
    press(screen, "л", "KeyK")
    press(screen, "р", "KeyH")
    assert paint(screen)[0] == 0


def test_a_letter_that_the_layout_types_is_never_taken_for_its_place(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    fitted = zoom(screen)
    press(screen, "y", "KeyZ")  # German: Y where other keyboards have Z
    assert zoom(screen) == fitted
    press(screen, "z", "KeyY")
    assert zoom(screen) == "100%"
    press(screen, "p", "KeyR")  # Dvorak
    pressed(screen, "Point")
    press(screen, "y", "KeyT")
    pressed(screen, "Point")
    screen.keyboard.press("Space")
    kept(screen, 1)
    press(screen, "y", "KeyZ", _CONTROL)
    kept(screen, 1)
    press(screen, "z", "KeyY", _CONTROL)
    kept(screen, 0)


def test_a_letter_of_another_layout_in_a_note_is_a_letter(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    before = zoom(screen)
    note = screen.get_by_label("note", exact=True)
    note.focus()
    press(screen, "я", "KeyZ")
    expect(note).to_have_value("я")
    assert zoom(screen) == before
