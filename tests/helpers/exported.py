"""A study that was read, and accounts of every role, for the tests of exports."""

import csv
import io
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from core.labels import Malignancy
from db import models, store
from db.access_models import Credential
from db.reading_models import Consensus, SignOff
from db.reading_values import Arm, Region, RegionKind, Severity
from db.session import Sessions
from db.values import Opinion, Role
from tests.helpers.rows import MALIGNANT, OPENED
from tests.helpers.world import World, make_study_world, predictions_shown

ARMS = (Arm.UNAIDED, Arm.BLIND_FIRST, Arm.MODEL_FIRST, Arm.BLIND_FIRST)
NOTE = '=HYPERLINK("http://evil.example";"Mrs. Telltale, born 1950")'


@dataclass(frozen=True, slots=True)
class House:
    """Two readers who read three cases in all arms, and accounts of every role who did not."""

    make_study_world: World
    study: int
    roles: dict[Role, int]

    @property
    def sessions(self) -> Sessions:
        """The database."""
        return self.ward.sessions


def read_house(sessions: Sessions, *, closed: bool = True) -> House:
    """Make a study of three cases and let two readers read it to its end."""
    found = make_study_world(sessions, readers=2)
    study = found.make(found.plan(ARMS, name="pilot"))
    # In one transaction: a click each, as in real life, takes a minute.
    with sessions.begin() as session:
        for reader in found.readers:
            for _ in range(len(ARMS) * len(found.cases)):
                _finish(session, study, reader)
        if closed:
            store.close_study(session, found.planner, study)
        roles = {role: store.add_account(session, f"the {role}", role).id for role in Role}
        for account in (*roles.values(), *found.readers):
            session.add(
                Credential(account_id=account, password_hash=None, disabled=False, changed_at=datetime.now(UTC))
            )
    return House(found, study, roles)


def _finish(session: Session, study: int, reader: int) -> None:
    place = store.open_place(session, study, reader).study.place
    assert place is not None
    if place.arm is not Arm.MODEL_FIRST:
        store.record_study_read(session, place.id, reader, MALIGNANT, OPENED)
    if place.arm is not Arm.UNAIDED:
        seen = predictions_shown(store.open_place(session, study, reader))
        store.record_study_read(session, place.id, reader, MALIGNANT, OPENED, seen=seen)


def settle(session: Session, case_id: int, account_id: int, label: Malignancy | None) -> None:
    """Add a consensus as an adjudicator's click would."""
    read = models.Read(
        case_id=case_id, account_id=account_id, stage="first", label="benign", confidence=2, note="",
        model_visible=False, opened_at=OPENED, saved_at=OPENED,
    )  # fmt: skip
    session.add(read)
    session.flush()
    sure = None if label is None else 4
    session.add(
        Consensus(
            case_id=case_id, account_id=account_id, blind_read_id=read.id, label=label, confidence=sure,
            severity=Severity.MINOR, note=NOTE, opened_at=OPENED, saved_at=OPENED,
        )
    )  # fmt: skip


def sign(session: Session, case_id: int, account_id: int, *labels: Malignancy) -> None:
    """Add versions of a sign-off."""
    for version, label in enumerate(labels, start=1):
        session.add(
            SignOff(
                case_id=case_id, version=version, account_id=account_id, label=label, note=NOTE,
                why="" if version == 1 else NOTE, saved_at=OPENED,
            )
        )  # fmt: skip


def marked(image_id: int, label: Malignancy = "malignant") -> Opinion:
    """Say something, with a region of every kind."""
    regions = (
        Region(image_id, RegionKind.POINT, ((10.5, 20.0),), NOTE),
        Region(image_id, RegionKind.BOX, ((5, 6), (50, 60))),
        Region(image_id, RegionKind.SHAPE, ((1, 1), (90, 4), (40, 80))),
    )
    return Opinion(label, 4, subtype="ductal_carcinoma" if label == "malignant" else None, note=NOTE, regions=regions)


def csv_rows(data: bytes) -> list[dict[str, str]]:
    """Read a CSV file as a spreadsheet does."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def unzipped(data: bytes) -> dict[str, bytes]:
    """Give the files of an archive by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
