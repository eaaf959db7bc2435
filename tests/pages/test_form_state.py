"""The state of a form: it outlives reruns, follows saving, and takes nothing from another form or a bad draft."""

from collections.abc import Callable
from datetime import datetime

import pytest
from streamlit.testing.v1 import AppTest

from db.values.adjudication import Severity
from db.values.reading import Opinion, Region, RegionKind, Vote
from pages.ui.reading import inputs
from pages.ui.reading.form_state import NOTE_LIMIT, ReadForm

SPOT = Region(1, RegionKind.POINT, ((12.5, 30.0),), "mitosis")
FIRST, OTHER = ReadForm.first("12"), ReadForm.first("13")


def _page(work: "Callable[[], None]") -> None:
    work()  # AppTest runs this function alone, without the imports above


class Session:
    """One session of the pages; each piece of work is a run of its own."""

    def __init__(self) -> None:
        self._work: Callable[[], object] = lambda: None
        self._result: object = None
        self.tab = AppTest.from_function(_page, args=(self._do,), default_timeout=30)

    def run(self, work: Callable[[], object]) -> object:
        """Run the page with this work, and return its result."""
        self._work = work
        self.tab.run()
        assert not self.tab.exception, self.tab.exception
        return self._result

    def press(self, key: str) -> None:
        """Press a button of what was run last."""
        self.tab.button(key=key).click().run()
        assert not self.tab.exception, self.tab.exception

    def _do(self) -> None:
        self._result = self._work()


@pytest.fixture
def session() -> Session:
    """A session in which nothing was typed yet."""
    return Session()


def draw_first() -> None:
    """Draw the fields of a first opinion."""
    choice = inputs.ask_label(FIRST, inputs.ALL_LABELS)
    inputs.ask_confidence(FIRST, choice)
    inputs.ask_subtype(FIRST, choice.label if choice else None)
    inputs.ask_note(FIRST)


def content(form: ReadForm) -> dict[str, object]:
    """Return all of a form that a reader may have put into it."""
    return {**form.draft(), "marks": form.marks}


def test_what_is_typed_outlives_reruns_that_draw_something_else(session: Session) -> None:
    session.run(draw_first)
    session.press("first-12-choice-M")
    session.press("first-12-confidence-4")
    session.tab.selectbox(key="first-12-subtype-malignant").set_value("ductal_carcinoma").run()
    session.tab.text_area(key="first-12-note").set_value("nests on the left").run()
    session.run(lambda: FIRST.mark((SPOT,)))
    session.run(lambda: None)
    typed = {"choice": "M", "confidence": 4, "subtype": "ductal_carcinoma", "note": "nests on the left"}
    assert session.run(lambda: content(FIRST)) == {**typed, "marks": (SPOT,)}
    session.run(draw_first)
    assert session.tab.text_area(key="first-12-note").value == "nests on the left"
    assert session.tab.selectbox(key="first-12-subtype-malignant").value == "ductal_carcinoma"
    assert session.tab.button(key="first-12-confidence-4").label == "✓ 4"
    assert session.run(lambda: FIRST.label) == "malignant"


def test_two_forms_do_not_mix(session: Session) -> None:
    def fill() -> None:
        FIRST.choose("choice", "B")
        FIRST.mark((SPOT,))
        FIRST.keep_conflict(ValueError("read elsewhere"))
        FIRST.request_confirmation()
        FIRST.add_edit_seconds(5.0)

    def read_other() -> object:
        return content(OTHER), OTHER.conflict, OTHER.awaits_confirmation, OTHER.add_edit_seconds(0.5)

    session.run(fill)
    session.run(FIRST.mark_saved)
    assert session.run(read_other) == ({"marks": ()}, None, False, 0.5)
    assert not session.run(lambda: OTHER.is_saved)
    forms = [ReadForm.first("1"), ReadForm.final("1"), ReadForm.amendment(1, 1), ReadForm.consensus(1, 1)]
    assert len({*forms, ReadForm.sign_off(1)}) == 5
    assert ReadForm.first("1") == forms[0]


def test_saving_answers_the_question_and_reopening_leaves_only_what_was_typed(session: Session) -> None:
    form = ReadForm.final("12")

    def fill() -> None:
        form.mark_opened()
        form.choose("choice", "X")
        form.mark((SPOT,))
        form.add_edit_seconds(40.0)
        form.request_confirmation()

    def state() -> object:
        return form.is_saved, form.awaits_confirmation, form.conflict

    session.run(fill)
    assert session.run(state) == (False, True, None)
    session.run(form.mark_saved)
    assert session.run(state) == (True, False, None)
    session.run(lambda: form.keep_conflict(ValueError("taken back elsewhere")))
    session.run(form.reopen)
    assert session.run(state) == (False, False, None)
    assert session.run(lambda: form.add_edit_seconds(1.5)) == 1.5
    assert session.run(lambda: content(form)) == {"choice": "X", "marks": (SPOT,)}


