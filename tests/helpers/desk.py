"""A database, files and queued images on which workers are tried, and a classifier that needs no network."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.demo import demo_image
from core.heatmaps import encode_png
from core.settings import Settings
from db import store
from db.files import Files
from db.session import Sessions
from db.values import ImageRow, ModelIdentity, Opinion, Reveal
from service.intake import CasePlan, take_in_all
from service.worker import Worker
from tests.helpers.databases import open_new
from tests.helpers.fakes import FakeClassifier

_MODEL = ModelIdentity("0123456789ab", "a fake", demonstration=True)
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Desk:
    """A database, a folder of files and one case of queued images."""

    settings: Settings
    sessions: Sessions
    files: Files
    account_id: int

    def queue(self, images: int, *, first: int = 0) -> int:
        """Take generated images in, counted from `first`, and give their case."""
        named = [(f"{n}.png", encode_png(demo_image(n, "benign"))) for n in range(first, first + images)]
        taken = list(take_in_all(self.sessions, self.files, CasePlan(self.account_id, "100X"), named))
        assert taken[0].case_id is not None
        return taken[0].case_id

    def worker(self, classifier: FakeClassifier, name: str = "test:1:1") -> Worker:
        """Make a worker of this process."""
        return Worker(name, self.sessions, self.files, classifier, _MODEL, beat_seconds=0.05)

    def images(self, case_id: int) -> tuple[ImageRow, ...]:
        """Give the images of a case."""
        with self.sessions.begin() as session:
            return store.open_case(session, case_id, self.account_id).images

    def reveal(self, case_id: int) -> Reveal:
        """Save a first read and give what the model says."""
        with self.sessions.begin() as session:
            store.record_first_read(session, case_id, self.account_id, Opinion("benign", 3), datetime.now(UTC))
        with self.sessions.begin() as session:
            reveal = store.open_case(session, case_id, self.account_id).reveal
        assert reveal is not None
        return reveal

    def waiting(self) -> int:
        """Count the jobs that are not done."""
        with self.sessions.read() as session:
            return store.jobs_waiting(session)

    def holders(self) -> list[str]:
        """Name the workers that hold a job."""
        with self.sessions.read() as session:
            return store.running_workers(session)


@contextmanager
def open_desk(tmp_path: Path) -> Iterator[Desk]:
    """Lay out a real database and real files until the block ends."""
    checkpoint = tmp_path / "small.safetensors"
    settings = Settings(tmp_path, f"sqlite:///{tmp_path / 'test.sqlite'}", checkpoint, None, "cpu", 1)
    sessions = open_new(tmp_path / "test.sqlite")
    with sessions.begin() as session:
        account_id = store.single_reader(session).id
    yield Desk(settings, sessions, Files(settings.files), account_id)
    sessions.dispose()


def wait_until(true: Callable[[], bool], what: str, seconds: float = 90) -> None:
    """Look again and again until it is true; never longer than so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.02)
