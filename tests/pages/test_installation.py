"""Pages work with the installation of their server, and without a server with one of their own."""

from pathlib import Path

import psutil
import pytest
import streamlit as st

from core.settings import Settings
from pages.ui import resources
from service.installation import Installation, find_served
from tests.helpers.app_pages import visit
from tests.helpers.concurrency import wait_until
from tests.helpers.world import World


def _is_open(data: Path) -> bool:
    """Say whether this process has the database in a folder open."""
    return str(data / "second_read.sqlite") in {file.path for file in psutil.Process().open_files()}


def test_a_page_that_is_drawn_without_a_server_opens_an_installation_once(world: World) -> None:
    visit("worklist.py")
    opened = resources.installation()
    visit("models.py")
    assert resources.installation() is opened
    assert find_served() is None
    assert opened.settings == Settings.from_environment()
    assert opened.single_reader.id == world.reader
    assert (opened.supervisor.pid, resources.worker_problem()) == (None, None)
    world.sessions.dispose()
    assert _is_open(opened.settings.data)
    st.cache_resource.clear()
    assert not _is_open(opened.settings.data)


def test_pages_of_a_server_work_with_its_installation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_READ_CHECKPOINT", "none.safetensors")
    served = Installation.open(Settings.from_environment())
    served.serve()
    try:
        tab = visit("worklist.py")
        assert resources.installation() is served
        assert (resources.sessions(), resources.files()) == (served.sessions, served.files)
        wait_until(lambda: resources.worker_problem() is not None)
        assert "none.safetensors" in tab.run().warning[0].value
        # As Streamlit's AppTest calls every tab.
        assert served.tabs.belongs_to("test session id", world.reader)
    finally:
        served.close()
