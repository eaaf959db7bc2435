"""Queued images, and workers of this process that analyse them with a classifier that needs no network."""

from datetime import UTC, datetime
from pathlib import Path

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from db import store
from db.values.reading import ImageRow, Opinion, Reveal
from service.worker.worker import Worker
from tests.helpers.fakes import FakeClassifier
from tests.helpers.world import CARD_MODEL, World

PROJECT = Path(__file__).resolve().parents[2]


def queue_images(world: World, images: int, *, first: int = 0) -> int:
    """Take small generated images in, counted from `first`, and return their case."""
    return world.add_case(
        *range(first, first + images), pixels=lambda seed: encode_png(generate_tissue(seed, "benign", 240, 240))
    )


def make_worker(world: World, classifier: FakeClassifier) -> Worker:
    """Make a worker of this process."""
    return Worker("test:1:1", world.sessions, world.files, classifier, CARD_MODEL, beat_seconds=0.05)


def images_of_case(world: World, case_id: int) -> tuple[ImageRow, ...]:
    """Return the images of a case, with what became of their jobs."""
    return world.open_case(case_id).images


def reveal_case(world: World, case_id: int) -> Reveal:
    """Save a first read now and return what the model says."""
    with world.sessions.begin() as session:
        store.reads.record_first_read(session, case_id, world.reader, Opinion("benign", 3), datetime.now(UTC))
    reveal = world.open_case(case_id).reveal
    assert reveal is not None
    return reveal


def count_waiting_jobs(world: World) -> int:
    """Count the jobs that are not done."""
    with world.sessions.read() as session:
        return store.jobs.jobs_waiting(session)


def names_of_working(world: World) -> list[str]:
    """Name the workers that hold a job."""
    with world.sessions.read() as session:
        return store.jobs.running_workers(session)
