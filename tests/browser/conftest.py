"""A real server for the browser tests: started as a reader would, stopped, and started again on the same data."""

import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

from core.settings import Settings
from tests.helpers.databases import copy_tables
from tests.helpers.forked import PROJECT, Program, start_server

SCREENSHOTS = Path(__file__).parent / "screenshots"
TELEPHONE: ViewportSize = {"width": 390, "height": 844}
_PATIENCE_SECONDS = 90.0  # loading torch on a busy machine takes its time


class Server:
    """`streamlit run streamlit_app.py` on a free port of this computer, under a prefix if one is given."""

    def __init__(self, data: Path, checkpoint: Path, prefix: str = "", *, workers: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}{prefix}"
        self._options = [f"--server.port={self.port}", f"--server.baseUrlPath={prefix}"]
        self.database = f"sqlite:///{data / 'second_read.sqlite'}"
        self._log = data / "server.log"
        self._environment = {
            "SECOND_READ_DATA": str(data),
            "SECOND_READ_CHECKPOINT": str(checkpoint),
            "SECOND_READ_THREADS": "1",
            "SECOND_READ_WORKERS": str(workers),
        }
        self._process: Program | None = None

    def start(self) -> None:
        """Start the server and wait until it answers."""
        app = PROJECT / "streamlit_app.py"
        self._process = start_server(app, self._options, PROJECT, self._environment, self._log)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server does not answer:\n{self._log.read_text()}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End the server in order."""
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)

    def kill(self) -> None:
        """End the server as a power cut would."""
        if self._process:
            self._process.kill()
            self._process.wait(30)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the checkpoint that comes with the project, or a small random one where there is none."""
    settled = Settings.from_environment().checkpoint
    if settled.is_file():
        return settled
    # torch is loaded only where it is needed.
    from tests.helpers.networks import small_checkpoint  # noqa: PLC0415

    made = tmp_path_factory.mktemp("checkpoint") / "random.safetensors"
    small_checkpoint(made)
    return made


@contextmanager
def serve(data: Path, checkpoint: Path, *, workers: int = 0, tables: bool = True) -> Iterator[Server]:
    """Run a server on a data folder, for one test or for all tests of a file.

    A worker loads torch, which takes longer than most tests: only what analyses images asks for one. `tables` gives an
    empty folder the tables that the server would make.
    """
    SCREENSHOTS.mkdir(exist_ok=True)
    if tables and not (data / "second_read.sqlite").exists():
        copy_tables(data / "second_read.sqlite")
    running = Server(data, checkpoint, workers=workers)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path, checkpoint: Path) -> Iterator[Server]:
    """Run a server on an empty data folder, with a worker if the test is marked `worker`."""
    workers = 1 if request.node.get_closest_marker("worker") else 0
    with serve(tmp_path, checkpoint, workers=workers) as running:
        yield running


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, object]) -> dict[str, object]:
    """Use the system's chromium where there is one, else the one that Playwright brings."""
    system = shutil.which("chromium") or shutil.which("chromium-browser")
    found = {"executable_path": system} if system else {}
    return {**browser_type_launch_args, **found, "args": ["--no-sandbox"]}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, object]) -> dict[str, object]:
    """Look at the pages as on a small laptop."""
    return {**browser_context_args, "viewport": {"width": 1280, "height": 800}}


@pytest.fixture(scope="module")
def shared_context(browser: Browser, browser_context_args: dict[str, Any]) -> Iterator[BrowserContext]:
    """One context for all tests of a file, so that the scripts of a page are loaded and compiled once for a server."""
    context = browser.new_context(**browser_context_args)
    yield context
    context.close()


@pytest.fixture
def page(shared_context: BrowserContext) -> Iterator[Page]:
    """A tab of its own, and no cookies."""
    yield shared_context.new_page()
    for tab in shared_context.pages:
        tab.close()
    shared_context.clear_cookies()


@pytest.fixture
def telephone(browser: Browser) -> Iterator[Page]:
    """A page on a touch screen as wide as a telephone, in Tokyo."""
    context = browser.new_context(viewport=TELEPHONE, has_touch=True, timezone_id="Asia/Tokyo", color_scheme="light")
    yield context.new_page()
    context.close()
