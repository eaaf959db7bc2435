"""The reading page around an opinion: marks go with it, a final one can be taken back, and time in use is measured."""

import json
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from streamlit.testing.v1 import AppTest

from core import clock
from db import store
from db.errors import CaseChangedError
from db.values.accounts import Role
from db.values.reading import GRACE, CaseState, Region, RegionKind, Stage
from pages.ui.viewer import parse_marks
from tests.helpers.app_pages import open_case, press, visit, words_on
from tests.helpers.rows import SAYS_BENIGN
from tests.helpers.world import World

SPOT = Region(1, RegionKind.POINT, ((12.5, 30.0),), "mitosis")
FIELD = Region(2, RegionKind.BOX, ((1.0, 2.0), (30.0, 40.5)))


@pytest.fixture
def case_id(world: World) -> int:
    """One analysed case of two images that the model calls malignant."""
    made = world.add_case(1, 2)
    world.analyse(0.8125)
    return made


class Shown(NamedTuple):
    """What the viewer is told of marks."""

    form: str
    regions: list[dict[str, object]]
    editable: bool


def sheet(tab: AppTest) -> Shown:
    viewer = next(found for found in tab.get("bidi_component") if "images" in json.loads(found.proto.json))
    found = json.loads(viewer.proto.json)["sheet"]
    return Shown(found["form"], found["regions"], found["editable"])


def mark(tab: AppTest, form: str, *regions: Region) -> None:
    """Mark as the viewer's callback does."""
    tab.session_state[f"{form}-marks"] = regions


def test_marks_are_saved_with_the_first_opinion_and_carried_over_to_the_final_one(world: World, case_id: int) -> None:
    tab = open_case(case_id)
    assert sheet(tab) == (f"first-{case_id}", [], True)
    mark(tab, f"first-{case_id}", SPOT, FIELD)
    press(tab, "▲", "4", "Save and reveal")
    assert world.reads(case_id)[0].opinion.regions == (SPOT, FIELD)
    carried = sheet(tab)
    assert (carried.form, carried.editable) == (f"final-{case_id}", True)
    assert carried.regions == [
        {"image_id": 1, "kind": "point", "points": [[12.5, 30.0]], "note": "mitosis"},
        {"image_id": 2, "kind": "box", "points": [[1.0, 2.0], [30.0, 40.5]], "note": ""},
    ]
    mark(tab, f"final-{case_id}", FIELD)
    press(tab, "Keep mine", "Save and open next case")
    first, final = world.reads(case_id)
    assert (first.opinion.regions, final.opinion.regions) == ((SPOT, FIELD), (FIELD,))


def test_saved_marks_can_only_be_changed_in_an_amendment(case_id: int) -> None:
    tab = open_case(case_id)
    mark(tab, f"first-{case_id}", SPOT)
    press(tab, "▲", "4", "Save and reveal", "Keep mine", "Save and open next case")
    tab = open_case(case_id)
    assert sheet(tab).editable is False
    assert len(sheet(tab).regions) == 1
    tab.toggle[0].set_value(True).run()
    assert sheet(tab).editable is True
    assert str(sheet(tab).form).startswith("amend-")
    assert len(sheet(tab).regions) == 1


def test_marks_of_a_window_that_was_overtaken_are_still_there_to_be_saved(world: World, case_id: int) -> None:
    stale = press(open_case(case_id), "○", "2")
    mark(stale, f"first-{case_id}", SPOT)
    press(open_case(case_id), "▲", "4", "Save and reveal")
    press(stale, "Save and reveal")
    stale.run()
    assert "(1 mark)" in stale.warning[0].value
    assert len(sheet(stale).regions) == 1
    assert world.reads(case_id)[0].opinion.regions == ()


def test_a_final_opinion_can_be_withdrawn_and_its_form_is_as_it_was(world: World, case_id: int) -> None:
    following = world.add_case(3)
    world.analyse()
    tab = press(open_case(case_id), "▲", "4", "Save and reveal", "Keep mine", "5")
    tab.text_area[0].set_value("the nests on the left")
    press(tab, "Save and open next case")
    assert tab.query_params["case"] == str(following)
    press(tab, "Undo (60 s)")
    assert tab.query_params["case"] == str(case_id)
    assert "C-0001 final opinion withdrawn" in words_on(tab)
    assert tab.text_area[0].value == "the nests on the left"
    assert {"✓ 5", "✓ Keep mine: ▲ malignant"} <= {button.label for button in tab.button}
    assert world.open_case(case_id).state is CaseState.REVEALED
    press(tab, "Save and open next case")
    stages = [read.stage for read in world.reads(case_id)]
    assert stages == [Stage.FIRST, Stage.FINAL, Stage.WITHDRAWN, Stage.FINAL]
    words = words_on(open_case(case_id))
    assert "final (withdrawn): ▲ malignant (5/5)" in words
    assert "final opinion withdrawn" in words
    assert "amended" not in words


def test_what_was_taken_back_elsewhere_is_not_taken_back_twice(world: World, case_id: int) -> None:
    world.add_case(3)
    world.analyse()
    tab = press(open_case(case_id), "▲", "4", "Save and reveal", "Keep mine", "Save and open next case")
    final = world.reads(case_id)[-1]
    with world.sessions.begin() as session:
        store.reads.withdraw_read(session, final.id, world.reader)
    press(tab, "Undo (60 s)")
    assert "this opinion was already withdrawn" in words_on(tab)
    assert len(world.reads(case_id)) == 3


