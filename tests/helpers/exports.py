"""What is exported: a study that was read, a case of which a report is made, and the files that come out."""

import csv
import io
import zipfile
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.imaging.demo import generate_tissue
from core.labels import Malignancy
from db import store, tables
from db.database import Sessions
from db.values.accounts import Role
from db.values.adjudication import Severity
from db.values.exports import CaseExport, ReadsExport
from db.values.reading import Arm, OnScreen, Opinion, Region, RegionKind, Vote
from service.exports.mrmc import write_reads_table
from tests.helpers.images.odd_tiffs import pages_tiff
from tests.helpers.rows import MALIGNANT, OPENED, OUT
from tests.helpers.world import World, add_person, add_sign_in, make_study_world, predictions_shown

ARMS = (Arm.UNAIDED, Arm.BLIND_FIRST, Arm.MODEL_FIRST, Arm.BLIND_FIRST)
NOTE = '=HYPERLINK("http://evil.example";"Mrs. Telltale, born 1950")'


@dataclass(frozen=True, slots=True)
class PilotStudy:
    """Two readers who read three cases in all arms, and accounts of every role who did not."""

    world: World
    study: int
    roles: dict[Role, int]

    @property
    def sessions(self) -> Sessions:
        """The database."""
        return self.world.sessions


def read_pilot_study(sessions: Sessions, *, closed: bool = True) -> PilotStudy:
    """Make a study of three cases and let two readers read it to its end."""
    world = make_study_world(sessions, readers=2)
    study = world.make_study(world.plan_study(ARMS, name="pilot"))
    # In one transaction: a click each, as in real life, takes a minute.
    with sessions.begin() as session:
        for reader in world.readers:
            for _ in range(len(ARMS) * len(world.cases)):
                _finish(session, study, reader)
        if closed:
            store.studies.close_study(session, world.planner, study)
        roles = {role: add_person(session, f"the {role}", role) for role in Role}
        for reader in world.readers:
            add_sign_in(session, reader)
    return PilotStudy(world, study, roles)


def _finish(session: Session, study: int, reader: int) -> None:
    place = store.study_reading.open_place(session, study, reader).study.place
    assert place is not None
    if place.arm is not Arm.MODEL_FIRST:
        store.study_reading.record_study_read(session, place.id, reader, MALIGNANT, OPENED)
    if place.arm is not Arm.UNAIDED:
        seen = OnScreen(predictions_shown(store.study_reading.open_place(session, study, reader)))
        store.study_reading.record_study_read(session, place.id, reader, MALIGNANT, OPENED, seen=seen)


def add_consensus(session: Session, case_id: int, account_id: int, label: Malignancy | None) -> None:
    """Add a consensus as an adjudicator's click would."""
    read = tables.Read(
        case_id=case_id, account_id=account_id, stage="first", label="benign", confidence=2, note="",
        model_visible=False, opened_at=OPENED, saved_at=OPENED,
    )  # fmt: skip
    session.add(read)
    session.flush()
    sure = None if label is None else 4
    session.add(
        tables.Consensus(
            case_id=case_id, account_id=account_id, blind_read_id=read.id, label=label, confidence=sure,
            severity=Severity.MINOR, note=NOTE, opened_at=OPENED, saved_at=OPENED,
        )
    )  # fmt: skip


def add_sign_offs(session: Session, case_id: int, account_id: int, *labels: Malignancy) -> None:
    """Add versions of a sign-off."""
    for version, label in enumerate(labels, start=1):
        session.add(
            tables.SignOff(
                case_id=case_id, version=version, account_id=account_id, label=label, note=NOTE,
                why="" if version == 1 else NOTE, saved_at=OPENED,
            )
        )  # fmt: skip


