"""Every route that /openapi.json describes answers as described there, whatever is sent to it."""

import io
import zipfile
from collections.abc import Iterator
from itertools import count

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from db.values.accounts import Role, TokenScope
from service.access.gate import needed_scope
from service.api.limits import RequestLimits
from tests.helpers.programs import Interface, running_interface
from tests.helpers.stress import amount

_EACH = amount(150, 2)  # requests for each route and kind
_TAKE_ANYTHING = ("/health", "/assets/{name}")  # no request to them can be against what is described
_SEEDS = count()
_ASKED: list[str] = []  # the paths of all requests
_ROUTES = (
    *(("POST", path) for path in ("/predict/single", "/predict/folder", "/cases")),
    *(("GET", path) for path in ("/cases/{case_id}", "/jobs/{job_id}", "/models", "/reads")),
    *(("GET", f"/images/{{image_id}}{rest}") for rest in ("", "/thumbnail", "/heatmap", "/scope-map")),
    *(("GET", path) for path in ("/health", "/assets/{name}")),
)


@pytest.fixture(scope="module")
def interface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interface]:
    """One server for all tests of this module, which lets in as much as is sent."""
    with running_interface(tmp_path_factory.mktemp("described")) as served:
        served.change_limits(RequestLimits(requests=1_000_000))
        yield served


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        (method, path, mode)
        for method, path in _ROUTES
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or path not in _TAKE_ANYTHING
    ],
    ids=str,
)
def test_a_route_answers_as_it_is_described(interface: Interface, method: str, path: str, mode: GenerationMode) -> None:
    scope = needed_scope(path)
    headers = interface.headers(scope, None if scope else Role.READER)
    schema = schemathesis.openapi.from_asgi("/openapi.json", interface.behind_gate, headers=headers)
    operation = schema[path][method]

    @seeded(1)
    @settings(max_examples=_EACH, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:  # type: ignore[type-arg]
        if mode is GenerationMode.POSITIVE:
            _send_images(case)
        is_answered = path == "/predict/folder" and _has_files(case)
        case.call_and_validate(headers=headers, excluded_checks=[negative_data_rejection] if is_answered else None)
        _ASKED.append(path)

    ask()


def test_pictures_are_described_as_png(interface: Interface) -> None:
    headers = interface.headers(TokenScope.READS)
    described = interface.client.get("/openapi.json", headers=headers).json()["paths"]
    for rest in ("", "/thumbnail", "/heatmap", "/scope-map"):
        answers = described[f"/images/{{image_id}}{rest}"]["get"]["responses"]
        assert set(answers["200"]["content"]) == {"image/png"}


def test_every_route_is_asked(interface: Interface) -> None:
    headers = interface.headers(TokenScope.READS)
    described = interface.client.get("/openapi.json", headers=headers).json()["paths"]
    assert {(method.upper(), path) for path, methods in described.items() for method in methods} == set(_ROUTES)
    print(f"{len(_ASKED)} requests")


def _has_files(case: schemathesis.Case) -> bool:  # type: ignore[type-arg]
    """Return whether a request has files: whatever is sent in their place is the content of one.

    A folder is answered, with an error for each file that is no image.
    """
    files = case.body.get("files") if isinstance(case.body, dict) else None
    return isinstance(files, list) and bool(files)


def _send_images(case: schemathesis.Case) -> None:  # type: ignore[type-arg]
    """Put images in the place of arbitrary bytes: no schema can say what an image is."""
    if not isinstance(case.body, dict):
        return
    image = encode_png(generate_tissue(next(_SEEDS), "benign", 64, 64))
    for name, value in (("file", image), ("files", [image])):
        if name in case.body:
            case.body[name] = value  # type: ignore[assignment]


def test_an_export_of_reads_comes_in_parts_and_whole(interface: Interface, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.results._PART_BYTES", 100)
    with interface.client.stream("GET", "/reads", headers=interface.headers(TokenScope.READS)) as answer:
        parts = list(answer.iter_raw())
    assert answer.headers["content-length"] == str(sum(map(len, parts)))
    assert len(parts) > 1
    assert "routine-reads.zip" in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(b"".join(parts))) as archive:
        assert archive.testzip() is None
        assert {"README.txt", "reads.csv", "reads.xlsx"} <= set(archive.namelist())
