"""The routes beside the pages, with a real database and real files."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_heatmap, encode_scope_map
from core.labels import BINARY
from core.results import Analysis, Prediction, Quality, Scope
from db import database, store
from db.values.accounts import Role
from db.values.jobs import StoredHeatmap
from db.values.reading import ModelIdentity, Opinion
from pages.ui.viewer import VENDOR
from service.installation import Installation
from service.intake import IntakeResult
from service.routes import _account_id, answer_our_errors, router
from tests.helpers.rows import UNUSUAL
from tests.helpers.world import World

_IMAGE = generate_tissue(1, "malignant", 300, 400)


def _analyse(installation: Installation, heatmap: bool = True, scope: Scope | None = None) -> None:
    rows, columns = np.mgrid[0:300, 0:400].astype(np.float32)
    evidence = rows + columns
    analysis = Analysis(300, 400, Quality(100, 0.9), Prediction(BINARY, (0.2, 0.8), 0.5, 0, 1), evidence, scope=scope)
    strange = installation.files.put(encode_scope_map(columns)) if scope else None
    stored = StoredHeatmap(installation.files.put(encode_heatmap(evidence)), 0.0, 698.0) if heatmap else None
    with installation.sessions.begin() as session:
        job = store.jobs.claim_job(session, "test:1:1")
        assert job is not None
        model = ModelIdentity("0123456789ab", "a model", demonstration=True)
        assert store.jobs.finish_job(
            session, job, "test:1:1", analysis, model=model, heatmap=stored, scope_map_sha256=strange
        )


def _read_first(installation: Installation, case_id: int) -> None:
    with installation.sessions.begin() as session:
        opened_at = store.audit.audit_trail(session)[0].at
        store.reads.record_first_read(
            session, case_id, installation.single_reader.id, Opinion("malignant", 4), opened_at
        )


def _pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(png)))


def _number(intake: IntakeResult) -> tuple[int, int]:
    assert intake.image_id is not None
    assert intake.case_id is not None
    return intake.image_id, intake.case_id


def test_health_says_how_many_images_wait_and_that_no_worker_runs(client: TestClient, taken: IntakeResult) -> None:
    answer = client.get("/health")
    found = answer.json()
    assert datetime.fromisoformat(found.pop("timestamp")).tzinfo is not None
    assert found == {
        "status": "ok",
        "model_loaded": False,
        "model_version": None,
        "worker": "stopped",
        "queue": 1,
        "problem": None,
        "backend": None,
        "device": None,
        "caution": None,
    }


def test_health_says_how_a_worker_computes_and_why_that_is_not_as_wanted(
    client: TestClient, installation: Installation
) -> None:
    (worker,) = installation.supervisor._workers
    worker._handle_line("computes openvino-bf16 cpu ")
    found = client.get("/health").json()
    assert (found["backend"], found["device"], found["caution"]) == ("openvino-bf16", "cpu", None)
    worker._handle_line("computes torch-fp32 cpu the GPU ran out of memory: the processor computes")
    found = client.get("/health").json()
    assert (found["status"], found["backend"]) == ("ok", "torch-fp32")
    assert found["caution"] == "the GPU ran out of memory: the processor computes"
    worker._handle_line("computes in another way")
    assert client.get("/health").json()["backend"] is None, "a worker of another version is not believed"


def test_health_says_that_a_server_starts_no_worker(
    client: TestClient, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    alone = replace(installation, settings=replace(installation.settings, workers=0))
    monkeypatch.setattr(app.state, "installation", alone)
    assert client.get("/health").json()["worker"] == "none"


def test_health_answers_without_a_database(client: TestClient, installation: Installation, tmp_path: Path) -> None:
    installation.sessions.dispose()
    (tmp_path / "second_read.sqlite").write_bytes(b"not a database" * 100)
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["problem"] == "the database is not responding"


def test_an_image_arrives_with_its_very_pixels_and_is_asked_about_each_time(
    client: TestClient, taken: IntakeResult
) -> None:
    answer = client.get(f"/images/{taken.image_id}")
    assert np.array_equal(_pixels(answer.content), _IMAGE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "private, no-cache"
    again = client.get(f"/images/{taken.image_id}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/images/{taken.image_id}", headers={"If-None-Match": '"another"'}).content == answer.content


def test_no_answer_names_the_file(client: TestClient, taken: IntakeResult) -> None:
    for path in ("", "/thumbnail"):
        answer = client.get(f"/images/{taken.image_id}{path}")
        assert "SOB" not in str(answer.headers)
        assert b"SOB" not in answer.content


def test_a_thumbnail_is_small_and_in_proportion(client: TestClient, taken: IntakeResult) -> None:
    answer = client.get(f"/images/{taken.image_id}/thumbnail")
    assert _pixels(answer.content).shape == (192, 256, 3)


def test_the_heat_map_is_refused_before_the_first_opinion(
    client: TestClient, installation: Installation, taken: IntakeResult
) -> None:
    image_id, case_id = _number(taken)
    assert client.get(f"/images/{image_id}/heatmap").status_code == 403
    _analyse(installation)
    refused = client.get(f"/images/{image_id}/heatmap")
    assert refused.status_code == 403
    assert "first opinion" in refused.json()["detail"]
    assert refused.headers["cache-control"] == "no-store"
    _read_first(installation, case_id)
    assert client.get(f"/images/{image_id}/heatmap").status_code == 200


def test_the_heat_map_is_grey_over_its_own_range_and_not_kept(
    client: TestClient, installation: Installation, taken: IntakeResult
) -> None:
    image_id, case_id = _number(taken)
    _analyse(installation)
    _read_first(installation, case_id)
    answer = client.get(f"/images/{image_id}/heatmap")
    grey = _pixels(answer.content)
    assert grey.shape == (300, 400)
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)
    assert answer.headers["cache-control"] == "no-store"


def test_the_map_of_the_scope_is_refused_before_the_first_opinion_and_given_after(
    client: TestClient, installation: Installation, taken: IntakeResult
) -> None:
    image_id, case_id = _number(taken)
    _analyse(installation, scope=UNUSUAL)
    assert client.get(f"/images/{image_id}/scope-map").status_code == 403
    _read_first(installation, case_id)
    answer = client.get(f"/images/{image_id}/scope-map")
    grey = _pixels(answer.content)
    assert (grey.shape, grey[0, 0], grey[0, -1]) == ((300, 400), 0, 255)
    assert answer.headers["cache-control"] == "no-store"


def test_a_case_without_a_heat_map_says_so(client: TestClient, installation: Installation, taken: IntakeResult) -> None:
    image_id, case_id = _number(taken)
    _analyse(installation, heatmap=False)
    _read_first(installation, case_id)
    answer = client.get(f"/images/{image_id}/heatmap")
    assert answer.status_code == 404
    assert "no heat map" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/images/77", "/images/77/thumbnail", "/images/77/heatmap", "/images/0"])
def test_an_unknown_image_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_damaged_file_is_said_in_words_and_never_shown(
    client: TestClient, taken: IntakeResult, tmp_path: Path
) -> None:
    stored = next(path for path in (tmp_path / "files").rglob("*") if path.is_file())
    stored.write_bytes(stored.read_bytes()[:-1])
    for path in ("", "/thumbnail"):
        answer = client.get(f"/images/{taken.image_id}{path}")
        assert answer.status_code == 500
        assert "restore it from a backup" in answer.json()["detail"]
        assert answer.headers["cache-control"] == "no-store"


def test_the_viewer_comes_from_this_server_and_nothing_beside_it_does(client: TestClient) -> None:
    script = next(VENDOR.glob("*.min.js"))
    assert client.get(f"/assets/{script.name}").content == script.read_bytes()
    for path in ("..", "%2e%2e", "..%2fviewer.js", "%2e%2e%2fviewer.js", "%2fetc%2fpasswd", ".", "missing.js", "a%00b"):
        assert client.get(f"/assets/{path}").status_code == 404


def test_an_image_of_an_incomplete_case_is_refused_to_all_but_its_uploader(
    client: TestClient, installation: Installation, taken: IntakeResult
) -> None:
    image_id, case_id = _number(taken)
    with installation.sessions.begin() as session:
        store.intakes.begin_intake(session, installation.single_reader.id, case_id, 1)
    assert client.get(f"/images/{image_id}").status_code == 200
    with installation.sessions.begin() as session:
        other = store.accounts.add_account(session, "dr. b", Role.READER)
    app = client.app
    assert isinstance(app, FastAPI)
    app.dependency_overrides[_account_id] = lambda: other.id
    for path in ("", "/thumbnail"):
        answer = client.get(f"/images/{image_id}{path}")
        assert answer.status_code == 409
        assert "is incomplete" in answer.json()["detail"]


def test_a_locked_database_is_told_by_the_routes(
    world: World, taken: IntakeResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.2)
    installation = Installation.open(world.settings)
    app = FastAPI()
    app.state.installation = installation
    answer_our_errors(app)
    app.include_router(router)
    client = TestClient(app, raise_server_exceptions=False)
    assert client.get("/images/1").status_code == 200
    path = world.settings.data / "second_read.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        answer = client.get("/images/1")
        other.execute("ROLLBACK")
    assert (answer.status_code, answer.json()["detail"]) == (503, "the database is busy")
    assert client.get("/images/1").status_code == 200
    installation.close()
