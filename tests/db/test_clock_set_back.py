"""A clock that is set back brings no sign-in back to life, and the trail says that it happened."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from core import clock
from db import store
from db.audit.trail import record_event
from db.audit.verify import verify
from db.database import Sessions, open_database
from db.values.accounts import Lifetime, Role
from db.values.audit import AuditEvent
from service.access.sessions import COOKIE, Access
from tests.helpers.world import PASSWORD

HOUR = timedelta(hours=1)


@dataclass(slots=True)
class ComputerClock:
    """A clock that somebody sets, and the monotonic one that nobody can set."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    ticks: float = 0.0

    def pass_by(self, span: timedelta) -> None:
        self.time += span
        self.ticks += span.total_seconds()

    def start_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process take its time from here, as if it had just started."""
        monkeypatch.setattr(clock, "_wall", lambda: self.time)
        monkeypatch.setattr(clock, "_CLOCK", clock.SteadyClock(lambda: self.time, lambda: self.ticks))


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch, quick_passwords: None) -> ComputerClock:
    made = ComputerClock()
    made.start_process(monkeypatch)
    return made


@pytest.fixture
def served(computer: ComputerClock, with_tables: None, database_url: str, tmp_path: Path) -> Access:
    """The access of an installation with one reader."""
    sessions = open_database(database_url, data=tmp_path)
    with sessions.begin() as session:
        store.accounts.add_signing_account(session, None, "dr. a", Role.READER, PASSWORD)
    return Access(sessions, Lifetime())


def sign_in(served: Access) -> str:
    secret = served.sign_in("dr. a", PASSWORD, "127.0.0.1").secret
    assert secret
    return secret


def is_signed_in(served: Access, secret: str) -> bool:
    return served.visitor(Headers({"cookie": f"{COOKIE}={secret}"}), active=True) is not None


def trail(sessions: Sessions) -> list[AuditEvent]:
    with sessions.read() as session:
        return store.audit.audit_trail(session)[::-1]


def times_told(sessions: Sessions) -> int:
    return sum(event.action == "clock set back" for event in trail(sessions))


def test_an_expired_sign_in_stays_expired_when_the_clock_is_set_back_under_a_running_server(
    served: Access, computer: ComputerClock
) -> None:
    secret = sign_in(served)
    assert is_signed_in(served, secret)
    computer.pass_by(HOUR)
    assert not is_signed_in(served, secret)
    computer.time -= HOUR - timedelta(minutes=2)  # nothing was saved since, so only the process knows
    assert not is_signed_in(served, secret)
    sessions = served._sessions
    assert [event.action for event in trail(sessions)][-2:] == ["clock set back", "sign-ins ended"]
    assert is_signed_in(served, sign_in(served))
    assert not is_signed_in(served, secret)
    assert (times_told(sessions), verify(sessions).findings) == (1, ())


def test_an_expired_sign_in_stays_expired_when_the_clock_is_set_back_before_a_start(
    served: Access, computer: ComputerClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = sign_in(served)
    computer.pass_by(HOUR)
    sessions = served._sessions
    with sessions.begin() as session:
        record_event(session, None, "tried", "later")
    computer.time -= HOUR - timedelta(minutes=2)
    computer.start_process(monkeypatch)
    with sessions.read() as session:
        assert store.sign_ins.signed_in(session, secret) is None
    with sessions.begin() as session:
        record_event(session, None, "tried", "after the start")
    *_, told, ended, after = trail(sessions)
    assert (told.action, ended.action, ended.subject, after.subject) == (
        "clock set back",
        "sign-ins ended",
        "dr. a",
        "after the start",
    )
    assert "before the newest event of" in told.subject
    assert told.at == after.at == computer.time
    assert not is_signed_in(served, secret)
    assert is_signed_in(served, sign_in(served))
    assert (times_told(sessions), verify(sessions).findings) == (1, ())


def test_what_one_process_has_told_no_other_tells_again(
    served: Access, computer: ComputerClock, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, in_server = open_database(database_url, data=tmp_path), clock._CLOCK
    secret = sign_in(served)
    monkeypatch.setattr(clock, "_CLOCK", clock.SteadyClock(lambda: computer.time, lambda: computer.ticks))
    computer.time -= HOUR
    for process, sessions in ((in_server, served._sessions), (clock._CLOCK, worker)):
        monkeypatch.setattr(clock, "_CLOCK", process)
        for _ in range(2):
            with sessions.begin() as session:
                record_event(session, None, "tried", "")
    assert times_told(worker) == 1
    assert not is_signed_in(served, secret)
    worker.dispose()


def test_a_correction_of_seconds_ends_nothing_and_does_not_show_in_the_trail(
    served: Access, computer: ComputerClock
) -> None:
    secret = sign_in(served)
    computer.time -= timedelta(seconds=30)
    with served._sessions.begin() as session:
        record_event(session, None, "tried", "")
    assert is_signed_in(served, secret)
    times = [event.at for event in trail(served._sessions)]
    assert times == sorted(times)
    assert times_told(served._sessions) == 0


def test_a_clock_that_was_set_back_goes_on_steadily_until_that_is_accepted() -> None:
    computer = ComputerClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
    steady = clock.SteadyClock(lambda: computer.time, lambda: computer.ticks)
    computer.time -= HOUR
    computer.pass_by(timedelta(seconds=5))
    assert steady.now() == datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
    assert steady.was_set_back()
    steady.accept()
    assert steady.now() == computer.time
    assert not steady.was_set_back()
    computer.time += HOUR
    assert steady.now() == computer.time
    computer.time -= timedelta(seconds=61)
    assert steady.was_set_back()
    computer.time += timedelta(seconds=2)
    assert not steady.was_set_back()
