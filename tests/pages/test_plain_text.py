"""Texts of people and files are plain on every page: none acts where Streamlit draws Markdown."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.message import Message
from google.protobuf.text_format import MessageToString
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Dataframe, Table

from core.card import Abstention, Card, Metric, TrainingData
from core.labels import BINARY, LabelSet
from core.settings import Settings
from core.statistics.cautions import Caution
from core.statistics.evaluation import AblationRow, Figure
from db import store
from db.values.accounts import Role
from db.values.evaluations import RunState
from db.values.reading import Arm, Opinion
from db.values.studies import StudyPlan
from tests.helpers.app_pages import sign_in, visit
from tests.helpers.evaluations import add_evaluation, made_evaluation, made_images
from tests.helpers.rows import OPENED, SAYS_BENIGN, SAYS_MALIGNANT, stored_image
from tests.helpers.runs.histories import as_document, run_lines
from tests.helpers.shifts import shifted
from tests.helpers.world import CARD, PASSWORD, World, analyse_all, let_all_meet_the_model, write_card

HOSTILE = "![x](http://evil.example/x) :material/home: -> &lt;"
_ACTS = re.compile(r"!\[x\]\(http|:material/home:| -> |(?<!\\)&lt;")
# What these elements show is not Markdown: choices, fields, code, charts, our viewer and the cells of a dataframe.
# Those of a table are, and are looked at one by one.
_PLAIN = {"selectbox", "multiselect", "text_input", "text_area", "code", "plotly_chart", "bidi_component"}


@pytest.fixture
def world(world: World) -> World:
    """An installation in which every text that comes from a file or a person is hostile."""
    write_card(Settings.from_environment().checkpoint, _hostile_card())
    write_card(Settings.from_environment().checkpoint.with_name("other.safetensors"), _hostile_card())
    _add_read_case(world)
    _add_measurements(world)
    with world.sessions.begin() as session:
        number = store.models.start_run(session, HOSTILE, f"/runs/{HOSTILE}", "{}")
        document = as_document(run_lines()).replace("fold 1", HOSTILE)
        store.models.finish_run(session, number, RunState.FINISHED, document)
    return world


def _hostile_card() -> Card:
    return replace(
        CARD,
        name=HOSTILE,
        label_set=LabelSet(HOSTILE, (f"{HOSTILE} 1", f"{HOSTILE} 2"), (f"{HOSTILE} 2",)),
        locked_on=HOSTILE,
        training_data=TrainingData(HOSTILE, 1, 1, (), HOSTILE),
        metrics=(Metric(HOSTILE, 0.8, 0.7, 0.9, HOSTILE),),
        abstention=Abstention(0.1, 0.5, 0.5, 0.1, HOSTILE),
        code_version=HOSTILE,
        note=HOSTILE,
    )


def _add_read_case(world: World) -> None:
    with world.sessions.begin() as session:
        case_id = store.cases.add_case(session, world.reader, accession=HOSTILE, magnification=HOSTILE[:32])
        store.cases.add_image(session, case_id, stored_image("a"))
    analyse_all(world.sessions)
    opinion = Opinion("malignant", 4, note=HOSTILE)
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, case_id, world.reader, opinion, OPENED)
        store.reads.record_final_read(session, case_id, world.reader, opinion, OPENED)


def _add_measurements(world: World) -> None:
    figure = Figure("AUC", 0.9, None, None, "image", 60)
    evaluation = replace(
        made_evaluation(BINARY),
        model_name=HOSTILE,
        dataset=HOSTILE,
        protocol=HOSTILE,
        locked_on=HOSTILE,
        warnings=(Caution("split leaks", HOSTILE, HOSTILE),),
        ablation=(AblationRow(HOSTILE, HOSTILE, True, 60, figure, None),),
    )
    add_evaluation(world.sessions, evaluation, made_images(BINARY, world.files))
    shift = replace(shifted(source=HOSTILE, target=f"{HOSTILE} 2"), model_name=HOSTILE)
    with world.sessions.begin() as session:
        store.evaluations.add_shift(session, shift.source, shift.target, shift.model_version, shift.to_json())


def _drawn_as_markdown(tab: AppTest) -> str:
    drawn = [
        _written(node.proto)
        for node in tab.main
        if node.proto is not None and node.type not in _PLAIN and not isinstance(node, Dataframe | Table)
    ]
    cells = [str(cell) for table in tab.table for column in table.value.items() for cell in (column[0], *column[1])]
    return "\n".join([*drawn, *cells])


def _written(proto: Message) -> str:
    return str(MessageToString(proto, as_utf8=True)).replace("\\\\", "\\")


PAGES = {
    "models.py": {},
    "evaluation.py": {},
    "domain_shift.py": {},
    "worklist.py": {},
    "read_case.py": {"case": "1"},
    "agreement.py": {},
    "studies.py": {},
    "audit.py": {},
    "upload_cases.py": {},
    "meet_model.py": {},
    "planning.py": {},
    "read_study.py": {},
}


@pytest.mark.parametrize("page", PAGES)
def test_no_text_of_a_file_or_a_person_acts_as_markdown(world: World, page: str) -> None:
    drawn = _drawn_as_markdown(visit(page, **PAGES[page]))
    assert not _ACTS.search(drawn), [drawn[max(0, m.start() - 200) : m.end() + 50] for m in _ACTS.finditer(drawn)]
    if page in ("models.py", "evaluation.py", "domain_shift.py", "read_case.py", "meet_model.py"):
        assert r"!\[x\]" in drawn


def test_every_text_of_a_card_is_shown_as_it_is(world: World) -> None:
    drawn = _drawn_as_markdown(visit("models.py"))
    shown = drawn.replace("\\", "").replace("\N{WORD JOINER}", "")
    # Name, classes, threshold, training data, version, abstention, note, and the metric with its protocol.
    assert shown.count(HOSTILE) >= 10


def test_a_problem_with_the_checkpoint_is_plain_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_READ_CHECKPOINT", str(Path("/nowhere") / HOSTILE))
    drawn = _drawn_as_markdown(visit("worklist.py"))
    assert not _ACTS.search(drawn)
    assert r"!\[x\]" in drawn


@pytest.fixture
def people(world: World, quick_passwords: None) -> World:
    """The same with accounts, two of which differ on a case; their names and notes are hostile too."""
    case_id = world.add_case(1, accession=f"{HOSTILE} 2")
    world.analyse()
    with world.sessions.begin() as session:
        accounts = {
            role: store.accounts.add_signing_account(session, None, f"{HOSTILE} {role}", role, PASSWORD)
            for role in (Role.READER, Role.ADJUDICATOR, Role.ADMINISTRATOR)
        }
        store.sign_ins.add_token(session, None, accounts[Role.ADMINISTRATOR], HOSTILE)
    let_all_meet_the_model(world.sessions)
    for role, opinion in ((Role.READER, SAYS_BENIGN), (Role.ADJUDICATOR, SAYS_MALIGNANT)):
        world.read(accounts[role].id, 1, replace(opinion, note=HOSTILE))
    with world.sessions.begin() as session:
        plan = StudyPlan(HOSTILE, (accounts[Role.READER].id,), (case_id,), (Arm.UNAIDED,))
        store.studies.make_study(session, accounts[Role.ADMINISTRATOR].id, plan)
    return world


@pytest.mark.parametrize(
    ("role", "page", "query"),
    [
        (Role.ADMINISTRATOR, "planning.py", {}),
        (Role.ADMINISTRATOR, "accounts.py", {}),
        (Role.ADMINISTRATOR, "studies.py", {}),
        (Role.ADMINISTRATOR, "audit.py", {}),
        (Role.ADJUDICATOR, "adjudicate.py", {"case": "1"}),
        (Role.ADJUDICATOR, "read_case.py", {"case": "1"}),
        (Role.READER, "read_study.py", {}),
        (Role.READER, "read_study.py", {"study": "1"}),
    ],
)
def test_names_and_notes_of_people_are_plain_to_each_other(
    people: World, monkeypatch: pytest.MonkeyPatch, role: Role, page: str, query: dict[str, str]
) -> None:
    sign_in(monkeypatch, people.sessions, f"{HOSTILE} {role}")
    drawn = _drawn_as_markdown(visit(page, **query))
    assert not _ACTS.search(drawn), [drawn[max(0, m.start() - 200) : m.end() + 50] for m in _ACTS.finditer(drawn)]
    assert r"!\[x\]" in drawn
