"""The keys of the viewer on other keyboard layouts: the letter that the layout types, else the place of the key."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.viewer.viewing import kept, open_sheet, paint, zoom
from tests.helpers.key_layouts import press_at

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_CONTROL = 2  # of DevTools


def pressed(screen: Page, name: str) -> None:
    """Wait until a tool is in hand."""
    expect(screen.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")


def test_every_key_works_on_a_cyrillic_layout(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address, "1&map=1")
    fitted = zoom(screen)
    press_at(screen, "я", "KeyZ")
    assert zoom(screen) == "100%"
    screen.keyboard.press("0")
    assert zoom(screen) == fitted
    for tool, (typed, place) in {
        "Point": ("з", "KeyP"),
        "Box": ("е", "KeyT"),
        "Shape": ("а", "KeyF"),
        "Ruler": ("д", "KeyL"),
    }.items():
        press_at(screen, typed, place)
        pressed(screen, tool)
    screen.keyboard.press("Escape")
    press_at(screen, "З", "KeyP")  # with caps lock
    screen.keyboard.press("Space")
    kept(screen, 1)
    press_at(screen, "у", "KeyE")
    expect(screen.get_by_label("Note on mark 1")).to_be_focused()
    screen.keyboard.press("Enter")
    press_at(screen, "я", "KeyZ", _CONTROL)
    kept(screen, 0)
    slider = screen.locator(".sr-tools input[type=range]")
    press_at(screen, "ъ", "BracketRight")
    expect(slider).to_have_value("60")
    press_at(screen, "х", "BracketLeft")
    expect(slider).to_have_value("50")
    press_at(screen, "л", "KeyK")
    pressed(screen, "Contour")
    press_at(screen, "л", "KeyK")
    press_at(screen, "р", "KeyH")
    assert paint(screen)[0] == 0


def test_a_letter_that_the_layout_types_is_never_taken_for_its_place(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    fitted = zoom(screen)
    press_at(screen, "y", "KeyZ")  # German: Y where other keyboards have Z
    assert zoom(screen) == fitted
    press_at(screen, "z", "KeyY")
    assert zoom(screen) == "100%"
    press_at(screen, "p", "KeyR")  # Dvorak
    pressed(screen, "Point")
    press_at(screen, "y", "KeyT")
    pressed(screen, "Point")
    screen.keyboard.press("Space")
    kept(screen, 1)
    press_at(screen, "y", "KeyZ", _CONTROL)
    kept(screen, 1)
    press_at(screen, "z", "KeyY", _CONTROL)
    kept(screen, 0)


def test_a_letter_of_another_layout_in_a_note_is_a_letter(screen: Page, viewer_address: str) -> None:
    open_sheet(screen, viewer_address)
    before = zoom(screen)
    note = screen.get_by_label("note", exact=True)
    note.focus()
    press_at(screen, "я", "KeyZ")
    expect(note).to_have_value("я")
    assert zoom(screen) == before
