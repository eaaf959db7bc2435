"""A case on which readers differ, for the tests of adjudication and sign-off."""

from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from db import store
from db.access_models import Credential
from db.adjudication_values import Adjudication, Amendment, Ruling, SignOffView, ToSign
from db.reading_values import Consensus, Severity, SignOff
from db.session import Sessions
from db.values import Opinion, Read, Role
from tests.helpers.stored import OPENED, analyse_all, make_case

# The model of these tests says malignant, 0.8.
SAYS_MALIGNANT = Opinion("malignant", 4, subtype="ductal_carcinoma")
SAYS_BENIGN = Opinion("benign", 4, reason="missed_feature", note="no atypia at all")
CANNOT_ASSESS = Opinion(None, None)
RULING = Ruling("malignant", 5, Severity.MAJOR, subtype="ductal_carcinoma", note="invasive at the left edge")


@dataclass(frozen=True, slots=True)
class Bench:
    """One analysed case, two readers and two adjudicators."""

    sessions: Sessions
    case_id: int
    readers: tuple[int, int]
    adjudicators: tuple[int, int]

    def read(self, account_id: int, said: Opinion, *, first: Opinion | None = None) -> Read:
        """Read the case to the end, with the same opinion before the reveal."""
        blind = replace(first or said, reason=None, vote=None)
        with self.sessions.begin() as session:
            store.record_first_read(session, self.case_id, account_id, blind, OPENED)
            return store.record_final_read(session, self.case_id, account_id, said, OPENED)

    def differ(self) -> tuple[Read, Read]:
        """Let the first reader say malignant, as the model does, and the second one benign."""
        return self.read(self.readers[0], SAYS_MALIGNANT), self.read(self.readers[1], SAYS_BENIGN)

    def amend(self, account_id: int, said: Opinion) -> Read:
        """Amend a reader's final read."""
        with self.sessions.begin() as session:
            return store.amend_read(session, self.case_id, account_id, said, OPENED)

    def blind(self, account_id: int, said: Opinion = SAYS_MALIGNANT) -> Read:
        """Save an adjudicator's blind read."""
        with self.sessions.begin() as session:
            return store.record_first_read(session, self.case_id, account_id, said, OPENED)

    def waiting(self, account_id: int) -> list[str]:
        """Name the cases that wait for an adjudicator."""
        with self.sessions.read() as session:
            return [case.accession for case in store.cases_to_adjudicate(session, account_id)]

    def open(self, account_id: int) -> Adjudication:
        """Open the case as an adjudicator."""
        with self.sessions.begin() as session:
            return store.open_adjudication(session, self.case_id, account_id)

    def settle(self, account_id: int, ruling: Ruling = RULING, seen: tuple[int, ...] | None = None) -> Consensus:
        """Save a consensus on what the adjudicator sees now, or saw."""
        shown = tuple(read.read_id for read in self.open(account_id).reads) if seen is None else seen
        with self.sessions.begin() as session:
            return store.record_consensus(session, self.case_id, account_id, ruling, OPENED, seen=shown)

    def view(self, account_id: int) -> SignOffView:
        """Look at the sign-off."""
        with self.sessions.read() as session:
            return store.sign_offs_of(session, self.case_id, account_id)

    def sign(self, account_id: int, proposed: ToSign | None = None, note: str = "") -> SignOff:
        """Sign what is proposed now, or was."""
        wanted = proposed or self.view(account_id).proposed
        assert wanted is not None, self.view(account_id)
        with self.sessions.begin() as session:
            return store.sign_off(session, self.case_id, account_id, wanted, note)

    def amend_signed(self, account_id: int, amended: Amendment, replaces: int = 1) -> SignOff:
        """Amend the signed case."""
        with self.sessions.begin() as session:
            return store.amend_sign_off(session, self.case_id, account_id, amended, replaces_version=replaces)

    def actions(self) -> list[str]:
        """Give what the audit trail says of the case, oldest first."""
        with self.sessions.begin() as session:
            return [event.action for event in store.audit_trail(session, subject="C-0001")][::-1]


def add_person(session: Session, name: str, role: Role) -> int:
    """Make an account that counts as one that can sign in, so that this is no single-reader mode."""
    account_id = store.add_account(session, name, role).id
    session.add(Credential(account_id=account_id, password_hash=None, disabled=False, changed_at=OPENED))
    return account_id


def make_bench(sessions: Sessions, *, malignant: float = 0.8) -> Bench:
    """Make the case, its readers and its adjudicators; nobody has read anything yet."""
    with sessions.begin() as session:
        readers = [add_person(session, f"dr. reader {name}", Role.READER) for name in "ab"]
        settling = [add_person(session, f"prof. {name}", Role.ADJUDICATOR) for name in "cd"]
        case_id = make_case(session, readers[0])
    analyse_all(sessions, malignant)
    return Bench(sessions, case_id, (readers[0], readers[1]), (settling[0], settling[1]))