def _offers_undo(tab: AppTest) -> bool:
    return any(button.label.startswith("Undo") for button in tab.button)


def test_undo_is_offered_no_longer_than_the_store_grants_it(
    world: World, case_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_case(3)
    world.analyse()
    tab = press(open_case(case_id), "▲", "4", "Save and reveal", "Keep mine", "Save and open next case")
    assert _offers_undo(tab)
    saved = world.reads(case_id)[-1].saved_at
    monkeypatch.setattr(clock, "now", lambda: saved + timedelta(seconds=59.9))
    assert _offers_undo(tab.run())
    monkeypatch.setattr(clock, "now", lambda: saved + GRACE)
    assert not _offers_undo(tab.run())


def test_undo_is_gone_once_the_page_of_agreement_has_shown_what_others_said(world: World, case_id: int) -> None:
    world.add_case(3)
    world.analyse()
    with world.sessions.begin() as session:
        other = store.accounts.add_account(session, "dr. b", Role.READER).id
    world.read(other, case_id, SAYS_BENIGN)
    tab = press(open_case(case_id), "▲", "4", "Save and reveal", "Keep mine", "Save and open next case")
    assert _offers_undo(tab)
    words = words_on(visit("agreement.py"))
    assert "dr. b" in words
    assert not _offers_undo(tab.run())
    final = world.reads(case_id)[-1]
    with world.sessions.begin() as session, pytest.raises(CaseChangedError, match="you have seen"):
        store.reads.withdraw_read(session, final.id, world.reader)


def test_a_click_on_undo_that_comes_too_late_is_answered(world: World, case_id: int) -> None:
    world.add_case(3)
    world.analyse()
    with world.sessions.begin() as session:
        other = store.accounts.add_account(session, "dr. b", Role.READER).id
    world.read(other, case_id, SAYS_BENIGN)
    tab = press(open_case(case_id), "▲", "4", "Save and reveal", "Keep mine", "Save and open next case")
    world.end_undo(world.reader)
    press(tab, "Undo (60 s)")
    assert "you have seen what others said of this case" in words_on(tab)


def test_a_first_opinion_offers_no_undo(case_id: int) -> None:
    tab = press(open_case(case_id), "▲", "4", "Save and reveal")
    assert "C-0001 saved" in words_on(tab)
    assert not [button for button in tab.button if button.label.startswith("Undo")]


def test_the_time_a_form_was_in_use_is_kept_with_the_read(world: World, case_id: int) -> None:
    began = datetime.now(UTC)
    tab = press(open_case(case_id), "▲", "4")
    tab.session_state[f"first-{case_id}-seconds"] += 7.0
    press(tab, "Save and reveal")
    took = (datetime.now(UTC) - began).total_seconds()
    (read,) = world.reads(case_id)
    assert read.edit_seconds is not None
    assert 7.0 < read.edit_seconds <= 7.0 + took


def test_a_long_absence_counts_as_two_minutes_and_another_page_not_at_all(case_id: int) -> None:
    form = f"first-{case_id}"
    tab = press(open_case(case_id), "▲")
    named, last = tab.session_state["edit-clock"]
    assert named == form
    tab.session_state["edit-clock"] = (form, last - 3600)
    press(tab, "4")
    assert 120 <= tab.session_state[f"{form}-seconds"] < 180
    tab.session_state["edit-clock"] = (form, last - 3600)
    tab.session_state["page"] = "worklist"
    tab.run()
    assert tab.session_state[f"{form}-seconds"] < 180


def test_a_note_that_looks_like_a_person_is_warned_about_and_saved_all_the_same(world: World, case_id: int) -> None:
    tab = open_case(case_id)
    tab.text_area[0].set_value("born 12.03.1961").run()
    assert [caption for caption in tab.caption if "Notes must not identify the patient" in caption.value]
    press(tab, "▲", "4", "Save and reveal")
    assert world.reads(case_id)[0].opinion.note == "born 12.03.1961"


def test_the_tab_keeps_what_was_typed_and_nothing_of_the_model(case_id: int) -> None:
    tab = press(open_case(case_id), "▲", "4", "Save and reveal", "Keep mine", "Yes")
    drafts = [found for found in tab.get("bidi_component") if "typed" in json.loads(found.proto.json)]
    typed = {found["form"]: found["typed"] for found in (json.loads(draft.proto.json) for draft in drafts)}
    assert typed[f"final-{case_id}"] == {"choice": "A", "confidence": 4, "vote": "yes"}
    assert [json.loads(draft.proto.json)["over"] for draft in drafts if f"first-{case_id}" in draft.proto.json]


@pytest.mark.parametrize(
    "sent",
    [
        {"form": "first-1"},
        {"form": 1, "regions": []},
        {"form": "f", "regions": [{"image_id": "1", "kind": "point", "points": [[1, 2]], "note": ""}]},
        {"form": "f", "regions": [{"image_id": 1, "kind": "circle", "points": [[1, 2]], "note": ""}]},
        {"form": "f", "regions": [{"image_id": 1, "kind": "point", "points": [[1, "2"]], "note": ""}]},
        {"form": "f", "regions": [{"image_id": 1, "kind": "point", "points": [[1, -2]], "note": ""}]},
        {"form": "f", "regions": [{"image_id": 1, "kind": "point", "points": [[1, 2]], "note": "n" * 201}]},
        {"form": "f", "regions": [{"image_id": 1, "kind": "point", "points": [[1, 2]], "note": ""}] * 201},
        "marks",
    ],
)
def test_what_is_not_from_our_viewer_is_refused(sent: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_marks(sent)
