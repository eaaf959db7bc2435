"""A case of which a report is made, with real pixels and maps, for the tests of PDF and FHIR."""

from dataclasses import dataclass

from sqlalchemy import select

from core.labels import Malignancy
from db import models, store
from db.export_values import CaseExport
from db.values import Opinion, Role, Vote
from tests.helpers.exported import NOTE, marked, settle, sign
from tests.helpers.reading_room import ReadingRoom
from tests.helpers.rows import OPENED


@dataclass(frozen=True, slots=True)
class ReportedCase:
    """A case that two readers have finished, one of whom amended."""

    room: ReadingRoom
    case_id: int
    other: int

    def export(self, account_id: int | None = None, *, named: bool = False) -> CaseExport:
        """Ask for its report."""
        with self.room.sessions.read() as session:
            return store.exported_case(session, self.case_id, account_id or self.room.reader, named=named)

    def settle(self) -> int:
        """Let an adjudicator settle it, and give their account."""
        with self.room.sessions.begin() as session:
            account = store.add_account(session, "prof. telltale", Role.ADJUDICATOR).id
            settle(session, self.case_id, account, "malignant")
        return account

    def sign(self, versions: int = 1) -> None:
        """Sign it, and amend that."""
        with self.room.sessions.begin() as session:
            labels: list[Malignancy] = ["malignant"] * versions
            sign(session, self.case_id, self.other, *labels)


def reported_case(room: ReadingRoom, *, images: int = 2) -> ReportedCase:
    """Let two readers read a case that the model calls malignant; all that they type is a formula with a name in it."""
    case_id = room.add_case(*range(1, images + 1), accession="TELLTALE-17")
    room.analyse_all(0.8125)
    with room.sessions.begin() as session:
        other = store.add_account(session, "dr. telltale", Role.READER).id
        image = session.scalars(select(models.Image.id).where(models.Image.case_id == case_id)).first()
        assert image is not None
        for reader in (room.reader, other):
            store.record_first_read(session, case_id, reader, marked(image, "benign"), OPENED, edit_seconds=20)
        benign = Opinion("benign", 2, note=NOTE, reason="wrong_area", vote=Vote.NO)
        store.record_final_read(session, case_id, room.reader, benign, OPENED)
        store.record_final_read(session, case_id, other, marked(image), OPENED)
        store.amend_read(session, case_id, room.reader, Opinion("malignant", 5, note=NOTE), OPENED)
    return ReportedCase(room, case_id, other)
