"""The watcher and real worker processes: every queued image is analysed once, whatever is killed on the way."""

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select, text

from core.computing import Computing
from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from core.pipeline import analyse
from core.results import Quality
from db import store, tables
from db.values.jobs import JobState
from db.values.reading import Opinion, StoredImage
from service.engine.queue import Ticket
from service.engine.requests import AnalysisRequest, EngineUnavailableError
from service.worker.supervisor import Supervisor
from tests.helpers import forked
from tests.helpers.concurrency import wait_until
from tests.helpers.networks import SMALL_CARD, small_checkpoint, small_classifier
from tests.helpers.stress import amount
from tests.helpers.workers import (
    count_waiting_jobs,
    images_of_case,
    names_of_working,
    queue_images,
    reveal_case,
)
from tests.helpers.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def watcher(world: World) -> Iterator[Supervisor]:
    """A watcher that is started by the test and always stopped."""
    made = Supervisor(world.settings, world.sessions)
    yield made
    made.stop()


def test_without_a_usable_checkpoint_images_wait_and_the_reason_is_known(world: World, watcher: Supervisor) -> None:
    case_id = queue_images(world, 1)
    watcher.start()
    wait_until(lambda: watcher.problem is not None, "the problem to be known")
    assert "small.safetensors" in (watcher.problem or "")
    assert images_of_case(world, case_id)[0].job == JobState.QUEUED
    sha256 = small_checkpoint(world.settings.checkpoint)
    wait_until(lambda: count_waiting_jobs(world) == 0, "the image to be analysed")
    assert watcher.problem is None
    assert watcher.model_version == sha256[:12]
    assert watcher.computing == Computing("torch-fp32", "cpu")
    assert reveal_case(world, case_id).model_version == sha256[:12]


def test_two_workers_share_the_images_and_each_is_analysed_once(world: World) -> None:
    small_checkpoint(world.settings.checkpoint)
    both = Supervisor(replace(world.settings, workers=2), world.sessions)
    both.start()
    try:
        seen: set[str] = set()
        for first in count(0, 10):
            if len(seen) == 2:
                break
            queue_images(world, 10, first=first)
            while count_waiting_jobs(world):
                seen.update(names_of_working(world))
        with world.sessions.read() as session:
            predictions = session.scalar(text("SELECT count(*) FROM predictions"))
            unfinished = session.scalar(text("SELECT count(*) FROM jobs WHERE state != 'done' OR attempts != 1"))
        assert (predictions, unfinished) == (first, 0)
    finally:
        both.stop()
    assert both.pid is None


def test_a_worker_that_is_still_loading_ends_at_once_with_its_server(world: World) -> None:
    small_checkpoint(world.settings.checkpoint)
    loading = Supervisor(world.settings, world.sessions)
    loading.start()
    wait_until(lambda: loading.pid is not None, "the worker to start")
    process = psutil.Process(loading.pid or 0)
    loading.stop()
    assert not process.is_running()
    assert loading.model_version is None


def test_a_checkpoint_put_into_service_is_taken_up_and_what_was_analysed_stays(
    world: World, watcher: Supervisor
) -> None:
    old = small_checkpoint(world.settings.checkpoint)
    before = queue_images(world, 2)
    watcher.start()
    wait_until(lambda: count_waiting_jobs(world) == 0, "the first images to be analysed")
    revealed = reveal_case(world, before)
    path = world.settings.data / "new.safetensors"
    new = small_checkpoint(path, replace(SMALL_CARD, name="new"))
    with world.sessions.begin() as session:
        store.models.put_in_service(session, world.reader, str(path), new, "new")
    wait_until(lambda: watcher.model_version == new[:12], "the worker to take it up")
    assert watcher.problem is None
    after = queue_images(world, 3, first=2)
    wait_until(lambda: count_waiting_jobs(world) == 0, "the next images to be analysed")
    assert (revealed.model_version, reveal_case(world, after).model_version) == (old[:12], new[:12])
    with world.sessions.begin() as session:
        assert store.open_case.open_case(session, before, world.reader).reveal == revealed


