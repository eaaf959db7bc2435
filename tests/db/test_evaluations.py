"""Evaluations, runs, shifts and deployments in the store."""

from collections.abc import Sequence

import pytest
from sqlalchemy.exc import IntegrityError

from db import store
from db.database import Sessions
from db.values.audit import Action
from db.values.evaluations import EvaluatedImage, ImageFilter, RunState
from tests.helpers.rows import evaluated_image, new_evaluation, sha256_of
from tests.helpers.world import make_reader

IMAGES = (
    evaluated_image(1, malignant=True, probability=0.9),  # right, sure
    evaluated_image(2, malignant=True, probability=0.6),  # right, unsure
    evaluated_image(3, malignant=True, probability=0.4),  # wrong, unsure
    evaluated_image(4, malignant=True, probability=0.1),  # wrong, sure
    evaluated_image(5, malignant=False, probability=0.95),  # wrong, surest
    evaluated_image(6, malignant=False, probability=0.2, predicted="adenosis"),  # another benign class
)


def _added(sessions: Sessions, images: Sequence[EvaluatedImage] = IMAGES) -> int:
    with sessions.begin() as session:
        return store.evaluations.add_evaluation(session, new_evaluation('{"a": 1}'), images)


def _positions(
    sessions: Sessions, evaluation_id: int, chosen: ImageFilter, limit: int = 100, offset: int = 0
) -> list[int]:
    with sessions.read() as session:
        found = store.evaluations.evaluated_images(session, None, evaluation_id, chosen, limit=limit, offset=offset)
        return [image.position for image in found]


def test_an_evaluation_comes_back_as_it_was_stored(sessions: Sessions) -> None:
    number = _added(sessions)
    with sessions.read() as session:
        row = store.evaluations.evaluation(session, None, number)
        assert store.evaluations.evaluations(session, None) == [row]
        back = store.evaluations.evaluated_images(session, None, number)
    assert row is not None
    assert (row.model_version, row.split, row.images, row.document) == ("3f9a1c22b0e4", "test", 6, '{"a": 1}')
    assert row.at.tzinfo is not None
    assert sorted(back, key=lambda image: image.position) == list(IMAGES)


def test_the_newest_evaluation_comes_first(sessions: Sessions) -> None:
    first, second = _added(sessions), _added(sessions, ())
    with sessions.read() as session:
        assert [row.id for row in store.evaluations.evaluations(session, None)] == [second, first]
        assert store.evaluations.evaluation(session, None, second + 1) is None


def test_the_most_confidently_wrong_images_come_first(sessions: Sessions) -> None:
    assert _positions(sessions, _added(sessions), ImageFilter()) == [5, 4, 3, 6, 2, 1]


@pytest.mark.parametrize(
    ("chosen", "positions"),
    [
        (ImageFilter(malignant=True, called_malignant=False), [4, 3]),
        (ImageFilter(malignant=False, called_malignant=True), [5]),
        (ImageFilter(label="fibroadenoma", predicted="adenosis"), [6]),
        (ImageFilter(patient_id="patient 0"), [4, 6, 2]),
        (ImageFilter(magnification="100X", malignant=True), [3, 1]),
        (ImageFilter(label="lobular_carcinoma"), []),
    ],
)
def test_a_cell_opens_its_images_and_no_others(sessions: Sessions, chosen: ImageFilter, positions: list[int]) -> None:
    number = _added(sessions)
    _added(sessions)
    assert _positions(sessions, number, chosen) == positions
    with sessions.read() as session:
        assert store.evaluations.count_evaluated_images(session, None, number, chosen) == len(positions)


def test_images_are_given_page_by_page(sessions: Sessions) -> None:
    number = _added(sessions)
    pages = [_positions(sessions, number, ImageFilter(), limit=4, offset=offset) for offset in (0, 4, 8)]
    assert pages == [[5, 4, 3, 6], [2, 1], []]


def test_of_eight_thousand_images_a_cell_gives_its_page_and_its_count(sessions: Sessions) -> None:
    images = [evaluated_image(n, malignant=n % 3 > 0, probability=(n % 997) / 997) for n in range(8000)]
    number = _added(sessions, images)
    missed = ImageFilter(malignant=True, called_malignant=False)
    assert len(_positions(sessions, number, missed)) == 100
    with sessions.read() as session:
        assert store.evaluations.count_evaluated_images(session, None, number, missed) == sum(
            image.malignant and not image.called_malignant for image in images
        )