def test_a_form_is_opened_once_until_it_is_reopened(session: Session) -> None:
    def open_it() -> datetime:
        FIRST.mark_opened()
        return FIRST.opened_at

    opened = session.run(open_it)
    assert session.run(open_it) == opened
    session.run(FIRST.reopen)
    assert session.run(open_it) != opened


def test_a_draft_is_put_back_as_it_was_kept(session: Session) -> None:
    kept = {
        "choice": "M",
        "confidence": 4,
        "note": "nests",
        "reason": "context",
        "vote": "yes",
        "subtype": "ductal_carcinoma",
    }
    session.run(lambda: FIRST.restore(kept))
    assert session.run(FIRST.draft) == kept
    assert session.run(lambda: (FIRST.was_restored, FIRST.vote)) == (True, Vote.YES)
    session.run(lambda: FIRST.restore({"note": "x" * (NOTE_LIMIT + 1)}))
    assert session.run(lambda: len(FIRST.note)) == NOTE_LIMIT


@pytest.mark.parametrize(
    "draft",
    [
        "choice",
        {"choice": "Q", "confidence": 6, "reason": "because", "vote": "perhaps", "subtype": "sarcoma", "note": 7},
        {"choice": ["M"], "confidence": "4", "reason": {}, "vote": None, "subtype": ["adenosis"], "note": ["words"]},
        {"saved": True, "marks": [], "confirm": True, "conflict": "words", "severity": "major", "seconds": 9.0},
    ],
)
def test_of_a_draft_only_what_a_reader_can_type_is_put_back(session: Session, draft: object) -> None:
    session.run(lambda: FIRST.restore(draft))
    assert session.run(lambda: content(FIRST)) == {"marks": ()}
    assert session.run(lambda: (FIRST.was_restored, FIRST.is_saved, FIRST.conflict)) == (True, False, None)
    assert session.run(lambda: (FIRST.awaits_confirmation, FIRST.severity)) == (False, None)
    session.run(draw_first)


def test_a_message_without_a_draft_does_not_end_the_wait_for_it(session: Session) -> None:
    session.run(lambda: FIRST.restore(None))
    assert session.run(lambda: FIRST.was_restored) is False
    session.run(lambda: FIRST.restore({"choice": "M"}))
    assert session.run(lambda: (FIRST.was_restored, FIRST.choice)) == (True, "M")


def test_marks_begin_with_those_before_and_then_are_the_form_s_own(session: Session) -> None:
    assert session.run(lambda: FIRST.begin_marks((SPOT,))) == (SPOT,)
    session.run(lambda: FIRST.mark(()))
    assert session.run(lambda: FIRST.begin_marks((SPOT,))) == ()


def test_a_form_matches_the_opinion_that_was_saved_of_it(session: Session) -> None:
    saved = Opinion("benign", 3, note="fibrous")
    assert not session.run(lambda: FIRST.matches(Opinion(None, None)))
    session.run(lambda: FIRST.restore({"choice": "B", "confidence": 3, "note": " fibrous "}))
    assert session.run(lambda: FIRST.matches(saved))
    assert not session.run(lambda: FIRST.matches(Opinion("malignant", 3, note="fibrous")))


def test_the_confidence_before_is_only_a_beginning(session: Session) -> None:
    session.run(lambda: FIRST.suggest_confidence(2))
    assert session.run(lambda: FIRST.confidence) == 2
    session.run(lambda: FIRST.choose("confidence", 5))
    session.run(lambda: FIRST.suggest_confidence(2))
    assert session.run(lambda: FIRST.confidence) == 5


def test_consensus_forms_are_listed_for_their_case_alone(session: Session) -> None:
    forms = [ReadForm.consensus(1, 0), ReadForm.consensus(1, 4), ReadForm.consensus(11, 0)]
    for form in forms:
        session.run(form.note_shown)
    session.run(lambda: forms[0].choose("severity", "major"))
    assert session.run(lambda: forms[0].severity) is Severity.MAJOR
    assert session.run(lambda: set(ReadForm.shown_consensuses(1))) == set(forms[:2])


def test_the_next_amendment_of_what_is_signed_is_an_empty_form(session: Session) -> None:
    form = session.run(lambda: ReadForm.signed_amendment(1))
    assert isinstance(form, ReadForm)
    session.run(lambda: form.toggle("open"))
    assert session.run(lambda: (form.is_open, form.begin_replacing(2))) == (True, 2)
    assert session.run(lambda: form.begin_replacing(3)) == 2
    session.run(lambda: ReadForm.count_signed_amendment(1))
    following = session.run(lambda: ReadForm.signed_amendment(1))
    assert isinstance(following, ReadForm)
    assert following != form
    assert session.run(lambda: following.is_open) is False


def test_a_request_for_the_page_is_answered_once(session: Session) -> None:
    session.run(FIRST.request_page)
    assert session.run(FIRST.take_page_request) is True
    assert session.run(FIRST.take_page_request) is False