def test_a_checkpoint_that_changed_since_it_was_put_into_service_is_not_used(world: World, watcher: Supervisor) -> None:
    case_id = queue_images(world, 1)
    small_checkpoint(world.settings.checkpoint)
    with world.sessions.begin() as session:
        store.models.put_in_service(session, world.reader, str(world.settings.checkpoint), "a" * 64, "another")
    watcher.start()
    wait_until(lambda: watcher.problem is not None, "the problem to be known")
    assert "small.safetensors has changed since it was put into service" in (watcher.problem or "")
    assert str(world.settings.data) not in (watcher.problem or "")
    assert images_of_case(world, case_id)[0].job == JobState.QUEUED


def _replace_by_pipes(world: World, case_id: int) -> list[tuple[Path, bytes]]:
    """Replace the stored images of a case by pipes, in which a worker waits until bytes are written."""
    image = tables.Image
    with world.sessions.read() as session:
        hashes = session.scalars(select(image.file_sha256).where(image.case_id == case_id).order_by(image.position))
        paths = [world.files._path(sha256) for sha256 in hashes]
    images = [(path, path.read_bytes()) for path in paths]
    for path in paths:
        path.unlink()
        os.mkfifo(path)
    return images


def _count_running_jobs(world: World) -> int:
    with world.sessions.read() as session:
        return len(store.jobs.running_heartbeats(session))


def _is_told_to_stop(watcher: Supervisor) -> bool:
    """Return whether the server has closed the standard input of its worker."""
    process = watcher._workers[0]._process
    return process is not None and process.stdin is not None and process.stdin.closed


def test_stopping_the_server_stops_the_worker_and_leaves_no_claim(world: World, watcher: Supervisor) -> None:
    small_checkpoint(world.settings.checkpoint)
    images = _replace_by_pipes(world, queue_images(world, 5))
    watcher.start()
    # It analyses two images at a time, in their order.
    wait_until(lambda: _count_running_jobs(world) == 2, "two jobs to be claimed")
    pid = watcher.pid
    assert pid is not None
    with ThreadPoolExecutor(1) as beside:
        stopped = beside.submit(watcher.stop)
        wait_until(lambda: _is_told_to_stop(watcher), "the worker to be told to stop")
        for path, data in images[:2]:
            path.write_bytes(data)
        stopped.result()
    assert not psutil.pid_exists(pid)
    assert names_of_working(world) == []
    assert count_waiting_jobs(world) >= 3  # on a busy machine it may be killed before it has finished both


def _tissue(seed: int) -> bytes:
    return encode_png(generate_tissue(seed, "malignant", 300, 300))


def test_a_worker_that_is_killed_again_and_again_analyses_every_image_once(world: World, watcher: Supervisor) -> None:
    small_checkpoint(world.settings.checkpoint)
    images, wanted = amount(30, 6), amount(100, 2)
    cases = {queue_images(world, images): images}  # how many images each has
    moment = random.Random(7)  # noqa: S311 -- when to strike, not a secret
    watcher.start()
    asked: list[Ticket] = []
    kills = 0
    while kills < wanted:
        if not count_waiting_jobs(world):  # it was quicker than this test, which on a busy machine may happen again
            images = min(2 * images, 200)
            cases[queue_images(world, images, first=sum(cases.values()))] = images
        while sum(not ticket.result.done() for ticket in asked) < amount(10, 4):
            asked.append(watcher.requests.submit(AnalysisRequest(_tissue(len(asked)))))
        wait_until(lambda: bool(names_of_working(world)) or not count_waiting_jobs(world), "a job to be claimed")
        time.sleep(moment.uniform(0, 0.1))
        pid = watcher.pid
        if pid is None or not any(f":{pid}:" in name for name in names_of_working(world)):
            continue
        os.kill(pid, signal.SIGKILL)
        kills += 1
        wait_until(lambda pid=pid: watcher.pid != pid, "the watcher to notice")  # type: ignore[misc]
    wait_until(lambda: count_waiting_jobs(world) == 0, "all images to be analysed")
    for case_id, images in cases.items():
        assert {image.job for image in images_of_case(world, case_id)} == {JobState.DONE}
        reveal = reveal_case(world, case_id)
        assert len({image.image_id for image in reveal.images}) == len(reveal.images) == images
        assert all(image.heatmap_high is not None for image in reveal.images)
    with world.sessions.read() as session:
        assert session.execute(text("select count(*) from predictions")).scalar_one() == sum(cases.values())
    _check_answers(asked, kills)


