"""What a server works with: one for its pages and its routes, closed with the server, and never mixed with another."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.settings import Settings
from db import store
from db.audit.trail import record_event
from db.files import DamagedFileError
from db.values.accounts import Role
from service.installation import Installation, find_served
from tests.helpers.concurrency import wait_until
from tests.helpers.databases import copy_tables
from tests.helpers.world import PASSWORD

PROJECT = Path(__file__).resolve().parents[2]


def _open(data: Path) -> Installation:
    """Open an installation without a checkpoint, whose worker says so and does nothing."""
    copy_tables(data / "second_read.sqlite")
    database = f"sqlite:///{data / 'second_read.sqlite'}"
    return Installation.open(Settings(data, database, data / "none.safetensors", None, "cpu", 1))


def _is_open(data: Path) -> bool:
    """Say whether this process has the database in a folder open."""
    return str(data / "second_read.sqlite") in {file.path for file in psutil.Process().open_files()}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Installation, Installation]]:
    """Two installations in one process, neither of them served."""
    first, second = _open(tmp_path / "first"), _open(tmp_path / "second")
    yield first, second
    first.close()
    second.close()


def test_two_installations_in_one_process_do_not_mix(
    two: tuple[Installation, Installation], quick_passwords: None
) -> None:
    first, second = two
    # Were their writers in one queue, the inner one would wait for the outer one until its patience ends.
    with first.sessions.begin() as outer, second.sessions.begin() as inner:
        record_event(outer, None, "written", "first")
        record_event(inner, None, "written", "second")
    for installation, name in ((first, "first"), (second, "second")):
        with installation.sessions.read() as session:
            assert [event.subject for event in store.audit.audit_trail(session) if event.action == "written"] == [name]
    first.tabs.opened("tab", 1)
    assert (first.tabs.belongs_to("tab", 1), second.tabs.belongs_to("tab", 1)) == (True, False)
    sha256 = first.files.put(b"pixels")
    assert first.files.get(sha256) == b"pixels"
    with pytest.raises(DamagedFileError, match="missing"):
        second.files.get(sha256)
    with first.sessions.begin() as session:
        store.accounts.add_signing_account(session, None, "dr. a", Role.READER, PASSWORD)
    assert (first.access.has_accounts(), second.access.has_accounts()) == (True, False)


def test_a_process_serves_one_installation_at_a_time(two: tuple[Installation, Installation]) -> None:
    first, second = two
    assert find_served() is None
    first.serve()
    assert find_served() is first
    with pytest.raises(RuntimeError, match="already serves"):
        second.serve()
    second.close()
    assert find_served() is first
    first.close()
    assert find_served() is None
    assert second.supervisor.pid is None


def test_closing_stops_the_worker_and_closes_the_database(tmp_path: Path) -> None:
    installation = _open(tmp_path)
    installation.serve()
    wait_until(lambda: installation.supervisor.pid is not None)
    pid = installation.supervisor.pid
    assert pid is not None
    assert _is_open(tmp_path)
    installation.close()
    assert not psutil.pid_exists(pid)
    assert not _is_open(tmp_path)
    installation.close()


_SERVER = """
import gc, socket, threading, time
import psutil, uvicorn
from http.client import HTTPConnection
from sqlalchemy import Engine
from service.installation import find_served
from streamlit_app import app
from tests.helpers.browser_tab import clicking_tab

listening = socket.socket()
listening.bind(("127.0.0.1", 0))
listening.listen()
port = listening.getsockname()[1]
server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
thread.start()
while not server.started:
    time.sleep(0.01)
with clicking_tab(port) as tab:
    tab.open("worklist")
    assert "single-reader mode" in tab.words
    connection = HTTPConnection("localhost", port, timeout=30)
    connection.request("GET", "/images/1/thumbnail")
    print("route", connection.getresponse().status)
    number = tab.number
installation = app.state.installation
assert find_served() is installation
assert installation.tabs.belongs_to(number, installation.single_reader.id)
print("pools", len({id(made.pool) for made in gc.get_objects() if type(made) is Engine}))
server.should_exit = True
thread.join()
assert find_served() is None
assert installation.supervisor.pid is None
assert not [file for file in psutil.Process().open_files() if file.path.endswith("second_read.sqlite")]
"""


@pytest.mark.slow
def test_pages_and_routes_of_a_real_server_share_one_engine(tmp_path: Path) -> None:
    chosen = {"SECOND_READ_DATA": str(tmp_path), "SECOND_READ_CHECKPOINT": str(tmp_path / "none.safetensors")}
    command = [sys.executable, "-c", _SERVER]
    done = subprocess.run(
        command, cwd=PROJECT, env=os.environ | chosen, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["route", "404", "pools", "1"]
