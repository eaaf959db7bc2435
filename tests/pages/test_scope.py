"""What a reader sees of images that are unlike the model's training images: nothing before the first read."""

import pytest
from streamlit.testing.v1 import AppTest

from core.results import OUT_OF_SCOPE, Scope
from db.values.reading import Opinion
from tests.helpers.app_pages import press, visit, words_on
from tests.helpers.rows import OUT, STRANGE_COLOURS, STRANGE_SCALE, UNUSUAL, USUAL
from tests.helpers.world import CARD_MODEL, World

TELLTALES = (
    "opinion: this image",
    "no opinion",
    "nusual",
    "unlike",
    "rely less",
    "camera, compression",
    STRANGE_COLOURS,
    STRANGE_SCALE,
    "no result",
    "/scope-map",
)


def plain(tab: AppTest) -> str:
    """Return what was sent to the browser, without the signs that keep texts from being Markdown."""
    return words_on(tab).replace("\\", "").replace("\u2060", "")


def read_first(case_id: int) -> AppTest:
    return press(visit("read_case.py", case=str(case_id)), "▲", "4", "Save and reveal")


def add_case(world: World, *scopes: Scope) -> int:
    """Take in one case with an image for each of these scopes."""
    case_id = world.add_case(*range(1, len(scopes) + 1))
    world.analyse(0.8125, *scopes)
    return case_id


@pytest.mark.parametrize("scope", [UNUSUAL, OUT])
def test_nothing_of_the_scope_is_sent_before_the_first_read(world: World, scope: Scope) -> None:
    case_id = add_case(world, scope)
    tab = visit("read_case.py", case=str(case_id))
    for words in (
        plain(tab),
        plain(press(tab, "▲")),
        plain(visit("worklist.py")),
        plain(visit("audit.py")),
    ):
        assert not [telltale for telltale in TELLTALES if telltale in words]


def test_out_of_scope_the_page_says_that_there_is_no_opinion_and_why(world: World) -> None:
    tab = read_first(add_case(world, OUT))
    words = plain(tab)
    assert "⊘ no opinion" in words
    assert OUT_OF_SCOPE in words
    assert STRANGE_COLOURS in words
    assert CARD_MODEL.version in words
    assert "no model opinion" in words, "below the tissue too"
    assert "/images/1/scope-map" in words, "a map of where takes the place of the heat map"
    assert not [gone for gone in ("0.81", "Threshold", "patches malignant", "/heatmap", "Map useful?") if gone in words]
    press(tab, "Change to", "Save and open next case")
    _, final = world.reads(1)
    assert (final.opinion, final.shown_scope, final.model_visible) == (Opinion("benign", 4), "out", False)


def test_an_unusual_image_has_its_label_and_a_mark_in_words(world: World) -> None:
    tab = read_first(add_case(world, UNUSUAL))
    words = plain(tab)
    assert "▲ malignant" in words
    assert "Unusual image: rely less on the model's opinion" in words
    assert STRANGE_SCALE in words
    assert ("/images/1/heatmap" in words, "/images/1/scope-map" in words) == (True, True)
    press(tab, "Keep mine", "Save and open next case")
    assert world.reads(1)[1].shown_scope == "unusual"


def test_of_several_images_the_page_says_which_are_left_out(world: World) -> None:
    words = plain(read_first(add_case(world, USUAL, OUT, UNUSUAL)))
    assert f"Image 2: {OUT_OF_SCOPE}" in words
    assert "Image 3: Unusual image" in words
    assert "Mean of image 1 (0.81), image 3 (0.81)" in words
    assert "⊘ no opinion" not in words


def test_an_opinion_of_one_image_among_several_is_no_mean(world: World) -> None:
    words = plain(read_first(add_case(world, USUAL, OUT)))
    assert "Based on one image only: image 1 (0.81)" in words
    assert "Mean of" not in words


def test_agreement_counts_the_cases_without_an_opinion_apart(world: World) -> None:
    add_case(world, OUT)
    press(read_first(1), "Keep mine", "Save and open next case")
    words = plain(visit("agreement.py"))
    assert "No model opinion: 1 case, left out of all figures" in words
    assert "no model opinion (1)" in words
    assert f"model {CARD_MODEL.version}" in words