def _check_answers(asked: list[Ticket], kills: int) -> None:
    """Check that each request has the answer of its own image.

    One may be given up after five kills; the first may hit others with it, then it is sent alone.
    """
    classifier = small_classifier()
    given_up = 0
    for seed, ticket in enumerate(asked):
        try:
            found = ticket.result.result(60).analysis.prediction
        except EngineUnavailableError:
            given_up += 1
            continue
        expected = analyse(_tissue(seed), classifier).prediction
        assert found is not None
        assert expected is not None
        assert found.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert given_up <= kills // 4


_SERVER = """
import sys, time
from core.settings import Settings
from db.database import open_database
from service.engine.queue import Ticket
from service.engine.requests import AnalysisRequest, EngineUnavailableError
from service.worker.supervisor import Supervisor
settings = Settings.from_environment()
watcher = Supervisor(settings, open_database(settings.database))
watcher.start()
while watcher.model_version is None:
    time.sleep(0.02)
print(watcher.pid, flush=True)
time.sleep(600)
"""


def test_a_killed_server_takes_its_worker_along_and_the_next_one_finishes(world: World, watcher: Supervisor) -> None:
    small_checkpoint(world.settings.checkpoint)
    queue_images(world, 8)
    chosen = {"SECOND_READ_DATA": str(world.settings.data), "SECOND_READ_DATABASE": world.settings.database}
    chosen |= {"SECOND_READ_CHECKPOINT": str(world.settings.checkpoint), "SECOND_READ_THREADS": "1"}
    with forked.running(_SERVER, environment=chosen) as server:
        orphan = int(server.stdout.readline())
        server.kill()
    wait_until(lambda: not psutil.pid_exists(orphan), "the worker to follow its server")
    assert names_of_working(world) == []
    watcher.start()
    wait_until(lambda: count_waiting_jobs(world) == 0, "all images to be analysed")


_READER = """
import sys
from datetime import UTC, datetime
from db import store, tables
from db.database import open_database
from db.values.reading import Opinion
sessions = open_database(sys.argv[1])
with sessions.begin() as session:
    account_id = store.accounts.single_reader(session).id
for case_id in map(int, sys.argv[2:]):
    sys.stdin.readline()  # no more reads than the test allows, however late its kill comes
    opinion = Opinion("malignant" if case_id % 2 else "benign", 1 + case_id % 5)
    with sessions.begin() as session:
        store.reads.record_first_read(session, case_id, account_id, opinion, datetime.now(UTC))
    print(case_id, flush=True)
"""


def _bare_cases(world: World, count: int) -> list[int]:
    cases = []
    with world.sessions.begin() as session:
        for number in range(count):
            sha256 = f"{number:064x}"
            cases.append(store.cases.add_case(session, world.reader, accession=None, magnification=None))
            store.cases.add_image(session, cases[-1], StoredImage(sha256, sha256, 100, 100, Quality(100, 0.9)))
    return cases


def test_a_killed_server_loses_no_read_that_it_acknowledged(world: World) -> None:
    cases = _bare_cases(world, 150)  # of which the readers below read 120 at most
    rest = cases
    for stop_after in (3, 17, 40):
        with forked.running(_READER, world.settings.database, *rest) as server:
            server.stdin.write("\n" * (stop_after + 20))
            server.stdin.flush()
            acknowledged = [int(server.stdout.readline()) for _ in range(stop_after)]
            server.kill()
            acknowledged += [int(line) for line in server.stdout if line.strip()]
        assert len(acknowledged) < len(rest)
        with world.sessions.begin() as session:
            for case_id in acknowledged:
                read = store.open_case.open_case(session, case_id, world.reader).first_read
                assert read is not None
                assert read.opinion == Opinion("malignant" if case_id % 2 else "benign", 1 + case_id % 5)
        rest = rest[len(acknowledged) + 1 :]
