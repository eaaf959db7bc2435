"""A backup is restored with everything, damage to it is seen, and restoring it is done or refused."""

import hashlib
import io
import json
import random
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.settings import Settings
from db.__main__ import app
from db.backup.archive import DATABASE, MANIFEST
from db.backup.backup import BackupSource, make_backup
from db.backup.restore import check_backup, restore_backup
from db.database import open_database
from db.errors import BackupError
from db.files import Files
from db.values.audit import Action
from service.installation import Installation
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


@pytest.mark.parametrize("files_only", [False, True])
def test_checkpoints_that_were_fitted_to_the_site_come_back(
    data_folder: DataFolder, tmp_path: Path, files_only: bool
) -> None:
    fitted = data_folder.source.checkpoints
    fitted.mkdir()
    names = ("starter.site-0123456789ab.safetensors", "our own (2).site-b.safetensors")
    for name in names:
        (fitted / name).write_bytes(name.encode() * 1000)
    (fitted / ".starter.site.safetensors.part").write_bytes(b"half a checkpoint")
    made = make_backup(data_folder.source, tmp_path / "backups", files_only=files_only)
    assert made.manifest.checkpoints == 2
    restore_backup(made.path, tmp_path / "restored")
    restored = tmp_path / "restored" / "checkpoints"
    assert {path.name: path.read_bytes() for path in restored.iterdir()} == {n: n.encode() * 1000 for n in names}


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


@pytest.mark.parametrize(
    "name", ["../outside", "/outside", "files/../../outside", "checkpoints/../../outside.safetensors", "other"]
)
def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(BackupError, match="is not a Second Read backup: it contains"):
        restore_backup(tmp_path / "bad.tar", tmp_path / "inside" / "data")
    assert not list(tmp_path.rglob("outside*"))


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
    source = BackupSource(database_url, tmp_path, tmp_path / "files", tmp_path / "checkpoints")
    with pytest.raises(BackupError, match=r"first run `pg_dump.*then this command with --files-only"):
        make_backup(source, tmp_path / "backups")
    made = make_backup(source, tmp_path / "backups", files_only=True)
    assert not made.manifest.has_database
    restore_backup(made.path, tmp_path / "elsewhere")
    assert stored_files(tmp_path / "elsewhere") == [f"files/{pixels[:2]}/{pixels[2:4]}/{pixels}"]
    assert sessions.anchor
    assert (tmp_path / "elsewhere" / sessions.anchor.path.name).read_bytes() in sessions.anchor.path.read_bytes()
    sessions.dispose()


def rebuilt(made: Path, target: Path, database: bytes | None = None, manifest: bytes | None = None) -> Path:
    """Copy a backup with another database that its manifest describes, or with another manifest."""
    with tarfile.open(made) as archive, tarfile.open(target, "w") as copy:
        for entry in archive:
            stream = archive.extractfile(entry)
            assert stream
            data = stream.read()
            if database is not None and entry.name == DATABASE:
                data = database
            if database is not None and entry.name == MANIFEST:
                values = json.loads(data)
                of_database = next(one for one in values["members"] if one["name"] == DATABASE)
                of_database |= {"size": len(database), "sha256": hashlib.sha256(database).hexdigest()}
                data = json.dumps(values).encode()
            if manifest is not None and entry.name == MANIFEST:
                data = manifest
            entry.size = len(data)
            copy.addfile(entry, io.BytesIO(data))
    return target


def test_a_backup_of_an_empty_database_or_of_another_program_is_damaged(
    data_folder: DataFolder, tmp_path: Path
) -> None:
    made = make_backup(data_folder.source, tmp_path / "backups").path
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as other:
        other.execute("CREATE TABLE cases (id INTEGER)")
    for database in (b"", (tmp_path / "other.sqlite").read_bytes()):
        crafted = rebuilt(made, tmp_path / "crafted.tar", database=database)
        with pytest.raises(BackupError, match="its database is empty, or not one of Second Read"):
            check_backup(crafted)
        with pytest.raises(BackupError, match="its database is empty, or not one of Second Read"):
            restore_backup(crafted, tmp_path / "elsewhere")
        assert not (tmp_path / "elsewhere").exists()


