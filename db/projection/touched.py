"""Which cases and accounts a transaction has touched, so that their worklists are derived again before it commits.

The rows that a session writes say it themselves: a new function of the store need not remember. Only what is written
without the ORM is named by its writer.
"""

from dataclasses import dataclass, field

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, UOWTransaction

from db import tables
from db.values.audit import Action

_TOUCHED = "touched cases"  # key in `session.info`
_OF_CASE = (
    tables.Image,
    tables.Read,
    tables.Consensus,
    tables.SignOff,
    tables.Assignment,
    tables.Priority,
    tables.StudyPlace,
)
_OF_IMAGE = (tables.Job, tables.Prediction, tables.ImageScope, tables.ImageScale)


@dataclass(slots=True)
class Touched:
    """The numbers of touched rows; the cases of images, intakes and so on are looked up at the end."""

    cases: set[int] = field(default_factory=set)
    images: set[int] = field(default_factory=set)
    intakes: set[int] = field(default_factory=set)
    studies: set[int] = field(default_factory=set)
    accessions: set[str] = field(default_factory=set)
    accounts: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        """Return whether anything was touched."""
        return any((self.cases, self.images, self.intakes, self.studies, self.accessions, self.accounts))


def start_watching(session: Session) -> None:
    """Make a session note what its rows touch."""
    session.info[_TOUCHED] = Touched()
    event.listen(session, "after_flush", _note_written)


def take_touched(session: Session) -> Touched | None:
    """Return what a session has touched since this was last called; None if it does not watch, or touched nothing."""
    session.flush()
    touched = session.info.get(_TOUCHED)
    if not isinstance(touched, Touched) or not touched:
        return None
    session.info[_TOUCHED] = Touched()
    return touched


def touch_image(session: Session, image_id: int) -> None:
    """Note that what is known of an image was changed without the ORM."""
    touched = session.info.get(_TOUCHED)
    if isinstance(touched, Touched):
        touched.images.add(image_id)


def _note_written(session: Session, _: UOWTransaction) -> None:
    touched = session.info[_TOUCHED]
    for row in session.new:
        _note(touched, row, is_new=True)
    for row in session.dirty:
        _note(touched, row, is_new=False)


def _note(touched: Touched, row: object, *, is_new: bool) -> None:
    if isinstance(row, _OF_CASE):
        touched.cases.add(row.case_id)
    elif isinstance(row, _OF_IMAGE):
        touched.images.add(row.image_id)
    elif isinstance(row, tables.Case):
        touched.cases.add(row.id)
    elif isinstance(row, tables.Intake):
        touched.intakes.add(row.id)
    elif isinstance(row, tables.IntakeEnd):
        touched.intakes.add(row.intake_id)
    elif isinstance(row, tables.Study):
        touched.studies.add(row.id)
    elif isinstance(row, tables.AuditEvent) and row.action == Action.OPINIONS_SHOWN:
        touched.accessions.add(row.subject)
    else:
        _note_account(touched, row, is_new=is_new)


def _note_account(touched: Touched, row: object, *, is_new: bool) -> None:
    if isinstance(row, tables.Account) and (is_new or inspect(row).attrs.role.history.has_changes()):
        touched.accounts.add(row.id)
    # A new credential changes nothing unless it is disabled.
    if isinstance(row, tables.Credential) and (
        row.disabled if is_new else inspect(row).attrs.disabled.history.has_changes()
    ):
        touched.accounts.add(row.account_id)
