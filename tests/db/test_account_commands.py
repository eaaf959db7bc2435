"""`python -m db accounts ...`, with a real database."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.settings import Settings
from db import store
from db.__main__ import app
from db.database import open_database
from db.values.accounts import Role
from tests.helpers.databases import copy_tables
from tests.helpers.world import PASSWORD


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_passwords: None) -> None:
    monkeypatch.setenv("SECOND_READ_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("SECOND_READ_DATABASE", raising=False)
    copy_tables(tmp_path / "data" / "second_read.sqlite")


def _run(*words: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["accounts", *words], input=typed)


def _recognised(name: str, password: str) -> bool:
    sessions = open_database(Settings.from_environment().database)
    with sessions.read() as session:
        found = store.accounts.account_with_password(session, name, password)
    sessions.dispose()
    return found is not None


def test_an_account_is_made_listed_changed_and_disabled() -> None:
    assert _run("add", "dr. a", "--role", "adjudicator", typed=f"{PASSWORD}\n").exit_code == 0
    assert _recognised("dr. a", PASSWORD)
    assert _run("role", "dr. a", "administrator").exit_code == 0
    assert "dr. a\tadministrator\tenabled" in _run("list").output
    assert _run("password", "dr. a", typed="quite another sentence\n").exit_code == 0
    assert not _recognised("dr. a", PASSWORD)
    assert _recognised("dr. a", "quite another sentence")
    assert _run("disable", "dr. a").exit_code == 0
    assert not _recognised("dr. a", "quite another sentence")
    assert "dr. a\tadministrator\tdisabled" in _run("list").output
    assert _run("enable", "dr. a").exit_code == 0
    assert _recognised("dr. a", "quite another sentence")


@pytest.mark.parametrize(
    ("words", "typed", "says"),
    [
        (["add", "dr. b"], "short\n", "12 to 256 characters"),
        (["add", "dr. b"], "", "12 to 256 characters"),
        (["add", "dr. a"], f"{PASSWORD}\n", "there is already an account"),
        (["add", "a\tb"], f"{PASSWORD}\n", "visible"),
        (["password", "nobody"], f"{PASSWORD}\n", "no account 'nobody'"),
        (["disable", "nobody"], "", "no account 'nobody'"),
        (["role", "nobody", "reader"], "", "no account 'nobody'"),
        (["revoke", "9"], "", "no token number 9"),
        (["token", "nobody", "--label", "x"], "", "no account 'nobody'"),
        (
            ["token", "dr. a", "--label", "x", "--scope", "predict"],
            "",
            "cannot belong to an account with the role reader",
        ),
        (["link", "nobody", "--issuer", "https://id.example", "--subject", "1"], "", "no account 'nobody'"),
        (["link", "dr. a", "--issuer", "https://id.example"], "", "either the subject or the e-mail"),
        (["unlink", "9"], "", "no identity number 9"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_changes_nothing(words: list[str], typed: str, says: str) -> None:
    assert _run("add", "dr. a", typed=f"{PASSWORD}\n").exit_code == 0
    before = _run("list").output
    done = _run(*words, typed=typed)
    assert done.exit_code == 1
    assert says in done.output
    assert "Traceback" not in done.output
    assert _run("list").output == before


def test_no_password_is_ever_an_argument() -> None:
    assert _run("add", "dr. a", PASSWORD).exit_code == 2
    assert _run("add", "dr. a", "--password", PASSWORD).exit_code == 2


def test_a_token_is_shown_once_and_can_be_revoked() -> None:
    assert _run("add", "robot", typed=f"{PASSWORD}\n").exit_code == 0
    secret = _run("token", "robot", "--label", "nightly").output.strip()
    assert secret.startswith("sr_")
    listed = _run("tokens").output
    assert "1\trobot\tnightly\tvalid" in listed
    assert secret not in listed
    assert _run("revoke", "1").exit_code == 0
    assert "1\trobot\tnightly\trevoked" in _run("tokens").output


def test_a_token_for_predictions_belongs_to_an_account_that_reads_no_cases() -> None:
    assert _run("add", "lab system", "--role", "researcher", "--without-password").exit_code == 0
    assert _run("token", "lab system", "--label", "analyser", "--scope", "predict").output.startswith("sr_")
    assert "1\tlab system\tanalyser\tvalid\tpredict" in _run("tokens").output


def test_a_case_is_opened_to_predictions_with_a_reason() -> None:
    sessions = open_database(Settings.from_environment().database)
    with sessions.begin() as session:
        reader = store.accounts.add_account(session, "dr. a", Role.READER)
        store.cases.add_case(session, reader.id, accession="S24-10", magnification=None)
    for words, code, says in (
        (["s24-10", "--why", "compared with another system"], 0, "predictions of the images of s24-10"),
        (["S24-11", "--why", "x"], 1, "there is no case S24-11"),
        (["S24-10", "--why", " "], 1, "say why"),
    ):
        done = CliRunner().invoke(app, ["cases", "open-to-predictions", *words])
        assert (done.exit_code, says in done.output) == (code, True), done.output
    with sessions.read() as session:
        trail = [(event.action, event.subject) for event in store.audit.audit_trail(session)]
    assert trail[0] == ("case opened to predictions", "S24-10")
    sessions.dispose()


def test_an_identity_is_linked_listed_and_unlinked() -> None:
    assert _run("add", "dr. a", typed=f"{PASSWORD}\n").exit_code == 0
    issuer = "https://id.example"
    assert _run("link", "dr. a", "--issuer", issuer, "--subject", "4711").exit_code == 0
    assert _run("link", "dr. a", "--issuer", issuer, "--email", "A@id.example").exit_code == 0
    listed = _run("identities").output
    assert f"1\tdr. a\t{issuer}\t4711\t\tlinked\n" in listed
    assert f"2\tdr. a\t{issuer}\t\ta@id.example\tlinked\n" in listed
    assert _run("unlink", "1").exit_code == 0
    assert f"1\tdr. a\t{issuer}\t4711\t\tunlinked" in _run("identities").output


def test_an_account_without_a_password_signs_in_by_its_identity_only() -> None:
    assert _run("add", "dr. a", "--without-password").exit_code == 0
    assert "dr. a\treader\tenabled" in _run("list").output
    for password in ("", PASSWORD, "None"):
        assert not _recognised("dr. a", password)
    assert _run("link", "dr. a", "--issuer", "https://id.example", "--subject", "1").exit_code == 0
    assert _run("password", "dr. a", typed=f"{PASSWORD}\n").exit_code == 0
    assert _recognised("dr. a", PASSWORD)
