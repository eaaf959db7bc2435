"""The client of docs/api.md, which is that of published services with a token, works as it is written."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx2
import pytest

from core.imaging.demo import generate_tissue
from core.imaging.heatmaps import encode_png
from db.values.accounts import TokenScope
from tests.helpers.programs import Interface, running_interface

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_the_documented_client_prints_a_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", _DOCUMENT.read_text("utf-8"), re.DOTALL)
    (tmp_path / "field.png").write_bytes(encode_png(generate_tissue(1, "malignant", 128, 192)))
    monkeypatch.chdir(tmp_path)
    with running_interface(tmp_path / "data") as interface:
        monkeypatch.setattr("requests.post", _posting_to(interface))
        token = interface.headers(TokenScope.PREDICT)["Authorization"].removeprefix("Bearer ")
        exec(compile(example.replace("TOKEN", token), "api.md", "exec"), {})  # noqa: S102
    assert re.fullmatch(r"(benign|malignant) 0\.\d+ \d\n", capsys.readouterr().out)


def _posting_to(interface: Interface) -> Callable[..., httpx2.Response]:
    """Return what sends to a server of this process what `requests.post` would send."""

    def post(url: str, *, files: dict[str, BinaryIO], headers: dict[str, str]) -> httpx2.Response:
        return interface.client.post(httpx2.URL(url).path, files=files, headers=headers)

    return post
