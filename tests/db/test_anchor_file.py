"""The anchor file holds whole lines only, whatever the disk does, and a backup takes those of its database."""

import logging
from pathlib import Path

import pytest

from db.audit.anchor import AnchorFile, AnchorLine, lines_until
from db.audit.chain import AddedEvents
from db.audit.trail import record_event
from db.audit.verify import verify
from db.database import Sessions, open_database
from db.values.audit import Verification
from tests.helpers import forked
from tests.helpers.rows import OPENED

# Announces events when only some bytes are left on the disk.
_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from db.audit.anchor import AnchorFile
from db.audit.chain import AddedEvents

path = Path(sys.argv[1])
most = path.stat().st_size + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    AnchorFile(path).announce(AddedEvents(2, 2, "a" * 64))
except OSError as error:
    print("refused", error)
"""


def add(sessions: Sessions, subject: str) -> None:
    with sessions.begin() as session:
        record_event(session, None, "added", subject)


def opened(folder: Path) -> Sessions:
    return open_database(f"sqlite:///{folder / 'a.sqlite'}")


def anchor_of(sessions: Sessions) -> AnchorFile:
    assert sessions.anchor
    return sessions.anchor


@pytest.mark.parametrize("room", [0, 1, 20, 100])
def test_a_full_disk_leaves_no_half_line_and_with_room_again_the_trail_verifies(tmp_path: Path, room: int) -> None:
    sessions = opened(tmp_path)
    add(sessions, "a")
    path = anchor_of(sessions).path
    before = path.read_bytes()
    done = forked.run(_ON_A_FULL_DISK, path, room)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused")
    assert path.read_bytes() == before
    add(sessions, "b")
    assert verify(sessions) == Verification(events=2, anchored=2, findings=())
    sessions.dispose()


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_a_half_line_is_removed_when_the_server_starts_and_the_log_says_so(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    sessions = opened(tmp_path)
    add(sessions, "a")
    sessions.dispose()
    path = anchor_of(sessions).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with caplog.at_level(logging.WARNING):
        again = opened(tmp_path)
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:-1])
    assert f"removed the last line of {path}, which was only half written" in caplog.text
    assert verify(again).findings == ()
    add(again, "b")
    assert verify(again) == Verification(events=2, anchored=2, findings=())
    again.dispose()


def test_a_last_line_that_no_version_of_the_program_can_have_written_is_kept_and_reported(tmp_path: Path) -> None:
    sessions = opened(tmp_path)
    path = anchor_of(sessions).path
    path.write_bytes(path.read_bytes() + b"x" * 10_000)
    add(sessions, "a")
    assert b"x" * 10_000 + b"\n" in path.read_bytes()
    assert [one.kind for one in verify(sessions).findings] == ["unanchored"]
    sessions.dispose()


def test_a_copy_of_the_database_gets_the_lines_up_to_its_last_event_and_no_others() -> None:
    def line(last: int) -> AnchorLine:
        return AnchorLine(OPENED, "saved", AddedEvents(last, last, f"{last:064x}"))

    before: list[AnchorLine | str] = [line(1)]
    meanwhile: list[AnchorLine | str] = [line(2), "written by somebody", line(3), line(4)]
    assert lines_until(before, meanwhile, 3) == [line(1), line(2), "written by somebody", line(3)]
    assert lines_until(before, meanwhile, 0) == [line(1), "written by somebody"]