def test_where_only_malignancy_is_compared_a_right_call_is_not_sorted_with_the_wrong_ones(sessions: Sessions) -> None:
    right = evaluated_image(1, malignant=True, probability=0.9, predicted="malignant")
    unsure = evaluated_image(2, malignant=True, probability=0.6, predicted="malignant")
    wrong = evaluated_image(3, malignant=True, probability=0.4, predicted="benign")
    assert _positions(sessions, _added(sessions, (right, unsure, wrong)), ImageFilter()) == [3, 2, 1]


def test_an_evaluation_is_stored_whole_or_not_at_all(sessions: Sessions) -> None:
    with pytest.raises(IntegrityError):
        _added(sessions, [IMAGES[0], IMAGES[0]])
    with sessions.read() as session:
        assert store.evaluations.evaluations(session, None) == []


def test_an_impossible_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        evaluated_image(1, malignant=True, probability=1.5)


def test_a_shift_comes_back_as_it_was_stored(sessions: Sessions) -> None:
    with sessions.begin() as session:
        number = store.evaluations.add_shift(session, "breakhis", "bach", "3f9a1c22b0e4", '{"frechet": 14.2}')
    with sessions.read() as session:
        [row] = store.evaluations.shifts(session)
    assert (row.id, row.source, row.target, row.document) == (number, "breakhis", "bach", '{"frechet": 14.2}')


def test_a_run_is_known_from_its_start_to_its_end(sessions: Sessions) -> None:
    with sessions.begin() as session:
        number = store.models.start_run(session, "starter", "runs/1", '{"seed": 0}')
    with sessions.read() as session:
        row = store.models.run(session, number)
    assert row is not None
    assert (row.state, row.finished_at, row.history, row.checkpoint_sha256) == (RunState.RUNNING, None, None, None)
    with sessions.begin() as session:
        store.models.finish_run(session, number, RunState.FINISHED, "[]", sha256_of("weights"))
    with sessions.read() as session:
        [row] = store.models.runs(session)
        assert store.models.run(session, number) == row
        assert store.models.run(session, number + 1) is None
    assert (row.state, row.history, row.checkpoint_sha256) == (RunState.FINISHED, "[]", sha256_of("weights"))
    assert row.finished_at is not None
    assert row.finished_at >= row.started_at


def test_a_run_that_is_resumed_in_its_folder_keeps_its_row(sessions: Sessions) -> None:
    with sessions.begin() as session:
        first = store.models.start_run(session, "starter", "runs/1", "{}")
        store.models.finish_run(session, first, RunState.FAILED, "[]")
    with sessions.begin() as session:
        assert store.models.start_run(session, "starter", "runs/1", '{"seed": 1}') == first
        assert store.models.start_run(session, "starter", "runs/2", "{}") != first
    with sessions.read() as session:
        newest, resumed = store.models.runs(session)
    assert (resumed.state, resumed.config, resumed.finished_at) == (RunState.RUNNING, '{"seed": 1}', None)
    assert newest.folder == "runs/2"


def test_a_run_does_not_end_running_and_an_unknown_one_not_at_all(sessions: Sessions) -> None:
    with sessions.begin() as session:
        number = store.models.start_run(session, "starter", "runs/1", "{}")
        with pytest.raises(ValueError, match="finished or failed"):
            store.models.finish_run(session, number, RunState.RUNNING, "[]")
        with pytest.raises(LookupError, match="no run number"):
            store.models.finish_run(session, number + 1, RunState.FINISHED, "[]")


def test_the_checkpoint_put_into_service_last_is_in_service(sessions: Sessions) -> None:
    with sessions.read() as session:
        assert store.models.in_service(session) is None
    with sessions.begin() as session:
        reader = make_reader(session)
        first = store.models.put_in_service(session, None, "models/a.safetensors", sha256_of("a"), "a")
        second = store.models.put_in_service(session, reader, "models/b.safetensors", sha256_of("b"), "b")
    with sessions.read() as session:
        assert store.models.in_service(session) == second
        assert store.models.deployments(session) == [second, first]
    assert (first.account, second.account) == (None, "dr. a")


def test_putting_a_checkpoint_into_service_is_audited(sessions: Sessions) -> None:
    with sessions.begin() as session:
        reader = make_reader(session)
        store.models.put_in_service(session, reader, "models/a.safetensors", sha256_of("a"), "n" * 200)
    with sessions.read() as session:
        event = store.audit.audit_trail(session)[0]
    assert (event.account, event.action) == ("dr. a", Action.MODEL_IN_SERVICE)
    assert event.subject.startswith(f"{sha256_of('a')[:12]} nnn")
