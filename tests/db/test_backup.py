"""A backup is restored with everything, damage to it is seen, and restoring it is done or refused."""

import random
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from db.__main__ import app
from db.backup.archive import DATABASE
from db.backup.backup import BackupSource, make_backup
from db.backup.restore import check_backup, restore_backup
from db.database import open_database
from db.errors import BackupError
from db.files import Files
from db.values.reading import Action
from tests.helpers.backups import DataFolder, contents, events, stored_files


def test_a_backup_is_restored_with_every_row_file_and_event(data_folder: DataFolder, tmp_path: Path) -> None:
    before, trail = contents(data_folder.data), events(data_folder.data)
    made = make_backup(data_folder.source, tmp_path / "backups")
    assert (made.manifest.files, made.manifest.lacking) == (3, ())
    assert check_backup(made.path).problems == ()
    restored = restore_backup(made.path, tmp_path / "elsewhere")
    assert (restored.kept, restored.checked.problems) == (None, ())
    assert contents(tmp_path / "elsewhere") == before == contents(data_folder.data)
    assert stored_files(tmp_path / "elsewhere") == stored_files(data_folder.data)
    assert events(tmp_path / "elsewhere") == [*trail, (Action.RESTORED, made.path.name)]
    assert events(data_folder.data) == [*trail, (Action.BACKED_UP, made.path.name)]
    assert sorted(path.name for path in (tmp_path / "backups").iterdir() if path.suffix == ".tar") == [made.path.name]


def test_a_folder_with_something_in_it_is_left_alone_unless_told_and_then_kept(
    data_folder: DataFolder, tmp_path: Path
) -> None:
    made = make_backup(data_folder.source, tmp_path)
    data_folder.data.joinpath("files", "note").write_text("of the old folder")
    with pytest.raises(BackupError, match="is not empty, so nothing was restored"):
        restore_backup(made.path, data_folder.data)
    assert data_folder.data.joinpath("files", "note").exists()
    restored = restore_backup(made.path, data_folder.data, replace=True)
    assert restored.kept
    assert restored.kept.joinpath("files", "note").read_text() == "of the old folder"
    assert not data_folder.data.joinpath("files", "note").exists()
    assert events(data_folder.data)[-1] == (Action.RESTORED, made.path.name)


def test_a_folder_whose_database_is_in_use_is_not_replaced(data_folder: DataFolder, tmp_path: Path) -> None:
    made = make_backup(data_folder.source, tmp_path)
    program = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('SELECT 1 FROM cases').fetchall()\n"
    start = [sys.executable, "-c", program + "print('open', flush=True)\ninput()", str(data_folder.data / DATABASE)]
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout
        server.stdout.readline()
        with pytest.raises(BackupError, match=f"stop the server first: process {server.pid} uses"):
            restore_backup(made.path, data_folder.data, replace=True)
        server.kill()
    assert restore_backup(made.path, data_folder.data, replace=True).kept


