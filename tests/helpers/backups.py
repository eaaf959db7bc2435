"""An installation to back up, and what is in it before and after."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from db import store
from db.audit.verify import verify
from db.backup.archive import DATABASE
from db.backup.backup import BackupSource
from db.database import open_database
from db.files import Files
from db.values.reading import StoredImage
from tests.helpers.databases import open_new
from tests.helpers.rows import BENIGN, OPENED, QUALITY, sha256_of
from tests.helpers.world import make_reader


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One installation, with a database and stored files."""

    data: Path

    @property
    def source(self) -> BackupSource:
        return BackupSource(
            f"sqlite:///{self.data / DATABASE}", self.data, self.data / "files", self.data / "checkpoints"
        )


def make_data_folder(data: Path) -> DataFolder:
    """Make an installation with three cases of one image each, read once."""
    made = DataFolder(data)
    sessions = open_new(data / DATABASE)
    files = Files(made.source.files)
    with sessions.begin() as session:
        reader = make_reader(session)
    for number in range(3):
        pixels = files.put(f"pixels {number}".encode())
        with sessions.begin() as session:
            case_id = store.cases.add_case(session, reader, accession=None, magnification="40X")
            store.cases.add_image(session, case_id, StoredImage(sha256_of(f"{number}"), pixels, 4, 4, QUALITY))
            store.reads.record_first_read(session, case_id, reader, BENIGN, OPENED)
    sessions.dispose()
    return made


def contents(data: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return every row but those of the audit trail, to which a backup and a restore add."""
    with closing(sqlite3.connect(data / DATABASE)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {n: database.execute(f"SELECT * FROM {n}").fetchall() for n in names if n != "audit_events"}  # noqa: S608


def events(data: Path) -> list[tuple[str, str]]:
    """Return the action and subject of every event of a trail without a finding, oldest first."""
    sessions = open_database(f"sqlite:///{data / DATABASE}")
    assert verify(sessions).findings == ()
    with sessions.read() as session:
        found = [(event.action, event.subject) for event in reversed(store.audit.audit_trail(session))]
    sessions.dispose()
    return found


def stored_files(data: Path) -> list[str]:
    """Name every stored file."""
    return sorted(str(path.relative_to(data)) for path in (data / "files").rglob("*") if path.is_file())
