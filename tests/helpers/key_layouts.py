"""Keys as a keyboard of another layout sends them."""

from playwright.sync_api import Page


def press_at(page: Page, typed: str, place: str, modifiers: int = 0) -> None:
    """Press the key at a place, such as `KeyZ`, that types a letter of the layout."""
    browser = page.context.new_cdp_session(page)
    key = {"key": typed, "code": place, "modifiers": modifiers}
    text = {} if modifiers or len(typed) > 1 else {"text": typed}
    browser.send("Input.dispatchKeyEvent", {"type": "keyDown", **key, **text})
    browser.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    browser.detach()
