"""Reading a case: blind first, then the reveal, then the last word."""

import pytest
from streamlit.testing.v1 import AppTest

from db.values.reading import CaseState, Opinion, Vote
from service.intake import add_demo_case
from tests.helpers.app_pages import open_case, press, visit, words_on
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import CARD, CARD_MODEL, World

# What could give the model's opinion away: its name, its probability, its threshold, its address of maps.
TELLTALES = (
    CARD_MODEL.version,
    "0.81",
    "0.44",
    f"{CARD.threshold}",
    "heatmap_",
    "/heatmap",
    "Model says",
    "patches malignant",
    "imilar",
)


def read_first(case_id: int, label: str = "▲", confidence: str = "4") -> AppTest:
    return press(open_case(case_id), label, confidence, "Save and reveal")


@pytest.fixture
def case_id(world: World) -> int:
    """One analysed case that the model calls malignant with 0.81."""
    made = world.add_case(1, 2)
    world.analyse(0.8125)
    return made


def test_without_a_case_the_page_says_what_to_do(world: World) -> None:
    assert "No cases are waiting" in visit("read_case.py").subheader[0].value


def test_without_a_case_in_the_address_the_next_one_opens(case_id: int) -> None:
    tab = visit("read_case.py")
    assert tab.query_params["case"] == str(case_id)
    assert "C-0001" in words_on(tab)


@pytest.mark.parametrize("wrong", ["999", "0", "abc", "-1", "1e3", "²", "9" * 40])
def test_a_wrong_address_is_no_crash(world: World, wrong: str) -> None:
    assert visit("read_case.py", case=wrong).subheader


def test_nothing_of_the_model_is_sent_before_the_first_read(case_id: int) -> None:
    tab = open_case(case_id)
    for step in ("▲", "5"):
        press(tab, step)
    words = words_on(tab)
    assert "/images/1" in words, "the tissue itself is there"
    assert not [telltale for telltale in TELLTALES if telltale in words]


def test_the_telltales_are_what_the_reveal_shows(case_id: int) -> None:
    words = words_on(read_first(case_id))
    missing = [
        t for t in (CARD_MODEL.version, "0.81", "0.44", "/heatmap", "Model says", "patches malignant") if t not in words
    ]
    assert not missing


def test_the_whole_loop(world: World, case_id: int) -> None:
    tab = read_first(case_id)
    assert "malignant (4/5)" in words_on(tab)
    tab.text_area[0].set_value("the nests on the left")
    press(tab, "Yes", "Keep mine", "Save and open next case")
    first, final = world.reads(case_id)
    assert first.opinion == Opinion("malignant", 4)
    assert not first.model_visible
    assert final.opinion == Opinion("malignant", 4, note="the nests on the left", vote=Vote.YES)
    assert final.model_visible
    assert first.opened_at <= first.saved_at <= final.saved_at
    assert world.open_case(case_id).state is CaseState.FINAL


def test_saving_the_final_opinion_opens_the_next_case(world: World, case_id: int) -> None:
    following = world.add_case(3)
    world.analyse()
    tab = press(read_first(case_id), "Keep mine", "Save and open next case")
    assert tab.query_params["case"] == str(following)
    words = words_on(tab)
    assert "C-0001 saved" in words
    assert "Your first opinion" in words


def test_a_first_opinion_needs_a_label_and_a_confidence(world: World, case_id: int) -> None:
    tab = press(open_case(case_id), "Save and reveal")
    assert "Choose one of the answers" in tab.error[0].value
    press(tab, "○", "Save and reveal")
    assert "Choose your confidence" in tab.error[0].value
    assert not world.reads(case_id)


def test_a_second_tab_shows_what_the_first_saved_and_what_it_had_typed(world: World, case_id: int) -> None:
    stale = press(open_case(case_id), "○", "2")
    stale.text_area[0].set_value("looks benign to me")
    read_first(case_id)
    press(stale, "Save and reveal")
    assert len(world.reads(case_id)) == 1
    assert "Model says" in words_on(stale)
    assert "not saved" in stale.warning[0].value
    assert "benign (2/5)" in stale.warning[0].value
    assert "looks benign to me" in stale.warning[0].value


