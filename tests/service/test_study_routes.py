"""The routes of images while a case is read in a study: tissue only when it is due, heat maps as the arm says."""

from datetime import UTC, datetime

import pytest
from fastapi.testclient import TestClient

from db import store
from db.values.reading import Arm, Opinion
from db.values.studies import StudyPlan
from service.installation import Installation
from tests.service.test_routes import _analyse

pytestmark = pytest.mark.usefixtures("taken")  # case 1 with image 1

_SAID = Opinion("malignant", 4)


def make(installation: Installation, *arms: Arm) -> int:
    _analyse(installation)
    reader = installation.single_reader.id
    with installation.sessions.begin() as session:
        return store.studies.make_study(session, reader, StudyPlan("pilot", (reader,), (1,), arms))


def read(installation: Installation, study: int, *, seen: bool) -> None:
    """Open what comes now and save one opinion, with or without the model on the screen."""
    with installation.sessions.begin() as session:
        opened = store.study_reading.open_place(session, study, installation.single_reader.id)
        assert opened.study.place is not None
        reveal = opened.case.reveal if opened.case else None
        assert (reveal is not None) is seen
        now = datetime.now(UTC)
        store.study_reading.record_study_read(
            session,
            opened.study.place.id,
            installation.single_reader.id,
            _SAID,
            now,
            seen=opened.case.on_screen if opened.case and reveal else None,
        )


def heatmap(client: TestClient, *, due: bool = True) -> int:
    """Ask for the tissue, which is there while it is to be read, and give the status of its heat map."""
    for path in ("/images/1", "/images/1/thumbnail"):
        assert client.get(path).status_code == (200 if due else 403)
    return client.get("/images/1/heatmap").status_code


def test_unaided_never(client: TestClient, installation: Installation) -> None:
    study = make(installation, Arm.UNAIDED)
    assert heatmap(client) == 403
    read(installation, study, seen=False)
    assert heatmap(client, due=False) == 403


def test_blind_first_after_the_first_read_and_until_the_last(client: TestClient, installation: Installation) -> None:
    study = make(installation, Arm.BLIND_FIRST, Arm.UNAIDED)
    assert heatmap(client) == 403
    read(installation, study, seen=False)
    assert heatmap(client) == 200
    read(installation, study, seen=True)
    assert heatmap(client) == 403, "the next round is unaided"


def test_model_first_at_once_and_until_the_read(client: TestClient, installation: Installation) -> None:
    study = make(installation, Arm.UNAIDED, Arm.MODEL_FIRST)
    assert heatmap(client) == 403
    read(installation, study, seen=False)
    assert heatmap(client) == 200
    read(installation, study, seen=True)
    assert heatmap(client, due=False) == 403, "every case is read, and the study is open"


def test_a_browser_that_has_the_image_is_refused_too(client: TestClient, installation: Installation) -> None:
    study = make(installation, Arm.UNAIDED)
    tag = client.get("/images/1").headers["etag"]
    assert client.get("/images/1", headers={"If-None-Match": tag}).status_code == 304
    read(installation, study, seen=False)
    for path in ("/images/1", "/images/1/thumbnail"):
        refused = client.get(path, headers={"If-None-Match": tag})
        assert (refused.status_code, refused.headers["cache-control"]) == (403, "no-store")
        assert "it is shown when its case is to be read" in refused.text


def test_a_closed_study_opens_nothing(client: TestClient, installation: Installation) -> None:
    study = make(installation, Arm.BLIND_FIRST)
    read(installation, study, seen=False)
    with installation.sessions.begin() as session:
        store.studies.close_study(session, installation.single_reader.id, study)
    assert heatmap(client) == 403
