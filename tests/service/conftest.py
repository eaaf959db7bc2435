"""An installation without pages, the routes on it, and a gate on a socket."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from pages.ui.viewer import VENDOR
from service.installation import Installation
from service.intake import CasePlan, IntakeResult, add_images
from service.routes import answer_our_errors, router
from tests.helpers.gate import GateClient, running_gate
from tests.helpers.world import World, open_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An empty installation with real files."""
    with open_world(tmp_path) as made:
        yield made


@pytest.fixture
def installation(world: World) -> Iterator[Installation]:
    """What the routes work with; its worker is never started."""
    opened = Installation.open(world.settings)
    yield opened
    opened.close()


@pytest.fixture
def client(installation: Installation) -> TestClient:
    """A browser in front of the routes, without the gate."""
    app = FastAPI()
    app.state.installation = installation
    app.state.assets = VENDOR
    answer_our_errors(app)
    app.include_router(router)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def taken(installation: Installation) -> IntakeResult:
    """One image of one case, taken in and queued."""
    plan = CasePlan(installation.single_reader.id, "100X")
    pixels = encode_png(generate_tissue(1, "malignant", 300, 400))
    return next(add_images(installation.sessions, installation.files, plan, [("SOB_M_DC-14-2523.png", pixels)]))


@pytest.fixture
def gate(tmp_path: Path, quick_passwords: None) -> Iterator[GateClient]:
    """A gate on loopback with one reader."""
    with running_gate(tmp_path) as client:
        client.add("dr. a")
        yield client
