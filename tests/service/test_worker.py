"""The worker: what becomes of one job, and whose jobs are given back."""

import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url, select, text, update
from sqlalchemy.exc import OperationalError

from core.card import TrainedScale
from core.imaging.scale import Scale
from db import database, store, tables
from db.values.evaluations import ThresholdAim
from db.values.jobs import JobState
from db.values.scales import ChosenScale
from service.intake import add_demo_case
from service.worker import worker as worker_module
from service.worker.lost_workers import SilentJobs, is_dead, release_dead_workers, worker_name
from service.worker.protocol import UNUSABLE_CHECKPOINT
from service.worker.supervisor import worker_environment
from service.worker.worker import Worker
from tests.helpers.concurrency import wait_until
from tests.helpers.fakes import FAKE_CARD, FakeClassifier
from tests.helpers.full_disks import FullDisk
from tests.helpers.scopes import FixedScope
from tests.helpers.workers import (
    images_of_case,
    make_worker,
    names_of_working,
    queue_images,
    reveal_case,
)
from tests.helpers.world import CARD, World, open_world, write_card


def test_an_image_is_analysed_at_the_scale_that_is_recorded_for_it(world: World) -> None:
    case_id = queue_images(world, 1)
    classifier = FakeClassifier(replace(FAKE_CARD, scale=TrainedScale(0.25, 1.0, 0.5)), malignant=0.8)
    (image,) = images_of_case(world, case_id)
    patches = []
    for um_per_px in (0.5, 0.25):
        with world.sessions.begin() as session:
            chosen = ChosenScale(Scale(um_per_px, "typed"))
            store.scales.set_scale(session, world.reader, image.id, chosen)
        assert make_worker(world, classifier).work_once()
        with world.sessions.read() as session:
            newest = session.scalars(select(tables.Prediction).order_by(tables.Prediction.id.desc())).first()
            assert newest is not None
            patches.append(newest.benign_patches + newest.malignant_patches)
    assert patches[0] > patches[1], "an image of finer pixels is made smaller"


def test_a_generated_demo_case_shows_how_the_model_answers_though_it_is_unlike_real_tissue(world: World) -> None:
    demo = add_demo_case(world.sessions, world.files, world.reader)
    (uploaded,) = images_of_case(world, queue_images(world, 1))
    worker = make_worker(world, FakeClassifier(malignant=0.8, scope=FixedScope(2.0)))
    while worker.work_once():
        continue
    assert {image.prediction.label for image in reveal_case(world, demo).images} == {"malignant"}
    with world.sessions.read() as session:
        assert session.scalars(select(tables.ImageScope.image_id)).all() == [uploaded.id]


def test_a_map_of_the_scope_is_stored_for_what_looks_unlike_and_not_for_an_unknown_scale_alone(world: World) -> None:
    queue_images(world, 3)
    card = replace(FAKE_CARD, scale=TrainedScale(0.2, 0.5, 0.25))
    worker = make_worker(world, FakeClassifier(card, 0.8, scope=FixedScope(0.5, 1.5, 2.5)))
    while worker.work_once():
        continue
    with world.sessions.read() as session:
        rows = session.scalars(select(tables.ImageScope).order_by(tables.ImageScope.id)).all()
        found = [(row.level, row.map_sha256 is not None) for row in rows]
    assert found == [("unusual", False), ("unusual", True), ("out", True)]


def test_a_queued_image_becomes_a_prediction_with_its_heat_map(world: World) -> None:
    case_id = queue_images(world, 1)
    worker = make_worker(world, FakeClassifier(malignant=0.8))
    assert worker.work_once()
    assert not worker.work_once()
    [image] = reveal_case(world, case_id).images
    assert image.prediction.malignant_probability == pytest.approx(0.8)
    assert (image.heatmap_low, image.heatmap_high) == (-1.0, 2.0)


