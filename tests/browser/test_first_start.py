"""The first start on an empty data folder: Evaluation, Domain shift and Models show what came with the checkpoint."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from core.card import checkpoint_sha256, model_version
from core.settings import Settings
from core.statistics.evaluation import Evaluation
from service.shipped_evaluations import read_shipped
from tests.browser.conftest import Server, serve
from tests.helpers.browser_steps import Scheme, at_rest, open_app, picture

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_LOOKS: tuple[tuple[int, Scheme], ...] = ((1280, "light"), (1280, "dark"), (900, "light"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Server]:
    """A server on an empty data folder; no test writes to it."""
    with serve(tmp_path_factory.mktemp("empty"), checkpoint, tables=False) as running:
        yield running


def shipped_auc() -> str:
    """Return the AUC of the evaluation that the Evaluation page opens with, as its files have it."""
    checkpoint = Settings.from_environment().checkpoint
    found = read_shipped(checkpoint, model_version(checkpoint_sha256(checkpoint)))
    figure = Evaluation.from_json(found.evaluations[0].row.document).figure("AUC")
    assert figure is not None
    return f"{figure.value:.3f}"


def expect_no_overflow(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_an_empty_folder_opens_with_real_figures(browser: Browser, server: Server) -> None:
    for width, scheme in _LOOKS:
        page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
        open_app(page, server, "evaluation")
        expect(page.get_by_text("Shipped with the model").first).to_be_visible()
        expect(page.locator(".st-key-evaluation-headline").get_by_text(shipped_auc())).to_be_visible()
        expect(page.get_by_test_id("stPlotlyChart")).to_have_count(2)
        expect(page.get_by_role("slider", name="Try another malignant threshold")).to_be_visible()
        at_rest(page)
        picture(page, f"first start, evaluation, {width} {scheme}")
        expect_no_overflow(page)

        open_app(page, server, "domain_shift")
        expect(page.get_by_text("To this network, images of BreaKHis 100X")).to_be_visible()
        expect(page.get_by_test_id("stPlotlyChart").first).to_be_visible()
        at_rest(page)
        picture(page, f"first start, domain shift, {width} {scheme}")
        expect_no_overflow(page)

        open_app(page, server, "models")
        expect(page.get_by_role("heading", name="Shipped with the model")).to_be_visible()
        expect(page.get_by_text(shipped_auc()).first).to_be_visible()
        at_rest(page)
        picture(page, f"first start, models, {width} {scheme}")
        expect_no_overflow(page)
        page.context.close()


def test_a_threshold_moved_by_keyboard_is_marked_as_exploration(page: Page, server: Server) -> None:
    open_app(page, server, "evaluation")
    slider = page.get_by_role("slider", name="Try another malignant threshold")
    slider.focus()
    for _ in range(5):
        slider.press("ArrowLeft")
    expect(page.get_by_text("Exploration only.")).to_be_visible()
    expect(page.get_by_text("nothing is stored")).to_be_visible()
    at_rest(page)
    picture(page, "tried threshold")
