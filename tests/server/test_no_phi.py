"""Of what a file says about a person nothing is kept: not in the database, on the disk, in logs or in exports."""

import random
import string
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from db import store
from db.backup.backup import BackupSource, make_backup
from db.database import Sessions, open_database
from db.files import Files
from db.store.exports import ExportDetail
from db.values.reading import CaseState, Stage
from pages.ui import csv_tables
from service.exports.case_report import CaseReportRequest, make_fhir_report, make_pdf_report
from service.exports.study_archive import ExportRequest, make_reads_archive
from tests.helpers.browser_tab import clicking_tab
from tests.helpers.concurrency import wait_until
from tests.helpers.exports import unzip
from tests.helpers.images.about_people import images_about_people, unpacked
from tests.helpers.networks import small_checkpoint
from tests.helpers.sent_bytes import SentBytes, spelled_text
from tests.helpers.server import Server, running_server
from tests.helpers.stress import amount
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import let_all_meet_the_model

pytestmark = pytest.mark.slow

WORDS = amount(200, 100)  # at least; a set of images holds about a hundred


class _Vocabulary:
    """Makes words that nobody writes by chance, each for one place of one file."""

    def __init__(self) -> None:
        self._chance = random.Random(11)  # noqa: S311 (no secret)
        self.words: dict[str, str] = {}

    def word(self, place: str) -> str:
        """Give a new word."""
        made = "Jane Doe " + "".join(self._chance.choices(string.ascii_uppercase, k=10))
        self.words[made.removeprefix("Jane Doe ")] = place
        return made

    def found_in(self, data: bytes) -> list[str]:
        """Say of which places a word stands in some bytes, or in what is packed in them."""
        parts = list(unpacked(data))
        return [
            place
            for word, place in self.words.items()
            if any(spelling in part for spelling in spelled_text(word) for part in parts)
        ]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Path]]:
    """A server in single-reader mode with a small model, and its folders."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "import").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("SECOND_READ_IMPORT_ROOT", str(tmp_path / "import"))
    monkeypatch.setenv("SECOND_READ_THREADS", "1")
    # The images are generated, of which the starter would have no opinion: this one has no scope, and makes heat maps.
    checkpoint = tmp_path / "small.safetensors"
    small_checkpoint(checkpoint)
    with running_server(tmp_path / "data", "127.0.0.1", checkpoint=checkpoint) as server:
        yield server, tmp_path


def _take_in(server: Server, folder: Path, vocabulary: _Vocabulary) -> None:
    """Upload one set of images after the other, and let the last one be read from a folder of the server."""
    seed, before = 0, -1
    while len(vocabulary.words) < WORDS:
        seed, before = seed + 1, len(vocabulary.words)
        files = list(images_about_people(seed, vocabulary.word))
        assert len(vocabulary.words) > before
        with clicking_tab(server.port) as tab:
            tab.open("upload_cases")
            if len(vocabulary.words) < WORDS or seed == 1:
                tab.upload("PNG, JPEG or TIFF images", files[: len(files) // 2])
                tab.press("Store images")
                assert "Read this case" in tab.all_words
                tab.open("upload_cases")
            (folder / "day").mkdir(exist_ok=True)
            for name, data in files:
                (folder / "day" / name).write_bytes(data)
            tab.type("Or a folder in", "day")
            tab.press("Store images")
            assert "Read this case" in tab.all_words
            assert "damaged" in tab.all_words


def _read_all(server: Server, sessions: Sessions, reader: int) -> SentBytes:
    """Read every case as somebody who did not bring it in; give everything that was sent."""
    tap = SentBytes(server.port)
    with sessions.read() as session:
        rows = whole_worklist(session, reader)
        images = [image.id for row in rows for image in store.open_case.case_images(session, row.id)]
    let_all_meet_the_model(sessions)
    with clicking_tab(server.port) as tab:
        for page in ("", "agreement", "models"):
            tab.open(page)
        for row in rows:
            tab.open("read_case", f"case={row.id}")
            tab.press("◇", "Save and reveal", "Yes, it cannot")
            tab.press("Keep mine", "Save and open next case", "Yes, it cannot")
        tap.note("websocket", tab.received)
    for image in images:
        for path in ("", "/thumbnail", "/heatmap", "/scope-map"):
            tap.ask(f"/images/{image}{path}")
    return tap


def test_no_word_about_a_person_outlives_the_intake(served: tuple[Server, Path]) -> None:
    server, root = served
    vocabulary = _Vocabulary()
    _take_in(server, root / "import", vocabulary)
    data = root / "data"
    sessions = open_database(f"sqlite:///{data / 'second_read.sqlite'}")
    with sessions.begin() as session:
        reader = store.accounts.single_reader(session).id
    wait_until(lambda: _waiting(sessions) == 0, "the images to be analysed", 300)
    tap = _read_all(server, sessions, reader)
    with sessions.read() as session:
        assert store.worklist.state_counts(session, reader)[CaseState.FINAL] > 0
        reads, finished = store.reads.own_reads(session, reader), store.agreement.finished_readings(session, reader)
    backup = make_backup(
        BackupSource(f"sqlite:///{data / 'second_read.sqlite'}", data, data / "files", data / "checkpoints"),
        root / "backups",
    )
    with tarfile.open(backup.path) as archive:
        assert vocabulary.found_in("\n".join(archive.getnames()).encode()) == []
    for made in (csv_tables.reads_csv(reads, {}), csv_tables.readings_csv(finished, {})):
        assert vocabulary.found_in(made.data + made.name.encode()) == []
    for name, made_of in _reports(sessions, data, reader):
        assert vocabulary.found_in(made_of + name.encode()) == [], name
    for where, sent in tap.heard:
        assert vocabulary.found_in(sent) == [], where
    kept = [path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(root / "import")]
    for path in kept:
        assert vocabulary.found_in(path.read_bytes() + str(path).encode()) == [], path
    pixels = [path for path in kept if path.is_relative_to(data / "files")]
    assert len(pixels) >= 8
    sessions.dispose()
    print(f"\n{len(vocabulary.words)} words about persons: none in {len(kept)} files and {len(tap.heard)} messages")


def _reports(sessions: Sessions, data: Path, reader: int) -> Iterator[tuple[str, bytes]]:
    """Make every export of reads and cases, with all the names that they can have."""
    yield from unzip(
        make_reads_archive(sessions, ExportRequest(reader, told=ExportDetail(named=True, clock_times=True)))
    ).items()
    with sessions.read() as session:
        cases = [read.case_id for read in store.reads.own_reads(session, reader) if read.stage is Stage.FINAL]
    for case_id in cases[:2]:
        wanted = CaseReportRequest(case_id, reader, named=True)
        yield "report.pdf", make_pdf_report(sessions, Files(data / "files"), wanted, None)
        yield "report.json", make_fhir_report(sessions, wanted)


def test_the_words_are_in_the_files_that_were_brought_in() -> None:
    vocabulary = _Vocabulary()
    files = list(images_about_people(1, vocabulary.word))
    found = [place for name, data in files for place in vocabulary.found_in(data + name.encode())]
    assert sorted(set(vocabulary.words.values()) - set(found)) == []
    assert len(found) >= 0.8 * len(vocabulary.words)


def _waiting(sessions: Sessions) -> int:
    with sessions.read() as session:
        return store.jobs.jobs_waiting(session)