def test_cannot_assess_is_asked_twice(world: World, case_id: int) -> None:
    tab = press(open_case(case_id), "◇", "Save and reveal")
    assert not world.reads(case_id)
    press(tab, "Yes, it cannot")
    assert world.reads(case_id)[0].opinion == Opinion(None, None)


def test_keeping_another_opinion_than_the_model_needs_a_reason(world: World, case_id: int) -> None:
    tab = press(read_first(case_id, "○", "3"), "Keep mine", "Save and open next case")
    assert "Choose a reason" in tab.error[0].value
    assert len(world.reads(case_id)) == 1
    tab.selectbox[0].set_value("wrong_area")
    press(tab, "Save and open next case")
    assert world.reads(case_id)[1].opinion.reason == "wrong_area"
    assert world.open_case(case_id).state is CaseState.DISCORDANT


def test_changing_to_the_model_s_opinion_needs_no_reason(world: World, case_id: int) -> None:
    press(read_first(case_id, "○", "2"), "Change to ▲", "Save and open next case")
    assert [read.opinion.label for read in world.reads(case_id)] == ["benign", "malignant"]


def test_another_reason_needs_a_note(world: World, case_id: int) -> None:
    tab = press(read_first(case_id, "○", "3"), "Keep mine")
    tab.selectbox[0].set_value("other")
    press(tab, "Save and open next case")
    assert "note" in tab.error[0].value
    assert len(world.reads(case_id)) == 1


def test_the_first_opinion_may_be_saved_while_the_model_still_works(world: World) -> None:
    waiting = world.add_case(1)
    tab = read_first(waiting)
    assert "not finished" in tab.info[0].value
    world.analyse()
    tab.run()
    assert "Model says" in words_on(tab)


def test_without_a_result_the_reader_learns_why_and_has_the_last_word(world: World) -> None:
    failed = world.add_case(1)
    world.fail_jobs("the stored image is damaged")
    tab = read_first(failed)
    assert "stored image is damaged" in tab.warning[0].value.replace("\\", "")
    press(tab, "Keep mine", "Save and open next case")
    assert world.open_case(failed).state is CaseState.FINAL


def test_a_case_of_many_images_is_summed_up(world: World) -> None:
    many = world.add_case(*range(6))
    world.analyse(0.8125)
    words = words_on(read_first(many))
    assert "Mean of 6 images from 0.81 to 0.81" in words
    assert "image 2 (0.81)" not in words


def test_an_amendment_is_a_new_row_and_says_why(world: World, case_id: int) -> None:
    press(read_first(case_id), "Keep mine", "Save and open next case")
    tab = open_case(case_id)
    tab.toggle[0].set_value(True).run()
    press(tab, "○", "Save amendment")
    assert tab.error
    tab.selectbox[0].set_value("borderline")
    tab.text_area[0].set_value("after the second look")
    press(tab, "Save amendment")
    first, final, amended = world.reads(case_id)
    assert (first.opinion.label, final.opinion.label, amended.opinion.label) == ("malignant", "malignant", "benign")
    assert amended.supersedes == final.id
    assert "3 reads" in words_on(tab)


def test_a_note_cannot_act_as_markdown(case_id: int) -> None:
    tab = open_case(case_id)
    tab.text_area[0].set_value("![x](http://example.org/pixel.png)")
    press(tab, "▲", "4", "Save and reveal", "Keep mine", "Save and open next case")
    assert "![x](http" not in words_on(open_case(case_id))


def test_a_missing_magnification_is_a_word_that_opens_the_field_to_record_it(world: World) -> None:
    case_id = world.add_case(1, magnification=None)
    world.analyse(0.2)
    tab = open_case(case_id)
    assert ":orange[magnification not recorded]" in words_on(tab)
    assert next(button for button in tab.button if button.label == "Record").disabled
    tab.selectbox(key=f"magnification-{case_id}").set_value("40X").run()
    tab = press(tab, "Record")
    assert "magnification not recorded" not in words_on(tab)
    assert "40X" in words_on(tab)
    with world.sessions.read() as session:
        (row,) = whole_worklist(session, world.reader)
    assert row.magnification == "40X"


def test_a_generated_case_needs_no_magnification(world: World) -> None:
    case_id = add_demo_case(world.sessions, world.files, world.reader)
    assert "magnification not recorded" not in words_on(open_case(case_id))