def opinion_with_regions(image_id: int, label: Malignancy = "malignant") -> Opinion:
    """Return an opinion with a region of every kind."""
    regions = (
        Region(image_id, RegionKind.POINT, ((10.5, 20.0),), NOTE),
        Region(image_id, RegionKind.BOX, ((5, 6), (50, 60))),
        Region(image_id, RegionKind.SHAPE, ((1, 1), (90, 4), (40, 80))),
        Region(image_id, RegionKind.LINE, ((10, 10), (130, 100))),
    )
    return Opinion(label, 4, subtype="ductal_carcinoma" if label == "malignant" else None, note=NOTE, regions=regions)


@dataclass(frozen=True, slots=True)
class ReportedCase:
    """A case that two readers have finished, one of whom amended."""

    world: World
    case_id: int
    other: int

    def export(self, account_id: int | None = None, *, named: bool = False) -> CaseExport:
        """Ask for its report, which ends Undo."""
        with self.world.sessions.begin() as session:
            store.reads.end_undo(session, account_id or self.world.reader)
        with self.world.sessions.read() as session:
            return store.exports.exported_case(session, self.case_id, account_id or self.world.reader, named=named)

    def settle(self) -> int:
        """Let an adjudicator settle it, and return their account."""
        with self.world.sessions.begin() as session:
            account = store.accounts.add_account(session, "prof. telltale", Role.ADJUDICATOR).id
            add_consensus(session, self.case_id, account, "malignant")
        return account

    def sign(self, versions: int = 1) -> None:
        """Sign it, and amend that."""
        with self.world.sessions.begin() as session:
            labels: list[Malignancy] = ["malignant"] * versions
            add_sign_offs(session, self.case_id, self.other, *labels)


def reported_case(world: World, *, images: int = 2) -> ReportedCase:
    """Let two readers read a case that the model calls malignant; all that they type is a formula with a name in it."""
    case_id = world.add_case(*range(1, images + 1), accession="TELLTALE-17")
    world.analyse(0.8125)
    with world.sessions.begin() as session:
        other = store.accounts.add_account(session, "dr. telltale", Role.READER).id
        image = session.scalars(select(tables.Image.id).where(tables.Image.case_id == case_id)).first()
        assert image is not None
        for reader in (world.reader, other):
            store.reads.record_first_read(
                session, case_id, reader, opinion_with_regions(image, "benign"), OPENED, edit_seconds=20
            )
        benign = Opinion("benign", 2, note=NOTE, reason="wrong_area", vote=Vote.NO)
        store.reads.record_final_read(session, case_id, world.reader, benign, OPENED)
        store.reads.record_final_read(session, case_id, other, opinion_with_regions(image), OPENED)
        store.reads.amend_read(session, case_id, world.reader, Opinion("malignant", 5, note=NOTE), OPENED)
    return ReportedCase(world, case_id, other)


def case_of_first_pages(world: World) -> int:
    """Let the reader finish a case whose only file has two pages, the first of which is read."""
    case_id = world.add_case(
        1, pixels=lambda seed: pages_tiff([(generate_tissue(seed + n, "benign"), {}) for n in (0, 1)])
    )
    world.analyse(0.8125)
    with world.sessions.begin() as session:
        for record in (store.reads.record_first_read, store.reads.record_final_read):
            record(session, case_id, world.reader, MALIGNANT, OPENED)
    return case_id


def case_out_of_scope(world: World) -> CaseExport:
    """Let the reader finish a case of which the model gives no opinion, and return its report."""
    case_id = world.add_case(1)
    world.analyse(0.8125, OUT)
    with world.sessions.begin() as session:
        for record in (store.reads.record_first_read, store.reads.record_final_read):
            record(session, case_id, world.reader, MALIGNANT, OPENED)
    with world.sessions.read() as session:
        return store.exports.exported_case(session, case_id, world.reader)


def reads_table(export: ReadsExport) -> bytes:
    """Return the CSV file of exported reads."""
    file = io.BytesIO()
    write_reads_table(file, export)
    return file.getvalue()


def csv_rows(data: bytes) -> list[dict[str, str]]:
    """Read a CSV file as a spreadsheet does."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def unzip(data: bytes) -> dict[str, bytes]:
    """Return the files of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
