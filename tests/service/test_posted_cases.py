"""A laboratory system adds cases once, asks how far they are, and learns nothing of any opinion."""

import json
from collections.abc import Iterator

import pytest

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from core.imaging.scale import Scale
from db import store
from db.values.accounts import Role, TokenScope
from db.values.jobs import JobState
from db.values.programs import KeyedRequest
from service.api.limits import RequestLimits
from service.api.routing import let_programs_in
from service.api.uploads import ReceivedFile, digest
from service.intake import CasePlan, Intake
from tests.helpers import rows
from tests.helpers.programs import Interface, running_interface
from tests.helpers.world import analyse_all

_SEEDS = iter(range(1000, 2000))


@pytest.fixture(scope="module")
def interface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    """One server for all tests of this module."""
    with running_interface(tmp_path_factory.mktemp("cases")) as served:
        yield served


def _field() -> bytes:
    """Return an image that is in no case yet."""
    return encode_png(generate_tissue(next(_SEEDS), "benign", 96, 96))


def _get(interface: Interface, path: str, **headers: str) -> "tuple[int, str]":
    answer = interface.client.get(path, headers=interface.headers(TokenScope.CASES) | headers)
    return answer.status_code, answer.text


def test_a_case_is_added_with_its_images_as_the_page_adds_it(interface: Interface) -> None:
    answer = interface.add_case(
        _field(), b"no image", _field(), accession="LIS-1", magnification="40X", um_per_px="0.5"
    )
    assert answer.status_code == 201
    added = answer.json()
    case = added["case"]
    assert (case["accession"], case["magnification"], case["state"]) == ("LIS-1", "40X", "waiting")
    assert [one["job"] for one in case["images"]] == ["queued", "queued"]
    first, bad, last = added["files"]
    assert [first["image_id"], last["image_id"]] == [one["image_id"] for one in case["images"]]
    assert (bad["image_id"], "not a supported image format" in bad["error"]) == (None, True)
    with interface.sessions.read() as session:
        stored = store.open_case.case_images(session, case["case_id"])
    assert {one.scale.um_per_px for one in stored if one.scale} == {Scale(0.5, "typed").um_per_px}
    assert interface.installation.batches.unseen(interface.account(Role.READER).id) is None, "no page shows it"


def test_a_number_that_is_taken_and_files_that_are_no_images_add_nothing(interface: Interface) -> None:
    assert interface.add_case(_field(), accession="LIS-2").status_code == 201
    taken = interface.add_case(_field(), accession="lis-2")
    assert (taken.status_code, taken.headers["content-type"]) == (409, "application/problem+json")
    assert "there is already a case LIS-2" in taken.json()["detail"]
    nothing = interface.add_case(b"no image", accession="LIS-3")
    assert nothing.status_code == 422
    assert "none of the files was stored" in nothing.json()["detail"]
    assert interface.add_case(_field(), accession="LIS-3").status_code == 201, "the number is still free"


def test_a_case_and_its_jobs_tell_how_far_they_are_and_nothing_else(interface: Interface) -> None:
    case = interface.add_case(_field(), _field()).json()["case"]
    job = case["images"][1]["job_id"]
    waiting = json.loads(_get(interface, f"/jobs/{job}")[1])
    assert (waiting["state"], waiting["place"] >= 2) == ("queued", True)
    analyse_all(interface.sessions, 0.90625)
    case_after, job_after = (_get(interface, path)[1] for path in (f"/cases/{case['case_id']}", f"/jobs/{job}"))
    assert json.loads(case_after)["state"] == "ready"
    assert json.loads(job_after) | {"attempts": 1} == waiting | {
        "state": "done",
        "place": None,
        "attempts": 1,
        "seconds_left": None,
    }
    for text in (case_after, job_after):
        assert "malignant" not in text
        assert "0.90625" not in text


def test_a_program_does_not_learn_that_the_model_gives_no_opinion(interface: Interface) -> None:
    case = interface.add_case(_field()).json()["case"]
    analyse_all(interface.sessions, result=rows.out_of_scope())
    assert json.loads(_get(interface, f"/cases/{case['case_id']}")[1])["state"] == "ready"
    assert "scope" not in _get(interface, f"/jobs/{case['images'][0]['job_id']}")[1]


def test_the_cases_and_jobs_of_others_are_not_found(interface: Interface) -> None:
    case = interface.add_case(_field()).json()["case"]
    others = interface.headers(TokenScope.CASES, Role.ADJUDICATOR)
    for path in (f"/cases/{case['case_id']}", f"/jobs/{case['images'][0]['job_id']}", "/cases/99999", "/jobs/99999"):
        answer = interface.client.get(path, headers=others)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path


def test_the_progress_of_a_job_arrives_as_events_until_it_has_ended(
    interface: Interface, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.cases._POLL_SECONDS", 0.01)
    job = interface.add_case(_field()).json()["case"]["images"][0]["job_id"]
    headers = interface.headers(TokenScope.CASES) | {"Accept": "text/event-stream"}
    real, looked = store.posted_cases.posted_job, []

    def analyse_at_the_third_look(*args: object) -> object:
        looked.append(args)
        if len(looked) == 3:
            analyse_all(interface.sessions)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(store.posted_cases, "posted_job", analyse_at_the_third_look)
    with interface.client.stream("GET", f"/jobs/{job}", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    assert [line for line in lines if line.startswith("event")] == ["event: queued", "event: done"]
    assert json.loads(lines[-1].removeprefix("data: "))["state"] == JobState.DONE


def test_the_same_key_adds_a_case_once_also_after_a_restart(interface: Interface) -> None:
    image = _field()
    first = interface.add_case(image, key="k-1", accession="LIS-4")
    let_programs_in(interface.app, RequestLimits())  # as after a restart: only the database remembers
    again = interface.add_case(image, key="k-1", accession="LIS-4")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    other = interface.add_case(image, key="k-1", accession="LIS-5")
    assert (other.status_code, "new key" in other.json()["detail"]) == (409, True)
    refused = interface.add_case(_field(), key="k-2", accession="LIS-4")
    assert refused.status_code == 409


@pytest.mark.parametrize("stored", [0, 1, 2])
def test_a_request_that_was_cut_off_is_completed_by_the_same_request_again(interface: Interface, stored: int) -> None:
    """As after a kill: the request was begun, some images and even all are stored, and the intake has not ended."""
    images = [("field 1.png", _field()), ("field 2.png", _field())]
    account, files = interface.account(Role.READER).id, [ReceivedFile(*image) for image in images]
    with interface.sessions.begin() as session:
        token = store.sign_ins.find_token(session, interface.tokens[Role.READER, TokenScope.CASES])
        assert token is not None
        request = KeyedRequest(token.id, f"cut-{stored}", digest("/cases", [repr(None)] * 3, files))
        store.keyed_requests.begin_request(session, request)
    intake = Intake(interface.sessions, interface.installation.files, CasePlan(account, None), len(images))
    for position, image in enumerate(images[:stored], start=1):
        assert intake.take_in(position, image).image_id
    answer = interface.add_case(*(data for _, data in images), key=f"cut-{stored}")
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert [one["error"] for one in found["files"]] == [None, None]
    assert len(found["case"]["images"]) == 2
    assert found["case"]["state"] == "waiting", "complete"
    if stored:
        assert found["case"]["case_id"] == intake.case_id
