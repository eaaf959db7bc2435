"""A telephone and a narrow window: everything that can be pressed is within reach, in either colour scheme."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Server
from tests.helpers.browser_steps import Scheme, meet_model, open_app, picture, within_reach

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.worker]

_PAGES = ("", "upload_cases", "agreement", "evaluation", "domain_shift", "models", "meet_model", "studies", "audit")
# On a busy machine Streamlit sometimes measures a table before its place has a width, and sets the least there is.
_MEASURE_TOO_EARLY = """() => {
  const { style } = document.querySelector("[data-testid=stDataFrameResizable]");
  style.width = style.maxWidth = "52px";
}"""


# Each width once: no colour changes what can be reached.
@pytest.fixture(params=[(390, "dark"), (900, "light")], ids=lambda look: f"{look[0]} {look[1]}")
def narrow(browser: Browser, request: pytest.FixtureRequest) -> Iterator[tuple[Page, int, Scheme]]:
    """A page in a window of this width and colour scheme."""
    width, scheme = request.param
    viewport = {"width": width, "height": 844 if width < 640 else 800}
    page = browser.new_context(viewport=viewport, color_scheme=scheme).new_page()  # type: ignore[arg-type]
    yield page, width, scheme
    page.context.close()


def test_a_case_is_read_and_every_page_seen_on_a_narrow_screen(
    narrow: tuple[Page, int, Scheme], server: Server
) -> None:
    page, width, scheme = narrow
    open_app(page, server)
    page.get_by_role("button", name="Create a demo case").click()
    expect(page.get_by_text("Your first opinion")).to_be_visible()
    within_reach(page)
    picture(page, f"narrow first opinion, {width} {scheme}")
    page.get_by_role("button", name="malignant").click()
    page.get_by_role("button", name="5", exact=True).click()
    expect(page.get_by_text("Confidence: certain")).to_be_visible()
    page.get_by_role("button", name="Save and reveal").click()
    expect(page.get_by_role("heading", name="Meet the model")).to_be_visible()
    within_reach(page)
    picture(page, f"narrow meet the model, {width} {scheme}")
    meet_model(page)
    within_reach(page)
    picture(page, f"narrow final opinion, {width} {scheme}")
    for name in _PAGES:
        open_app(page, server, name)
        within_reach(page)
        picture(page, f"narrow {name or 'worklist'}, {width} {scheme}")
    table = page.get_by_test_id("stDataFrame")
    before = table.bounding_box()
    page.evaluate(_MEASURE_TOO_EARLY)
    within_reach(page)
    assert table.bounding_box() == before