_FORMAT = '"format": "second-read-backup-1", "made_at": "x", "lacking": []'
MANIFESTS = (
    *(b"", b"{", b"null", b"[]", b"7", b'"x"', b"\xff\xfe", b"{}", b"[" * 100_000, b'{"a":' * 100_000),
    *(f"{{{_FORMAT}, {members}}}".encode() for members in (
        '"members": null', '"members": {}', '"members": [null]', '"members": [{"name": "a"}]',
        '"members": [{"name": "a", "size": 1e400, "sha256": "b"}]',
        '"members": [{"name": "a", "size": NaN, "sha256": "b"}]',
        '"members": [{"name": "a", "size": "x", "sha256": "b"}]',
    )),
    b'{"format": {}, "made_at": "x", "members": [], "lacking": []}',
    b'{"format": "second-read-backup-1", "made_at": 7, "members": [], "lacking": [{}]}',
)  # fmt: skip


def test_a_damaged_manifest_is_refused_in_words(data_folder: DataFolder, tmp_path: Path) -> None:
    made = make_backup(data_folder.source, tmp_path / "backups").path
    for number, manifest in enumerate(MANIFESTS):
        crafted = rebuilt(made, tmp_path / f"{number}.tar", manifest=manifest)
        with pytest.raises(BackupError, match=r"the list of files in .* is damaged"):
            check_backup(crafted)
        said = command(data_folder, "check", crafted)
        assert (said.exit_code, said.stderr.count("\n")) == (2, 1), manifest[:60]


def test_a_backup_of_another_version_is_refused_in_words(data_folder: DataFolder, tmp_path: Path) -> None:
    made = make_backup(data_folder.source, tmp_path / "backups").path
    later = b'{"format": "second-read-backup-9", "made_at": "x", "members": [], "lacking": []}'
    with pytest.raises(BackupError, match="made by another version of Second Read"):
        check_backup(rebuilt(made, tmp_path / "later.tar", manifest=later))


def test_no_byte_of_an_archive_ends_in_anything_but_an_answer(data_folder: DataFolder, tmp_path: Path) -> None:
    made = make_backup(data_folder.source, tmp_path / "backups").path
    whole = made.read_bytes()
    with tarfile.open(made) as archive:
        headers = [member.offset for member in archive.getmembers()]
    chance = random.Random(11)  # noqa: S311 (no secret)
    for _ in range(60):
        at = chance.choice(headers) + chance.randrange(512)
        (tmp_path / "bad.tar").write_bytes(whole[:at] + bytes([chance.randrange(256)]) + whole[at + 1 :])
        with suppress(BackupError):
            check_backup(tmp_path / "bad.tar")


def test_a_database_that_the_settings_would_not_use_is_not_restored(data_folder: DataFolder, tmp_path: Path) -> None:
    made = make_backup(data_folder.source, tmp_path / "backups").path
    before = stored_files(data_folder.data)
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.sqlite'}"
    for url in (elsewhere, "postgresql://reader:secret@host/name"):
        with pytest.raises(BackupError, match="would not use the database of this backup") as refused:
            restore_backup(made, data_folder.data, replace=True, database=url)
        assert "secret" not in str(refused.value)
        assert stored_files(data_folder.data) == before
    environment = {"SECOND_READ_DATABASE": elsewhere}
    refused_command = command(data_folder, "restore", made, "--replace", environment=environment)
    assert (refused_command.exit_code, "Unset SECOND_READ_DATABASE" in refused_command.stderr) == (2, True)
    other = tmp_path / "other folder"
    assert command(data_folder, "restore", made, "--data", other, environment=environment).exit_code == 0
    assert stored_files(other) == before
    same = f"sqlite:///{data_folder.data / DATABASE}"
    assert restore_backup(made, data_folder.data, replace=True, database=same).kept


def test_a_folder_whose_server_runs_is_not_replaced_wherever_its_database_is(
    data_folder: DataFolder, tmp_path: Path
) -> None:
    made = make_backup(data_folder.source, tmp_path / "backups").path
    elsewhere = f"sqlite:///{tmp_path / 'b.sqlite'}"
    server = Installation.open(replace(Settings.from_environment(), data=data_folder.data, database=elsewhere))
    with pytest.raises(BackupError, match=f"stop the server first: it uses {data_folder.data}"):
        restore_backup(made, data_folder.data, replace=True)
    server.close()
    assert restore_backup(made, data_folder.data, replace=True).kept


def command(data_folder: DataFolder, *arguments: str | Path, environment: dict[str, str] | None = None) -> Result:
    settings = {"SECOND_READ_DATA": str(data_folder.data), **(environment or {})}
    return CliRunner(env=settings).invoke(app, [str(word) for word in arguments])


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
