"""A browser tab that sends what no browser of ours sends: the message is refused, and the page goes on."""

import re
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetState

from tests.helpers.browser_tab import ClickingTab, clicking_tab
from tests.helpers.images.tissue import tissue_png
from tests.helpers.server import Server, running_server

pytestmark = pytest.mark.slow

_UPLOADER = "PNG, JPEG or TIFF images"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in single-reader mode, without a usable checkpoint."""
    with running_server(tmp_path_factory.mktemp("hostile"), "127.0.0.1") as started:
        yield started


@pytest.fixture
def reading(server: Server) -> Iterator[ClickingTab]:
    """A tab in which a case waits for its first read."""
    with clicking_tab(server.port) as tab:
        tab.open("worklist", "")
        tab.open("upload_cases", "demo=1")
        yield tab


@pytest.mark.parametrize(
    "written",
    [
        "{",
        "[" * 50_000,
        '{"marks": ' + "9" * 6_000 + "}",
        '{"marks": {"form": 3}}',
        '{"marks": {"form": "x", "regions": [{}]}}',
    ],
    ids=["no JSON", "nested", "a huge number", "no form", "no region"],
)
def test_marks_that_cannot_be_read_leave_the_page_as_it_is(reading: ClickingTab, written: str) -> None:
    viewer = re.findall(r'id: "([^"]*-viewer-[^"]*)"', reading.words)[-1]
    for _ in range(2):
        reading.send_state(WidgetState(id=viewer, json_value=written))
        assert "Save and reveal" in reading.words
    reading.send_state(WidgetState(id=viewer, json_value="{}"))
    assert "Save and reveal" in reading.words


def test_a_nul_in_the_name_of_a_file_is_refused_and_the_next_file_is_taken(server: Server) -> None:
    with clicking_tab(server.port) as tab:
        tab.open("upload_cases")
        with pytest.raises(AssertionError, match="name of this file cannot be read"):
            tab.upload(_UPLOADER, [("a\0b.png", tissue_png(3))])
        tab.draw_anew()
        tab.upload(_UPLOADER, [("ab.png", tissue_png(3))])
        tab.press("Store images")
        assert "ab.png" in tab.all_words


def test_a_nul_in_a_filter_is_left_out(server: Server) -> None:
    with clicking_tab(server.port) as tab:
        tab.open("worklist")
        tab.type("Case number", "no such\0 case")
        tab.draw_anew()
        assert "No cases match" in tab.words or "No cases yet" in tab.words


def test_a_nul_is_found_however_the_upload_is_cut(server: Server) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    pieces = iter([b"--x\r\n", b"name\0", b"\r\n\r\n"])
    headers = {"Host": "localhost", "Content-Type": "multipart/form-data; boundary=x"}
    path = "/_stcore/upload_file/no-session/no-file"
    connection.request("PUT", path, body=pieces, headers=headers, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (400, b"The name of this file cannot be read.")
    connection.close()
