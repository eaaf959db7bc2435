"""A backup made while others write is whole, and one or a restore that is killed is done or not done."""

import shutil
import signal
import time
from pathlib import Path

import pytest

from db.backup.backup import make_backup
from db.backup.restore import check_backup, restore_backup
from db.files import Files
from db.values.audit import Action
from tests.helpers import forked
from tests.helpers.backups import DataFolder, contents, events, stored_files
from tests.helpers.forked import Program
from tests.helpers.stress import amount

BACKUPS = amount(40, 10)


# Kills itself as it opens, renames or removes something of the test for the so-manieth time.
_KILLED = """
import os, signal, sys
from pathlib import Path
from db.backup.backup import BackupSource, make_backup
from db.backup.restore import restore_backup

left, data = int(sys.argv[1]), Path(sys.argv[3])
def strike(name, arguments):
    global left
    watched = name in ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "sqlite3.connect", "shutil.rmtree")
    if watched and str(arguments[0]).startswith(str(data.parent)):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "backup":
    source = BackupSource(f"sqlite:///{data}/second_read.sqlite", data, data / "files", data / "checkpoints")
    folder = Path(sys.argv[4])
    sys.addaudithook(strike)
    make_backup(source, folder)
else:
    sys.addaudithook(strike)
    restore_backup(Path(sys.argv[4]), data, replace=True)
"""


def killed_after(steps: int, what: str, data: Path, other: Path) -> bool:
    """Run and kill; say whether it was killed before it was done."""
    done = forked.run(_KILLED, steps, what, data, other)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


@pytest.mark.slow
def test_a_backup_that_is_killed_leaves_none_and_the_next_cleans_up(data_folder: DataFolder, tmp_path: Path) -> None:
    folder, steps = tmp_path / "backups", 0
    while killed_after(steps, "backup", data_folder.data, folder):
        for path in folder.glob("*.tar"):
            assert check_backup(path).problems == ()
        steps += 2
    assert steps > 12
    assert all(check_backup(path).problems == () for path in folder.glob("*.tar"))
    assert list(folder.glob(".making-backup-*")) == []


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_the_old_folder_or_the_new_one(data_folder: DataFolder, tmp_path: Path) -> None:
    made = make_backup(data_folder.source, tmp_path / "backups").path
    (data_folder.data / "old").write_text("of the old folder")
    copy = tmp_path / "copy"
    shutil.copytree(data_folder.data, copy)
    rows, steps, old = contents(data_folder.data), 0, 0
    while killed_after(steps, "restore", copy, made):
        assert contents(copy) == rows
        assert stored_files(copy) == stored_files(data_folder.data)
        old += (copy / "old").exists()
        steps += 3
    assert old > 5
    assert events(copy)[-1] == (Action.RESTORED, made.name)
    assert list(tmp_path.glob(".copy-restoring-*")) == []
    # Whatever was replaced is still there.
    assert any((path / "old").exists() for path in tmp_path.glob("copy-before-restore-*"))


# A server that adds cases with their files, and says which reads it has saved.
_WRITER = """
import sys
from itertools import count
from pathlib import Path
from db import store
from db.files import Files
from db.database import open_database
from db.values.reading import StoredImage
from tests.helpers.rows import BENIGN, OPENED, QUALITY, sha256_of

data, said = Path(sys.argv[1]), open(sys.argv[2], "w")
sessions, files = open_database(f"sqlite:///{data}/second_read.sqlite"), Files(data / "files")
for number in count(1):
    pixels = files.put(f"live pixels {number}".encode())
    with sessions.begin() as session:
        case_id = store.cases.add_case(session, 1, accession=None, magnification=None)
        store.cases.add_image(session, case_id, StoredImage(sha256_of(f"live {number}"), pixels, 4, 4, QUALITY))
    with sessions.begin() as session:
        read = store.reads.record_first_read(session, case_id, 1, BENIGN, OPENED)
    print(read.id, file=said, flush=True)
"""


def _more_than(known: set[int], said: Path, server: Program) -> set[int]:
    """Wait until the server has saved another read, and return all that it says it has saved."""
    while (saved := {int(line) for line in said.read_text().split("\n")[:-1]}) == known:
        assert server.poll() is None
        time.sleep(0.001)
    return saved


@pytest.mark.slow
def test_live_backups_restore_with_all_that_was_acknowledged_before_each_began(
    data_folder: DataFolder, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    said.touch()
    with forked.running(_WRITER, data_folder.data, said) as server:
        acknowledged, made = [set[int]()], []
        for _ in range(BACKUPS):
            acknowledged.append(_more_than(acknowledged[-1], said, server))
            made.append(make_backup(data_folder.source, tmp_path / "backups").path)
            assert server.poll() is None
        server.kill()
    del acknowledged[0]
    assert len(acknowledged[-1]) > len(acknowledged[0]) > 0
    for path, saved in zip(made, acknowledged, strict=True):
        restored = restore_backup(path, tmp_path / "restored", replace=True)
        assert restored.checked.problems == ()
        rows = contents(restored.data)
        assert saved <= {row[0] for row in rows["reads"]}
        named = {row[4] for row in rows["images"]}
        assert named <= set(Files(restored.data / "files").stored())
        assert events(restored.data)[-1] == (Action.RESTORED, path.name)
