"""No order of the worklist tells what the model says of a case that this reader has not read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from db import store, tables
from db.database import Sessions
from db.values.reading import CaseState, Opinion
from db.values.worklist import CaseFilter, CaseOrder, CaseRow
from tests.helpers.rows import BENIGN, OPENED, SAYS_MALIGNANT, prediction, sign_off_row
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import World, make_world

_FILTERS = (CaseFilter(), CaseFilter(states=[CaseState.READY, CaseState.FINAL, CaseState.DISCORDANT]))


@pytest.fixture
def world(sessions: Sessions) -> World:
    """Ten cases: of the first four the reader has a first read, of the first two a final one; others are signed."""
    made = make_world(sessions, cases=10)
    made.read(made.reader, made.cases[0], SAYS_MALIGNANT)
    made.read(made.reader, made.cases[1], BENIGN)
    with sessions.begin() as session:
        for case_id in made.cases[2:4]:
            store.reads.record_first_read(session, case_id, made.reader, BENIGN, OPENED)
    for case_id in made.cases[5:7]:
        made.read(made.readers[1], case_id, BENIGN)
    made.add(sign_off_row(made.cases[6], made.readers[1]))
    return made


def say(world: World, probabilities: Mapping[int, float], version: str) -> None:
    """Let a further version of the model speak; the reveal shows the latest one."""
    with world.sessions.begin() as session:
        for case_id, probability in probabilities.items():
            image_id = store.open_case.case_images(session, case_id)[0].id
            said = prediction(probability)
            session.add(
                tables.Prediction(
                    image_id=image_id,
                    model_version=version,
                    model_name="m",
                    demonstration=True,
                    label_set=said.label_set.name,
                    classes=list(said.label_set.classes),
                    malignant_classes=list(said.label_set.malignant),
                    probabilities=list(said.probabilities),
                    malignant_probability=said.malignant_probability,
                    threshold=said.threshold,
                    benign_patches=said.benign_patches,
                    malignant_patches=said.malignant_patches,
                    created_at=datetime.now(UTC),
                )
            )


def everything(world: World) -> list[object]:
    """Give all that the worklist tells this reader, in every order."""
    with world.sessions.read() as session:
        lists: list[object] = [
            whole_worklist(session, world.reader, wanted, order=order) for wanted in _FILTERS for order in CaseOrder
        ]
        following = [store.worklist.find_next_case(session, world.reader, case_id) for case_id in (None, *world.cases)]
        return [*lists, following, store.worklist.state_counts(session, world.reader)]


def ids(world: World, order: CaseOrder) -> list[int]:
    with world.sessions.read() as session:
        return [row.id for row in whole_worklist(session, world.reader, order=order)]


def test_whatever_the_model_says_of_unread_cases_the_list_stays_the_same(world: World) -> None:
    unread = world.cases[4:]
    before = everything(world)
    rng = np.random.default_rng(0)
    for number in range(3):
        values = rng.permutation(np.linspace(0.01, 0.99, len(unread)))
        say(world, dict(zip(unread, values.tolist(), strict=True)), f"version {number}")
        assert everything(world) == before


def test_the_least_certain_first_lists_what_has_a_first_read_and_nothing_else(world: World) -> None:
    one, two, three, four = world.cases[:4]
    for version, said in (("x", (0.45, 0.9, 0.05, 0.6)), ("y", (0.99, 0.42, 0.3, 0.5))):
        say(world, dict(zip(world.cases[:4], said, strict=True)), version)
        expected = [one, four, three, two] if version == "x" else [two, four, three, one]
        assert ids(world, CaseOrder.UNCERTAINTY) == expected


def test_the_most_contradicted_first_lists_what_has_a_final_read_by_what_was_shown(world: World) -> None:
    agrees, differs, three, four = world.cases[:4]
    assert ids(world, CaseOrder.DISCORDANCE) == [differs, agrees]
    say(world, {three: 0.99, four: 0.01}, "z")
    with world.sessions.begin() as session:
        for case_id, said in ((three, replace(BENIGN, reason="quality")), (four, BENIGN)):
            store.reads.record_final_read(session, case_id, world.reader, said, OPENED)
    assert ids(world, CaseOrder.DISCORDANCE) == [three, differs, agrees, four]
    say(world, {agrees: 0.01, differs: 0.01}, "after it was shown")
    assert ids(world, CaseOrder.DISCORDANCE) == [three, differs, agrees, four]
    world.read(world.reader, world.cases[4], Opinion(None, None))
    assert ids(world, CaseOrder.DISCORDANCE)[-1] == world.cases[4]


def test_nothing_of_others_stands_in_a_row_before_the_last_word(world: World) -> None:
    def rows(of: Sequence[int]) -> list[CaseRow]:
        with world.sessions.read() as session:
            return [
                replace(row, id=0, accession="", created_at=OPENED, first_image=0)
                for row in whole_worklist(session, world.reader)
                if row.id in of
            ]

    # Nobody has read the fourth, another reader the fifth, and against the model.
    assert rows([world.cases[4]]) == rows([world.cases[5]])
