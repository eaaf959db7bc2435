"""Readers and cases for the tests of worklist, claims and planning; what nobody can wait for is written as rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from db import store
from db.reading_models import Claim, Consensus, SignOff, Study, StudyPlace
from db.reading_values import Arm, Severity
from db.session import Sessions
from db.values import CaseState, Opinion, Role, Stage
from db.worklist import case_state
from tests.helpers.stored import OPENED, analyse_all, make_case

BENIGN = Opinion("benign", 4)
MALIGNANT = Opinion("malignant", 4)


@dataclass(frozen=True, slots=True)
class Ward:
    """Two readers, an adjudicator, and analysed cases on which the model says malignant."""

    sessions: Sessions
    a: int
    b: int
    adjudicator: int
    cases: tuple[int, ...]

    def read(self, account_id: int, case_id: int, opinion: Opinion, *, seen: Sequence[int] | None = None) -> None:
        """Save a first and a final read that say the same; with `seen=()` the model had no result."""
        differs = opinion.label == "benign" and seen is None
        with self.sessions.begin() as session:
            store.record_first_read(session, case_id, account_id, opinion, OPENED)
            final = replace(opinion, reason="quality") if differs else opinion
            store.record_final_read(session, case_id, account_id, final, OPENED, seen=seen)

    def state(self, account_id: int, case_id: int | None = None) -> CaseState:
        """Give the state of a case, of the first one unless said."""
        with self.sessions.read() as session:
            return case_state(session, case_id or self.cases[0], account_id)

    def add(self, *rows: Claim | Consensus | SignOff | Study | StudyPlace) -> None:
        """Write rows."""
        with self.sessions.begin() as session:
            session.add_all(rows)


def open_ward(sessions: Sessions, cases: int = 1) -> Ward:
    """Make readers and cases."""
    with sessions.begin() as session:
        a, b = (store.add_account(session, name, Role.READER).id for name in ("dr. a", "dr. b"))
        adjudicator = store.add_account(session, "dr. j", Role.ADJUDICATOR).id
        made = tuple(make_case(session, a) for _ in range(cases))
    analyse_all(sessions, 0.8)
    return Ward(sessions, a, b, adjudicator, made)


def claim(account_id: int, case_id: int, *, minutes_ago: float = 0) -> Claim:
    """Give a claim that was made or renewed so long ago and lasts for half an hour."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return Claim(account_id=account_id, case_id=case_id, claimed_at=at, expires_at=at + timedelta(minutes=30))


def consensus(session: Session, case_id: int, account_id: int, opinion: Opinion) -> Consensus:
    """Give a consensus of an adjudicator who has a blind read of the case."""
    (blind,) = (read for read in store.own_reads(session, account_id, case_id=case_id) if read.stage is Stage.FIRST)
    return Consensus(
        case_id=case_id,
        account_id=account_id,
        blind_read_id=blind.id,
        label=opinion.label,
        confidence=opinion.confidence,
        severity=Severity.MINOR,
        note="",
        opened_at=OPENED,
        saved_at=datetime.now(UTC),
    )


def sign_off(case_id: int, account_id: int, version: int = 1) -> SignOff:
    """Give a signed version of a case."""
    why = "" if version == 1 else "looked again"
    return SignOff(
        case_id=case_id, version=version, account_id=account_id, label="benign", note="", why=why, saved_at=OPENED
    )


def study_of(ward: Ward, account_id: int, *, closed: bool = False) -> tuple[Study, StudyPlace]:
    """Give a study in which a reader has to read the first case."""
    ended = datetime.now(UTC) if closed else None
    return (
        Study(
            id=1,
            name="s",
            seed=1,
            washout_days=0,
            counterbalanced=False,
            created_by_id=ward.a,
            created_at=OPENED,
            closed_at=ended,
        ),
        StudyPlace(
            study_id=1,
            account_id=account_id,
            case_id=ward.cases[0],
            round=1,
            arm=Arm.BLIND_FIRST,
            iteration=1,
            position=1,
        ),
    )
