"""The engine behind the server: each request gets its own answer, whatever else is asked, cancelled or killed."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import func, make_url, select

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from core.imaging.limits import UnreadableImageError
from core.pipeline import analyse
from core.results import Analysis, Priority, RgbImage
from db import database, store, tables
from db.errors import DatabaseBusyError
from db.values.evaluations import ThresholdAim
from service.engine.queue import AT_ONCE, Result, Ticket
from service.engine.requests import AnalysisAnswer, AnalysisRequest, EngineBusyError, EngineUnavailableError
from service.installation import Installation
from tests.helpers.concurrency import run_async, wait_until
from tests.helpers.engines import VERSION, Engine, running_engine, watermarked
from tests.helpers.fakes import FakeClassifier, nothing
from tests.helpers.stress import amount
from tests.helpers.world import World, open_world

A_MEGABYTE = 1_000_000


@pytest.fixture
def engine(world: World) -> Iterator[Engine]:
    """A queue without workers that remembers no answers."""
    with running_engine(world) as made:
        yield made


@dataclass
class Gate:
    """A network that waits to be let go; each time it begins is counted."""

    go: Event = field(default_factory=Event)
    times: int = 0

    def pass_through(self) -> None:
        self.times += 1
        assert self.go.wait(60)

    @property
    def classifier(self) -> FakeClassifier:
        return FakeClassifier(meanwhile=self.pass_through)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.go.set()


def ask(engine: Engine, request: AnalysisRequest) -> AnalysisAnswer:
    return run_async(engine.client.analyse(request))


def expected(data: bytes, *, heatmap: bool = False) -> Analysis:
    return analyse(data, FakeClassifier(), heatmap=heatmap)


def test_an_answer_is_the_analysis_of_the_image_with_the_version_of_the_model(engine: Engine) -> None:
    engine.add_worker()
    for heatmap in (False, True):
        answer = ask(engine, AnalysisRequest(watermarked(7), heatmap=heatmap))
        assert answer.analysis == expected(watermarked(7), heatmap=heatmap)
        assert (answer.analysis.heatmap is not None) == heatmap
        assert (answer.model_version, answer.cached) == (VERSION, False)


def test_the_answers_of_twenty_sessions_never_cross(engine: Engine) -> None:
    for _ in range(2):
        engine.add_worker()
    each = amount(50, 10)
    images = [[watermarked(each * session + number) for number in range(each)] for session in range(20)]

    async def ask_one_after_another(session: int) -> list[AnalysisAnswer]:
        priority: Priority = "cohort" if session % 4 == 0 else "interactive"
        return [await engine.client.analyse(AnalysisRequest(data, priority=priority)) for data in images[session]]

    async def ask_all() -> list[list[AnalysisAnswer]]:
        return await asyncio.gather(*(ask_one_after_another(session) for session in range(20)))

    answers = [answer.analysis for answer in chain.from_iterable(run_async(ask_all()))]
    assert answers == [expected(data) for data in chain.from_iterable(images)]
    assert len({answer.prediction.probabilities for answer in answers if answer.prediction}) == 20 * each


def test_a_bad_file_is_refused_in_the_words_of_the_decoder(engine: Engine) -> None:
    engine.add_worker()
    with pytest.raises(UnreadableImageError) as direct:
        analyse(b"no image", FakeClassifier())
    with pytest.raises(UnreadableImageError, match=str(direct.value)):
        ask(engine, AnalysisRequest(b"no image"))
    assert ask(engine, AnalysisRequest(watermarked(1))).analysis == expected(watermarked(1))


def test_a_scale_of_no_microscope_is_refused(engine: Engine) -> None:
    engine.add_worker()
    with pytest.raises(ValueError, match="300"):
        ask(engine, AnalysisRequest(watermarked(1), um_per_px=300))


def test_an_error_of_ours_is_told_without_its_details(engine: Engine) -> None:
    def fail() -> None:
        raise ZeroDivisionError("line 7 of secret.py")

    engine.add_worker(FakeClassifier(meanwhile=fail))
    with pytest.raises(RuntimeError, match=r"internal error \(ZeroDivisionError\)") as told:
        ask(engine, AnalysisRequest(watermarked(1)))
    assert "secret" not in str(told.value)


def test_a_busy_database_is_no_error_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    with open_world(tmp_path) as world, running_engine(world) as engine:
        engine.add_worker()
        with closing(sqlite3.connect(make_url(world.settings.database).database or "", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(DatabaseBusyError, match="the database is busy"):
                engine.queue.submit(AnalysisRequest(watermarked(1))).result.result(timeout=60)


def test_nothing_of_a_request_is_stored(engine: Engine) -> None:
    engine.add_worker()
    ask(engine, AnalysisRequest(watermarked(1), heatmap=True))
    with engine.world.sessions.read() as session:
        for table in (tables.Image, tables.Job, tables.Prediction, tables.Case):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    assert not [path for path in engine.world.settings.files.rglob("*") if path.is_file()]


def test_without_workers_the_reason_is_said_at_once(installation: Installation) -> None:
    with pytest.raises(EngineUnavailableError, match="has not started a worker"):
        run_async(installation.analyser.analyse(AnalysisRequest(watermarked(1))))


def test_a_request_waits_for_a_worker_that_is_still_loading(engine: Engine) -> None:
    async def ask_first() -> AnalysisAnswer:
        asked = asyncio.create_task(engine.client.analyse(AnalysisRequest(watermarked(3))))
        await asyncio.to_thread(wait_until, lambda: bool(engine.queue._waiting["interactive"]))
        await asyncio.to_thread(engine.add_worker)
        return await asked

    assert run_async(ask_first()).analysis == expected(watermarked(3))


def test_when_no_worker_can_be_started_those_who_wait_and_those_who_come_are_told_why(engine: Engine) -> None:
    waiting = engine.queue.submit(AnalysisRequest(watermarked(1)))
    engine.queue.give_up("small.safetensors is damaged")
    with pytest.raises(EngineUnavailableError, match="is damaged"):
        waiting.result.result(60)
    with pytest.raises(EngineUnavailableError, match="is damaged"):
        ask(engine, AnalysisRequest(watermarked(1)))
    engine.add_worker()
    assert ask(engine, AnalysisRequest(watermarked(1))).analysis == expected(watermarked(1))


def _submit(engine: Engine, *numbers: int) -> list[Ticket]:
    return [engine.queue.submit(AnalysisRequest(watermarked(number))) for number in numbers]


def _analyses(tickets: list[Ticket]) -> list[Analysis]:
    return [ticket.result.result(60).analysis for ticket in tickets]


def test_a_full_queue_says_when_to_come_back_and_a_cohort_fills_only_its_own(world: World, gate: Gate) -> None:
    with running_engine(world, most_waiting=3) as engine:
        engine.add_worker(gate.classifier)
        requests = [AnalysisRequest(watermarked(number), priority="cohort") for number in range(AT_ONCE["cohort"] + 4)]
        cohort = []
        for request in requests[:-1]:
            cohort.append(engine.queue.submit(request))
            in_hand = min(len(cohort), AT_ONCE["cohort"])
            wait_until(lambda n=in_hand: len(engine.queue._links[0].in_hand) == n)  # type: ignore[misc]
        with pytest.raises(EngineBusyError) as busy:
            engine.queue.submit(requests[-1])
        assert 1 <= busy.value.retry_after <= 60
        interactive = _submit(engine, 99)
        gate.go.set()
        assert _analyses([*interactive, *cohort])[0] == expected(watermarked(99))


def test_a_cancelled_request_is_not_analysed_wherever_it_was(engine: Engine, gate: Gate) -> None:
    engine.add_worker(gate.classifier)
    at_once = AT_ONCE["interactive"]

    async def cancel_some() -> list[AnalysisAnswer | BaseException]:
        tasks = [
            asyncio.create_task(engine.client.analyse(AnalysisRequest(watermarked(number))))
            for number in range(at_once + 2)
        ]
        # All that the worker has in hand, as half of the image that is in the network waits too.
        waiting = engine.workers[0].owner._lanes["interactive"]
        await asyncio.to_thread(wait_until, lambda: gate.times == 1 and len(waiting) == at_once)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.wait(tasks[1:])
        await asyncio.to_thread(wait_until, lambda: sum(one.is_cancelled() for one in waiting) == at_once - 1)
        gate.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = run_async(cancel_some())
    assert isinstance(answers[0], AnalysisAnswer)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[1:])
    wait_until(lambda: not engine.queue._links[0].in_hand, "the worker to have nothing in hand")
    assert gate.times <= 3, "half of the image in hand, and the two halves of the one that was not cancelled"
    assert ask(engine, AnalysisRequest(watermarked(5))).analysis == expected(watermarked(5))


def test_what_a_killed_worker_had_in_hand_is_answered_once_by_another(engine: Engine, gate: Gate) -> None:
    first = engine.add_worker(gate.classifier)
    tickets = _submit(engine, *range(20))
    wait_until(lambda: gate.times == 1 and len(engine.queue._links[0].in_hand) == AT_ONCE["interactive"])
    answered: list[Future[Result]] = []
    for ticket in tickets:
        ticket.result.add_done_callback(answered.append)
    first.end()
    assert first.stopped.wait(60), "a worker that cannot be asked any more ends"
    engine.add_worker()
    assert _analyses(tickets) == [expected(watermarked(number)) for number in range(20)]
    gate.go.set()
    assert len(answered) == 20


@dataclass(frozen=True, slots=True)
class Mortal(FakeClassifier):
    """Dies of an image whose first pixel is black."""

    die: Callable[[], None] = nothing

    def normalise(self, image: RgbImage) -> RgbImage:
        if not image[0, 0].any():
            self.die()
        return image


def test_an_image_that_ends_every_worker_is_given_up_and_takes_no_other_along(engine: Engine) -> None:
    harmless = [encode_png(generate_tissue(seed, "benign", 96, 96)) for seed in range(5)]
    poison, *others = [engine.queue.submit(AnalysisRequest(data)) for data in (watermarked(1), *harmless)]
    ended = 0
    while not poison.result.done():
        engine.add_worker(Mortal(die=engine.end_newest))
        wait_until(lambda: not engine.queue._links, "the worker to end")
        ended += 1
    assert ended == 5
    with pytest.raises(EngineUnavailableError, match="5 workers ended"):
        poison.result.result()
    engine.add_worker()
    assert _analyses(others) == [expected(data) for data in harmless]


def test_the_same_image_is_remembered_for_the_same_question_only(world: World) -> None:
    with running_engine(world, cache_bytes=A_MEGABYTE) as engine:
        engine.add_worker()
        same = AnalysisRequest(watermarked(1))
        answers = [ask(engine, same), ask(engine, same)]
        assert [answer.cached for answer in answers] == [False, True]
        assert answers[0].analysis == answers[1].analysis == expected(watermarked(1))
        for other in (
            AnalysisRequest(watermarked(2)),
            AnalysisRequest(watermarked(1), heatmap=True),
            AnalysisRequest(watermarked(1), um_per_px=0.5),
        ):
            assert [ask(engine, other).cached, ask(engine, other).cached] == [False, True]
        with world.sessions.begin() as session:
            store.models.choose_threshold(session, world.reader, VERSION, ThresholdAim.SENSITIVITY, 0.25)
        chosen = [ask(engine, same), ask(engine, same)]
        assert [answer.cached for answer in chosen] == [False, True]
        assert {answer.analysis.prediction.threshold for answer in chosen if answer.analysis.prediction} == {0.25}
        engine.workers[0].end()
        wait_until(lambda: not engine.queue._links)
        engine.add_worker(version="another version")
        assert [ask(engine, same).cached, ask(engine, same).cached] == [False, True]


def test_what_is_remembered_is_bounded_and_the_least_used_goes_first(world: World) -> None:
    size = expected(watermarked(1), heatmap=True).heatmap
    assert size is not None
    with running_engine(world, cache_bytes=3 * (size.nbytes + 5000)) as engine:
        engine.add_worker()
        first, *others = [AnalysisRequest(watermarked(number), heatmap=True) for number in range(4)]
        for request in (first, *others[:2]):
            assert not ask(engine, request).cached
        assert ask(engine, first).cached
        assert not ask(engine, others[2]).cached
        assert ask(engine, first).cached
        assert not ask(engine, others[0]).cached