def test_a_damaged_file_fails_in_words_and_the_next_image_gets_its_turn(world: World) -> None:
    case_id = queue_images(world, 2)
    with world.sessions.begin() as session:
        job = store.jobs.claim_job(session, "looking")
        assert job is not None
        store.jobs.release_jobs(session, "looking")
    path = next(path for path in world.settings.files.rglob(job.file_sha256))
    path.write_bytes(b"\0" * 100)
    worker = make_worker(world, FakeClassifier(malignant=0.8))
    while worker.work_once():
        continue
    damaged, whole = sorted(images_of_case(world, case_id), key=lambda image: image.id != job.image_id)
    assert (damaged.job, whole.job) == (JobState.FAILED, JobState.DONE)
    assert damaged.job_message == "the stored image is damaged; restore it from a backup"


def test_an_error_of_ours_is_told_to_the_reader_without_a_traceback(world: World) -> None:
    def fail() -> None:
        raise ZeroDivisionError("line 7 of secret.py")

    case_id = queue_images(world, 1)
    make_worker(world, FakeClassifier(meanwhile=fail)).work_once()
    [image] = images_of_case(world, case_id)
    assert image.job == JobState.FAILED
    assert image.job_message is not None
    assert "internal error (ZeroDivisionError)" in image.job_message
    assert "secret" not in image.job_message


class Locks:
    """Locks the database of a world while the network looks at an image, as another program does."""

    def __init__(self, world: World) -> None:
        path = make_url(world.settings.database).database or ""
        self._other = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
        self.times = 0

    def lock(self) -> None:
        self.times += 1
        self._other.execute("BEGIN EXCLUSIVE")

    def end(self) -> None:
        self._other.execute("ROLLBACK")
        self._other.close()


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An installation whose database does not wait long for whoever locks it."""
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    monkeypatch.setattr(worker_module, "_BUSY_SECONDS", 0.05)
    with open_world(tmp_path) as made:
        yield made


def _work_once_through(
    worker: Worker, trouble: str, end_it: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Let a worker do one job, and end what keeps it waiting once its log tells of it."""
    thread = threading.Thread(target=worker.work_once)
    thread.start()
    wait_until(lambda: trouble in caplog.text)
    end_it()
    thread.join()