def test_any_byte_that_changes_in_a_backup_is_seen(data_folder: DataFolder, tmp_path: Path) -> None:
    made = make_backup(data_folder.source, tmp_path)
    with tarfile.open(made.path) as archive:
        # The padding between two files holds nothing, and a header has fields that nobody reads.
        spans = [(m.offset_data, m.offset_data + m.size) for m in archive.getmembers()]
    whole, chance = made.path.read_bytes(), random.Random(7)  # noqa: S311 (no secret)
    for _ in range(30):
        at = chance.randrange(*chance.choice(spans))
        made.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        with pytest.raises(BackupError):
            restore_backup(made.path, tmp_path / "elsewhere")
    for size in (0, 100, 5000, len(whole) // 2, max(end for _, end in spans) - 1):
        made.path.write_bytes(whole[:size])
        with pytest.raises(BackupError):
            restore_backup(made.path, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    assert list(tmp_path.glob(".*-restoring-*")) == []


@pytest.mark.parametrize("name", ["../outside", "/outside", "files/../../outside", "other"])
def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(BackupError, match="is not a Second Read backup: it contains"):
        restore_backup(tmp_path / "bad.tar", tmp_path / "inside" / "data")
    assert not list(tmp_path.rglob("outside"))


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo(DATABASE)
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.addfile(link)
    with pytest.raises(BackupError, match="is not a Second Read backup"):
        check_backup(tmp_path / "bad.tar")


def test_a_backup_of_headers_is_not_read_through(tmp_path: Path) -> None:
    pax = tarfile.TarInfo("pax")
    pax.type, pax.size = tarfile.XHDTYPE, 400_000
    (tmp_path / "bad.tar").write_bytes((pax.tobuf(tarfile.USTAR_FORMAT) + bytes(400_384)) * 3)
    with pytest.raises(BackupError, match="cannot be read completely: it has a header of"):
        check_backup(tmp_path / "bad.tar")


def test_a_stored_file_that_is_damaged_or_gone_is_named_and_the_rest_backed_up(
    data_folder: DataFolder, tmp_path: Path
) -> None:
    first, second, _ = (data_folder.data / name for name in stored_files(data_folder.data))
    first.unlink()
    second.write_bytes(b"something else")
    made = make_backup(data_folder.source, tmp_path)
    assert made.manifest.files == 1
    assert made.manifest.lacking == (first.name, second.name)
    assert len(restore_backup(made.path, tmp_path / "elsewhere").checked.problems) == 2


def test_what_was_done_to_the_audit_trail_before_a_backup_shows_in_it(data_folder: DataFolder, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data_folder.data / DATABASE)) as database:
        (refusal,) = database.execute("SELECT sql FROM sqlite_master WHERE name = 'audit_events_no_delete'").fetchone()
        database.execute("DROP TRIGGER audit_events_no_delete")
        database.execute("DELETE FROM audit_events WHERE id = (SELECT max(id) FROM audit_events)")
        database.execute(refusal)
        database.commit()
    missing, row = check_backup(make_backup(data_folder.source, tmp_path).path).problems
    assert missing.startswith("audit trail: missing event")
    assert row == "audit trail: inserted reads 3: no event describes this row"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_backup_of_postgresql_says_what_to_do_and_takes_the_files(database_url: str, tmp_path: Path) -> None:
    sessions = open_database(database_url, data=tmp_path)
    pixels = Files(tmp_path / "files").put(b"pixels")
    source = BackupSource(database_url, tmp_path, tmp_path / "files")
    with pytest.raises(BackupError, match=r"first run `pg_dump.*then this command with --files-only"):
        make_backup(source, tmp_path / "backups")
    made = make_backup(source, tmp_path / "backups", files_only=True)
    assert not made.manifest.has_database
    restore_backup(made.path, tmp_path / "elsewhere")
    assert stored_files(tmp_path / "elsewhere") == [f"files/{pixels[:2]}/{pixels[2:4]}/{pixels}"]
    assert sessions.anchor
    assert (tmp_path / "elsewhere" / sessions.anchor.path.name).read_bytes() in sessions.anchor.path.read_bytes()
    sessions.dispose()


def command(data_folder: DataFolder, *arguments: str | Path) -> Result:
    return CliRunner(env={"SECOND_READ_DATA": str(data_folder.data)}).invoke(app, [str(word) for word in arguments])


def test_the_commands_say_by_their_exit_status_how_it_went(data_folder: DataFolder, tmp_path: Path) -> None:
    assert command(data_folder, "backup", tmp_path / "backups").exit_code == 0
    (made,) = (tmp_path / "backups").glob("*.tar")
    assert "is intact: the database and 3 stored files" in command(data_folder, "check", made).stdout
    refused = command(data_folder, "restore", made)
    assert (refused.exit_code, "is not empty" in refused.stderr) == (2, True)
    assert command(data_folder, "restore", made, "--replace").exit_code == 0
    (data_folder.data / stored_files(data_folder.data)[0]).unlink()
    assert command(data_folder, "backup", tmp_path / "more").exit_code == 1
    made.write_bytes(made.read_bytes()[:-20_000])
    assert command(data_folder, "check", made).exit_code == 2
