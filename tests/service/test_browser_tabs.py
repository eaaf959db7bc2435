"""A tab stays its reader's, also when the server was restarted in between."""

from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from db import store
from db.values.accounts import Role
from service.access.browser_tabs import BrowserTabs
from tests.helpers.browser_tab import clicking_tab
from tests.helpers.databases import open_new
from tests.helpers.gate import GateClient
from tests.helpers.server import running_server
from tests.helpers.world import PASSWORD


def test_another_server_on_the_same_folder_knows_whose_tab_it_is(tmp_path: Path) -> None:
    before, after = BrowserTabs(), BrowserTabs()
    before.keep_in(tmp_path / "tabs")
    before.opened("tab-of-a", 1)
    before.opened("tab-of-b", 2)
    before.opened("tab-of-a", 2)
    with (tmp_path / "tabs").open("a") as file:
        file.write("\n\xff nonsense\n3 three\nhalf a li")
    after.keep_in(tmp_path / "tabs")
    for tabs in (before, after):
        assert (tabs.belongs_to("tab-of-a", 1), tabs.is_of_another("tab-of-a", 2)) == (True, True)
        assert (tabs.belongs_to("tab-of-b", 2), tabs.is_of_another("tab-of-b", 2)) == (True, False)
        assert (tabs.belongs_to("unknown", 1), tabs.is_of_another("unknown", 1)) == (False, False)
    after.opened("tab-of-c", 3)
    assert "tab-of" not in (tmp_path / "tabs").read_text()
    third = BrowserTabs()
    third.keep_in(tmp_path / "tabs")
    assert third.belongs_to("tab-of-c", 3)


def test_a_folder_that_cannot_be_written_keeps_nobody_from_reading(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    tabs = BrowserTabs()
    tabs.keep_in(tmp_path / "here" / "tabs")
    (tmp_path / "here" / "tabs").unlink()
    (tmp_path / "here").rmdir()
    tabs.opened("tab", 1)
    assert tabs.belongs_to("tab", 1)


@pytest.mark.slow
def test_after_a_restart_the_next_reader_does_not_go_on_in_the_tab_of_the_one_before(tmp_path: Path) -> None:
    sessions = open_new(tmp_path / "second_read.sqlite")
    with sessions.begin() as session:
        for name in ("dr. a", "dr. b"):
            store.accounts.add_signing_account(session, None, name, Role.READER, PASSWORD)
    with running_server(tmp_path, "127.0.0.1") as server:
        cookie = GateClient(server.port, sessions).cookie("dr. a")
        with clicking_tab(server.port, cookie) as tab:
            tab.open("worklist")
            number = tab.number
    assert number
    with running_server(tmp_path, "127.0.0.1") as server:
        other = GateClient(server.port, sessions).cookie("dr. b")
        with pytest.raises(InvalidStatus) as refused, clicking_tab(server.port, other, resume=number):
            pass
        assert refused.value.response.status_code == 403
        with clicking_tab(server.port, cookie, resume=number) as tab:
            tab.open("worklist")
            assert "signed in as dr. a" in tab.words
    sessions.dispose()
