"""What a reader may know of a case now: the one rule that every query of the store asks.

* Its images: always, unless it belongs to an open study of theirs; then only while it is the case to read there.
* The model's opinion: after their own first read; in an open study, as its arm says.
* What others said (opinions, consensus, signed versions, reference labels, the true label of an evaluated image): after
  their own final read of routine reading, as soon as it can no longer be withdrawn, or after they have adjudicated the
  case; names only after a final read. Never while the case belongs to an open study of theirs.

Blindness belongs to pictures: an evaluated image is hidden while it is also an image of a case of which the reader may
not know what others said. Whatever a reader saves later is marked as informed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BindParameter, ColumnElement, Select, and_, exists, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from core import clock
from db import tables
from db.queries.consensus import has_settled, settled_by
from db.queries.events import is_event_of, were_opinions_shown
from db.queries.permissions import has_permission
from db.queries.reads import is_current_final, is_routine
from db.queries.study_places import (
    current_place,
    is_in_open_study,
    open_studies_with,
    open_study_cases,
    shows_model,
    washout_ends,
)
from db.values.accounts import Permission
from db.values.audit import Action
from db.values.reading import GRACE, Stage

Number = int | BindParameter[int]
Numbers = ColumnElement[int] | InstrumentedAttribute[int]
Moment = datetime | BindParameter[datetime]

# Made once: the columns of an alias are laid out anew for each, which takes longer than the statement.
_FINAL, _FINISHED, _REPLACED, _OTHERS = (aliased(tables.Read) for _ in range(4))
_SHOWN, _SHOWN_CASE = aliased(tables.AuditEvent), aliased(tables.Case)
_MINE, _OTHER = aliased(tables.Image), aliased(tables.Image)


@dataclass(frozen=True, slots=True)
class UndoWindow:
    """A final read can be withdrawn if it was saved after `after`, and not after `until`, which is now.

    A read from the future shows that the clock was set back: it cannot be withdrawn either.
    """

    after: Moment
    until: Moment


def latest_time(session: Session) -> datetime:
    """Return the time, or that of the newest event if the clock was set back while the server was stopped."""
    event = tables.AuditEvent
    newest = session.scalar(select(event.at).order_by(event.id.desc()).limit(1))
    return max(clock.now(), newest) if newest else clock.now()


def undo_window(session: Session) -> UndoWindow:
    """Return the window of now."""
    now = latest_time(session)
    return UndoWindow(now - GRACE, now)


def can_be_withdrawn(final: type[tables.Read], window: UndoWindow) -> ColumnElement[bool]:
    """Select the final reads that their readers can still withdraw: no amendments, and nothing of others was shown."""
    replaced, event, case = _REPLACED, _SHOWN, _SHOWN_CASE
    amends = select(replaced.id).where(replaced.id == final.supersedes_id, replaced.stage == Stage.FINAL)
    shown = (
        select(event.id)
        .join(case, case.accession == event.subject)
        .where(case.id == final.case_id, is_event_of(event, final.account_id), event.action == Action.OPINIONS_SHOWN)
    )
    # The times come first: they leave only a few reads to look at.
    return and_(
        final.saved_at > window.after,
        final.saved_at <= window.until,
        is_current_final(final),
        ~amends.correlate(final).exists(),
        ~shown.correlate(final).exists(),
    )


def others_have_read(case_id: Numbers, account_id: Numbers | Number) -> ColumnElement[bool]:
    """Select the cases of which there is a read by somebody else in routine reading."""
    read = _OTHERS
    return (
        select(read.id)
        .where(read.case_id == case_id, read.account_id != account_id, read.place_id.is_(None))
        .correlate_except(read)
        .exists()
    )


def is_open_to_its_reader(final: type[tables.Read], window: UndoWindow) -> ColumnElement[bool]:
    """Select the final reads whose readers may know what others said: those that can no longer be withdrawn.

    As long as nobody else has read the case there is nothing to hide.
    """
    hidden = and_(can_be_withdrawn(final, window), others_have_read(final.case_id, final.account_id))
    return and_(is_current_final(final), not_(hidden))


def finished_cases(account_id: Number, window: UndoWindow) -> Select[int]:
    """Select the ids of the cases of which this reader may know what others said, with their names."""
    final = _FINAL
    return _finished(final, account_id, window).where(final.case_id.not_in(open_study_cases(account_id)))


def knows_opinions(case_id: Numbers, account_id: int, window: UndoWindow) -> ColumnElement[bool]:
    """Select the cases of which this reader may know what others said, one case at a time."""
    said = or_(_has_finished(case_id, account_id, window), has_settled(case_id, account_id))
    return and_(said, ~is_in_open_study(case_id, account_id))


def may_know_names(session: Session, case_id: int, account_id: int) -> bool:
    """Return whether this reader may know who said what of a case."""
    case = tables.Case.id
    known = and_(_has_finished(case, account_id, undo_window(session)), case.not_in(open_study_cases(account_id)))
    return session.scalar(select(case).where(case == case_id, known)) is not None


def may_know_opinions(session: Session, case_id: int, account_id: int) -> bool:
    """Return whether this reader may know what others said of a case."""
    return case_id in known_among(session, [case_id], account_id)


def known_among(session: Session, cases: Collection[int], account_id: int) -> set[int]:
    """Return those of some cases of which this reader may know what others said.

    As `knows_opinions`, but of few cases: its cost does not grow with what else the reader has finished.
    """
    final = _FINAL
    finished = _finished(final, account_id, undo_window(session)).where(final.case_id.in_(cases))
    settled = settled_by(account_id).where(tables.Consensus.case_id.in_(cases))
    in_study = open_study_cases(account_id).where(tables.StudyPlace.case_id.in_(cases))
    return {*session.scalars(finished), *session.scalars(settled)} - set(session.scalars(in_study))


def may_see_images(session: Session, case_id: int, account_id: int) -> bool:
    """Return whether this reader may see the images of a case now."""
    studies = open_studies_with(session, case_id, account_id)
    return not studies or any(_is_due(session, study, case_id, account_id) for study in studies)


def may_see_model(session: Session, case_id: int, account_id: int) -> bool:
    """Return whether this reader may see the model's opinion of a case now.

    Reads in studies do not count afterwards. A case in two open studies shows the model only if both allow it.
    """
    studies = open_studies_with(session, case_id, account_id)
    if studies:
        return all(shows_model(session, current_place(session, study, account_id), case_id) for study in studies)
    return session.scalar(_first_reads(account_id).where(tables.Read.case_id == case_id).limit(1)) is not None


def shows_scopes(case_id: Numbers, account_id: int) -> ColumnElement[bool]:
    """Select the cases of which this reader may know, added up over many, how like the training images they are.

    As of the model's opinion: after their own first read, and never while the case belongs to an open study of theirs.
    """
    begun = _first_reads(account_id).where(tables.Read.case_id == case_id)
    return and_(begun.exists(), ~is_in_open_study(case_id, account_id))


def is_informed(session: Session, case_id: int, account_id: int, *, blind: bool = False) -> bool:
    """Return whether a read saved now comes after this reader could learn what others said of the same pictures.

    With `blind`, which stands for a first read of routine reading, it also counts if this reader has seen the model's
    opinion of another case with one of these pictures.
    """
    mine, other, case = _MINE, _OTHER, tables.Case
    alike = (
        select(other.case_id)
        .join(mine, mine.file_sha256 == other.file_sha256)
        .where(mine.case_id == case_id)
        .distinct()
    )
    shown = were_opinions_shown(case.accession, account_id)
    # A study of these cases is no reason to forget what was known before.
    finished = _has_finished(case.id, account_id, undo_window(session))
    known = or_(and_(finished, others_have_read(case.id, account_id)), has_settled(case.id, account_id), shown)
    if blind:
        begun = _first_reads(account_id).where(tables.Read.case_id == case.id).exists()
        known = or_(known, and_(case.id != case_id, begun))
    same = or_(case.id == case_id, case.id.in_(alike))
    return session.scalar(select(case.id).where(same, known).limit(1)) is not None


def is_hidden_picture(session: Session, account_id: int | None) -> ColumnElement[bool] | None:
    """Select the evaluated images that this account may not see; None if it may see them all, as the program may.

    They are found by the hash of their file, and by that of their pixels as an upload stores them. Of an image of an
    older evaluation, which has neither, nobody can say whether it is among the cases: it stays hidden as long as this
    reader has any case to finish.
    """
    unfinished = is_unfinished_picture(session, account_id)
    if unfinished is None:
        return None
    evaluated, image = tables.EvaluatedImage, tables.Image
    pictures = select(image.id).where(unfinished)
    # Asked for each evaluated image: the cases of a reader may be very many.
    return or_(
        pictures.where(image.source_sha256 == evaluated.source_sha256).exists(),
        pictures.where(image.file_sha256 == evaluated.file_sha256).exists(),
        evaluated.source_sha256.is_(None),
        evaluated.file_sha256.is_(None),
    )


def is_unfinished_picture(session: Session, account_id: int | None) -> ColumnElement[bool] | None:
    """Select the images of the cases that this reader has yet to finish; None if there are none, or it reads none."""
    if account_id is None or not has_permission(session, account_id, Permission.READ_CASES):
        return None
    image = tables.Image
    unfinished = not_(knows_opinions(image.case_id, account_id, undo_window(session)))
    # The newest first: where a reader has finished nearly all, it is the newest that are left.
    found = session.scalar(select(image.id).where(unfinished).order_by(image.id.desc()).limit(1))
    return None if found is None else unfinished


def _finished(final: type[tables.Read], account_id: Number, window: UndoWindow) -> Select[int]:
    return select(final.case_id).where(final.account_id == account_id, is_open_to_its_reader(final, window))


def _has_finished(case_id: Numbers, account_id: int, window: UndoWindow) -> ColumnElement[bool]:
    """Select the cases whose final read by this reader is open to them; one case at a time, unlike `_finished`."""
    final = _FINISHED
    return exists().where(
        final.case_id == case_id, final.account_id == account_id, is_open_to_its_reader(final, window)
    )


def _first_reads(account_id: int) -> Select[int]:
    read = tables.Read
    return select(read.case_id).where(read.account_id == account_id, is_routine(read, Stage.FIRST))


def _is_due(session: Session, study_id: int, case_id: int, account_id: int) -> bool:
    place = current_place(session, study_id, account_id)
    return place is not None and place.case_id == case_id and washout_ends(session, place) is None


def cases_with_undo(session: Session, account_id: int, case_id: int | None = None) -> Sequence[int]:
    """Return the cases whose final read this reader can still withdraw, and of which others have said something."""
    final = _FINAL
    query = select(final.case_id).where(
        final.account_id == account_id,
        can_be_withdrawn(final, undo_window(session)),
        others_have_read(final.case_id, final.account_id),
        final.case_id.not_in(open_study_cases(account_id)),
    )
    if case_id is not None:
        query = query.where(final.case_id == case_id)
    return session.scalars(query.order_by(final.case_id)).all()
