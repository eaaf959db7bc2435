"""The viewer without a browser: what it sends, what it refuses, and that its vendored parts are what they say."""

import base64
import hashlib
import json
import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from pages.ui.viewer import LIBRARY, VENDOR, HeatmapLayer, ViewedImage, draw_viewer

OWN_FILES = sorted(path for path in VENDOR.parent.iterdir() if path.suffix in {".js", ".css", ".html"})


def _page(evidence: bool) -> None:
    from pages.ui.viewer import HeatmapLayer, ViewedImage, draw_viewer  # noqa: PLC0415 - AppTest runs this body alone

    heatmap = HeatmapLayer("/images/3/heatmap", -1.5, 2.0) if evidence else None
    draw_viewer(
        [ViewedImage(3, "/images/3", "/images/3/thumbnail", 700, 460, "image 1 of 1", "", heatmap)], key="case-1"
    )


def _sent(evidence: bool) -> str:
    app = AppTest.from_function(_page, kwargs={"evidence": evidence}).run()
    assert not app.exception
    (viewer,) = app.get("bidi_component")
    return str(viewer.proto.json)


def test_nothing_of_the_model_is_sent_without_a_heat_map() -> None:
    (image,) = json.loads(_sent(evidence=False))["images"]
    assert image["heatmap"] is None
    assert "/heatmap" not in _sent(evidence=False)


def test_the_evidence_is_sent_with_its_span_in_logits() -> None:
    (image,) = json.loads(_sent(evidence=True))["images"]
    assert image["heatmap"] == {"url": "/images/3/heatmap", "low": -1.5, "high": 2.0}


def test_a_viewer_needs_an_image() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        draw_viewer([], key="empty")


@pytest.mark.parametrize("url", ["https://elsewhere.example/a.png", "//elsewhere.example/a.png", "images/3", ""])
def test_images_come_from_our_own_address_only(url: str) -> None:
    with pytest.raises(ValueError, match="not a route of this app"):
        ViewedImage(3, url, "/images/3/thumbnail", 700, 460, "image 1 of 1")
    with pytest.raises(ValueError, match="not a route of this app"):
        HeatmapLayer(url, 0.0, 1.0)


@pytest.mark.parametrize(("low", "high"), [(1.0, 0.9), (math.nan, 1.0), (-math.inf, 1.0)])
def test_a_heat_map_without_a_scale_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="cannot span"):
        HeatmapLayer("/images/3/heatmap", low, high)


def test_an_even_heat_map_is_a_heat_map() -> None:
    assert HeatmapLayer("/images/3/heatmap", 0.5, 0.5).low == 0.5


def test_the_vendored_library_is_the_published_one() -> None:
    library = VENDOR / LIBRARY.removeprefix("/assets/")
    assert hashlib.sha256(library.read_bytes()).hexdigest() in (VENDOR / "README.md").read_text(encoding="utf-8")
    assert "Redistributions in binary form" in (VENDOR / "LICENSE-openseadragon.txt").read_text(encoding="utf-8")


def test_the_colours_are_cividis() -> None:
    source = (VENDOR.parent / "heatmap.js").read_text(encoding="utf-8")
    table = source.partition("atob(")[2].partition("), (letter)")[0]
    colours = np.frombuffer(base64.b64decode("".join(re.findall(r'"([^"]+)"', table))), np.uint8).reshape(256, 3)
    expected = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_CIVIDIS)[:, 0, ::-1]
    np.testing.assert_array_equal(colours, expected)


@pytest.mark.parametrize("path", OWN_FILES, ids=lambda path: path.name)
def test_our_own_files_name_no_other_address_and_stay_readable(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "//" not in re.sub(r"^\s*//.*$| // .*$", "", text, flags=re.MULTILINE)
    assert text.count("\n") < 250