@pytest.mark.parametrize("ends", ["analysed", "failed"])
def test_an_image_is_analysed_once_however_long_the_database_is_busy_afterwards(
    impatient: World, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    case_id = queue_images(impatient, 1)
    locks = Locks(impatient)

    def look() -> None:
        locks.lock()
        if ends == "failed":
            raise RuntimeError("out of order")

    worker = make_worker(impatient, FakeClassifier(meanwhile=look))
    _work_once_through(worker, "the database is busy; trying again", locks.end, caplog)
    (image,) = images_of_case(impatient, case_id)
    assert image.job is (JobState.FAILED if ends == "failed" else JobState.DONE)
    assert locks.times == 1


def test_an_analysis_waits_for_room_on_the_disk_and_is_not_made_again(
    impatient: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    case_id, disk, looked = queue_images(impatient, 1), FullDisk(monkeypatch), list[int]()
    worker = make_worker(impatient, FakeClassifier(meanwhile=lambda: looked.append(1)))
    _work_once_through(worker, "the disk of the data folder is full; trying again", disk.make_room, caplog)
    (image,) = images_of_case(impatient, case_id)
    assert image.job is JobState.DONE
    assert len(looked) == 1


def test_a_worker_outlives_a_busy_database_and_can_be_stopped_meanwhile(
    impatient: World, caplog: pytest.LogCaptureFixture
) -> None:
    case_id = queue_images(impatient, 1)
    locks, stop = Locks(impatient), threading.Event()
    locks.lock()
    worker = make_worker(impatient, FakeClassifier())
    thread = threading.Thread(target=worker.run, args=[stop])
    thread.start()
    wait_until(lambda: "the database is busy; trying again" in caplog.text)
    locks.end()
    wait_until(lambda: images_of_case(impatient, case_id)[0].job is JobState.DONE)
    again = Locks(impatient)
    again.lock()
    caplog.clear()
    wait_until(lambda: "the database is busy; trying again" in caplog.text)
    stop.set()
    thread.join()
    again.end()


def test_a_worker_that_lost_its_claim_writes_nothing(world: World) -> None:
    case_id = queue_images(world, 1)

    def taken_over() -> None:
        with world.sessions.begin() as session:
            store.jobs.release_jobs(session, "test:1:1")
        with world.sessions.begin() as session:
            assert store.jobs.claim_job(session, "test:2:2") is not None

    make_worker(world, FakeClassifier(meanwhile=taken_over)).work_once()
    assert images_of_case(world, case_id)[0].job == JobState.RUNNING
    assert names_of_working(world) == ["test:2:2"]


def test_a_long_job_keeps_its_claim(world: World) -> None:
    case_id = queue_images(world, 1)
    released: list[int] = []
    clock = iter([0.0, 59.0, 61.0])
    silent = SilentJobs(lambda: next(clock))

    def last_beat() -> datetime | None:
        with world.sessions.read() as session:
            return session.scalar(select(tables.Job.heartbeat_at))

    def take_long() -> None:
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        with world.sessions.begin() as session:
            session.execute(update(tables.Job).values(heartbeat_at=long_ago))
        released.extend([silent.release(world.sessions), silent.release(world.sessions)])
        wait_until(lambda: last_beat() != long_ago, "the next beat")
        released.append(silent.release(world.sessions))

    make_worker(world, FakeClassifier(meanwhile=take_long)).work_once()
    assert released == [0, 0, 0]
    assert images_of_case(world, case_id)[0].job == JobState.DONE


def test_the_job_of_a_worker_that_is_silent_for_a_minute_is_queued_again_whatever_its_clock_said(world: World) -> None:
    queue_images(world, 1)
    with world.sessions.begin() as session:
        assert store.jobs.claim_job(session, "elsewhere:1:1")
        session.execute(update(tables.Job).values(heartbeat_at=datetime.now(UTC) + timedelta(days=1)))
    clock = iter([0.0, 59.9, 60.0, 75.0])
    silent = SilentJobs(lambda: next(clock))
    assert [silent.release(world.sessions) for _ in range(4)] == [0, 0, 0, 1]
    assert names_of_working(world) == []


def test_a_worker_refuses_a_checkpoint_that_has_changed_since_it_was_put_into_service(world: World) -> None:
    path = world.settings.data / "deployed.safetensors"
    write_card(path, CARD)
    with world.sessions.begin() as session:
        store.models.put_in_service(session, world.reader, str(path), "a" * 64, "deployed")
    start = [sys.executable, "-m", "service.worker"]
    environment = worker_environment(world.settings)
    done = subprocess.run(start, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == UNUSABLE_CHECKPOINT
    assert done.stdout.startswith("unusable deployed.safetensors has changed since it was put into service")


def test_images_are_classified_at_the_magnification_of_their_case(world: World) -> None:
    queue_images(world, 1)
    told: list[str | None] = []
    make_worker(world, FakeClassifier(magnified=told.append)).work_once()
    assert told == ["100X"]


def test_a_worker_finishes_the_image_in_hand_and_stops_when_another_checkpoint_is_put_into_service(
    world: World,
) -> None:
    case_id = queue_images(world, 2)

    def put_in_service() -> None:
        with world.sessions.begin() as session:
            store.models.put_in_service(session, world.reader, "models/new.safetensors", "a" * 64, "new")

    assert make_worker(world, FakeClassifier(meanwhile=put_in_service)).run(threading.Event())
    assert sorted(image.job for image in images_of_case(world, case_id)) == [JobState.DONE, JobState.QUEUED]


def test_a_worker_whose_checkpoint_stays_in_service_works_until_it_is_told_to_stop(world: World) -> None:
    case_id = queue_images(world, 2)
    with world.sessions.begin() as session:
        put = store.models.put_in_service(session, world.reader, "models/new.safetensors", "a" * 64, "new")
    stop = threading.Event()

    def stop_when_all_is_done() -> None:
        if any(image.job is JobState.DONE for image in images_of_case(world, case_id)):
            stop.set()

    worker = replace(make_worker(world, FakeClassifier(meanwhile=stop_when_all_is_done)), deployment=put.id)
    assert not worker.run(stop)
    assert {image.job for image in images_of_case(world, case_id)} == {JobState.DONE}


def test_two_jobs_are_in_hand_at_the_same_time_and_each_is_finished_once(world: World) -> None:
    case_id = queue_images(world, 2)
    stop, both = threading.Event(), threading.Barrier(2, timeout=60)

    def meet() -> None:
        both.wait()
        stop.set()

    worker = replace(make_worker(world, FakeClassifier(meanwhile=meet)), jobs_at_once=2)
    assert not worker.run(stop)
    assert {image.job for image in images_of_case(world, case_id)} == {JobState.DONE}
    with world.sessions.read() as session:
        assert session.scalars(select(tables.Job.attempts)).all() == [1, 1]


def test_an_error_outside_of_a_job_ends_all_its_threads(world: World) -> None:
    worker = replace(make_worker(world, FakeClassifier()), jobs_at_once=2)
    with world.sessions.begin() as session:
        session.execute(text("ALTER TABLE jobs RENAME TO lost_jobs"))
    stop = threading.Event()
    with pytest.raises(OperationalError):
        worker.run(stop)
    assert stop.is_set()


def test_this_process_is_not_taken_for_dead() -> None:
    assert not is_dead(worker_name())


def test_a_later_process_with_the_same_number_is_not_the_worker() -> None:
    host, pid, _ = worker_name().split(":")
    assert is_dead(f"{host}:{pid}:1.00")


def test_of_another_computer_nothing_is_assumed() -> None:
    assert not is_dead("elsewhere:1:1.00")
    assert not is_dead(f"{socket.gethostname()}:not a number:1.00")


def test_a_killed_process_is_dead_even_before_its_parent_looks() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = psutil.Process(process.pid).create_time()
        name = f"{socket.gethostname()}:{process.pid}:{started:.2f}"
        assert not is_dead(name)
        process.kill()
        wait_until(lambda: is_dead(name), "the process to be seen as dead")


def test_only_the_jobs_of_the_dead_are_released(world: World) -> None:
    queue_images(world, 2)
    alive, dead = worker_name(), f"{socket.gethostname()}:{os.getpid()}:1.00"
    with world.sessions.begin() as session:
        assert store.jobs.claim_job(session, alive)
        assert store.jobs.claim_job(session, dead)
    assert release_dead_workers(world.sessions) == 1
    assert names_of_working(world) == [alive]


def test_the_threshold_that_the_site_has_chosen_is_used_from_the_next_image_on(world: World) -> None:
    case_id = queue_images(world, 2)
    worker = make_worker(world, FakeClassifier(malignant=0.3))
    worker.work_once()
    with world.sessions.begin() as session:
        store.models.choose_threshold(session, world.reader, worker.model.version, ThresholdAim.SENSITIVITY, 0.25)
    worker.work_once()
    before, after = [image.prediction for image in reveal_case(world, case_id).images]
    assert (before.threshold, before.malignancy, before.malignant_patches) == (0.5, "benign", 0)
    assert (after.threshold, after.malignancy, after.benign_patches) == (0.25, "malignant", 0)


def test_the_threshold_of_another_version_is_not_used(world: World) -> None:
    case_id = queue_images(world, 1)
    with world.sessions.begin() as session:
        store.models.choose_threshold(session, world.reader, "another", ThresholdAim.SENSITIVITY, 0.25)
    make_worker(world, FakeClassifier(malignant=0.3)).work_once()
    assert reveal_case(world, case_id).images[0].prediction.threshold == 0.5
