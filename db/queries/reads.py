"""Rows of reads, with the predictions on the screen and the marked regions; returned as values."""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Integer, Select, and_, bindparam, select
from sqlalchemy.orm import Session, aliased

from core import clock
from core.labels import Malignancy
from core.results import ScopeLevel
from db import tables
from db.audit.seals import seal
from db.queries.cached import cache_statement
from db.values.audit import Seal
from db.values.reading import REASONS, Opinion, Read, Region, Reveal, RevealedScope, Stage, find_shown_scope

AT_ONCE = 500  # reads in memory
_NEWER = aliased(tables.Read)
_REASON_CODES = tuple(code for code, _ in REASONS)


@dataclass(frozen=True, slots=True)
class NewRead:
    """A read to save; `supersedes` is the id of the read it replaces, `informed` as in `tables.Read`."""

    case_id: int
    account_id: int
    stage: Stage
    opinion: Opinion
    opened_at: datetime
    edit_seconds: float | None = None
    place_id: int | None = None
    supersedes: int | None = None
    informed: bool = False

    def __post_init__(self) -> None:
        if self.opened_at.tzinfo is None:
            raise ValueError(f"opened_at needs a time zone, got {self.opened_at.isoformat()}")
        if self.edit_seconds is not None and not 0 <= self.edit_seconds < float("inf"):
            raise ValueError(f"the editing time must not be negative, got {self.edit_seconds} s")


@dataclass(frozen=True, slots=True)
class SealedRead:
    """A read with the digest of its rows, for the audit trail."""

    read: Read
    seal: Seal


def add_read(session: Session, new: NewRead, reveal: Reveal | None, scopes: Sequence[RevealedScope] = ()) -> SealedRead:
    """Add a read, the images it was given on, what was on the screen of the model, and the marked regions.

    On the screen were the predictions of `reveal`, and the `scopes`.

    Raises:
        ValueError: If a region is outside the images of the case.
    """
    _check_regions(session, new)
    row = _row(new, reveal, find_shown_scope(reveal, scopes))
    session.add(row)
    session.flush()
    shown = reveal.images if reveal else ()
    linked: list[tables.Base] = [
        tables.ReadPrediction(read_id=row.id, prediction_id=one.prediction_id) for one in shown
    ]
    linked += [tables.ReadScope(read_id=row.id, scope_id=one.scope_id) for one in scopes]
    if new.stage is not Stage.WITHDRAWN:
        # All of the case: since it was first opened, no image can have joined it.
        images = session.scalars(select(tables.Image.id).where(tables.Image.case_id == new.case_id))
        linked += [tables.ReadImage(read_id=row.id, image_id=image_id) for image_id in images]
    linked += [_region_row(row.id, region) for region in new.opinion.regions]
    session.add_all(linked)
    account = session.get_one(tables.Account, row.account_id)
    return SealedRead(_value(row, account.name, new.opinion.regions), seal(session, row, linked))


def current_read(
    session: Session, case_id: int, account_id: int, stage: Stage, *, place_id: int | None = None
) -> Read | None:
    """Return this reader's current read of a stage, in routine reading or at a place of a study; None if none."""
    parameters = {"case": case_id, "account": account_id, "stage": stage, "place": place_id}
    result = session.execute(_current(in_study=place_id is not None), parameters).first()
    if result is None:
        return None
    row, name = result
    return _value(row, name, _regions_of(session, [row.id]).get(row.id, ()))


@cache_statement
def _current(*, in_study: bool) -> Select[tables.Read, str]:
    # Built once: nearly every click runs it several times, and building it takes longer than running it.
    read = tables.Read
    place = read.place_id == bindparam("place", type_=Integer()) if in_study else read.place_id.is_(None)
    return (
        select(read, tables.Account.name)
        .join(tables.Account, tables.Account.id == read.account_id)
        .where(
            read.case_id == bindparam("case", type_=Integer()),
            read.account_id == bindparam("account", type_=Integer()),
            read.stage == bindparam("stage", type_=read.stage.type),
            place,
            is_current_read(read),
        )
        .order_by(read.id.desc())
        .limit(1)
    )


def is_current_read(read: type[tables.Read]) -> ColumnElement[bool]:
    """Select the reads that no later read has replaced."""
    return ~select(_NEWER.id).where(_NEWER.supersedes_id == read.id).exists()


def is_routine(read: type[tables.Read], stage: Stage) -> ColumnElement[bool]:
    """Select the reads of a stage that belong to no study."""
    return and_(read.stage == stage, read.place_id.is_(None))


def is_current_final(read: type[tables.Read]) -> ColumnElement[bool]:
    """Select the final reads of routine reading that no later read has replaced."""
    return and_(is_routine(read, Stage.FINAL), is_current_read(read))


def is_final_of_any_kind(read: type[tables.Read]) -> ColumnElement[bool]:
    """Select the final reads, of routine reading or of a study, that no later read has replaced."""
    return and_(read.stage == Stage.FINAL, is_current_read(read))


def read_values(session: Session, *conditions: ColumnElement[bool]) -> list[Read]:
    """Return the reads that meet all conditions, oldest first."""
    read = tables.Read
    query = select(read, tables.Account.name).join(tables.Account, tables.Account.id == read.account_id)
    rows = session.execute(query.where(*conditions).order_by(read.id)).all()
    regions = _regions_of(session, select(read.id).where(*conditions)) if rows else {}
    return [_value(row, name, regions.get(row.id, ())) for row, name in rows]


def read_ids(session: Session, *conditions: ColumnElement[bool]) -> Sequence[int]:
    """Return the ids of the reads that meet all conditions, oldest first."""
    query = select(tables.Read.id).where(*conditions).order_by(tables.Read.id)
    return array("q", session.scalars(query.execution_options(yield_per=AT_ONCE)))


def read_blocks(session: Session, ids: Sequence[int]) -> Iterator[list[Read]]:
    """Yield the reads with these ids, in ascending order, so many at once that few are in memory."""
    for start in range(0, len(ids), AT_ONCE):
        # By their keys, not by the conditions again: no block costs more than another.
        yield read_values(session, tables.Read.id.in_(list(ids[start : start + AT_ONCE])))


def shown_label(row: tables.Read) -> Malignancy | None:
    """Return the model's label of the case as the reader saw it; None if it had no result."""
    if row.shown_probability is None or row.shown_threshold is None:
        return None
    return "malignant" if row.shown_probability >= row.shown_threshold else "benign"


def check_reason(opinion: Opinion, reveal: Reveal | None) -> None:
    """Check that a reader who contradicts the model gives a reason; 'cannot assess' is no contradiction.

    Raises:
        ValueError: If the reason is missing or unknown, or "other" has no note.
    """
    if opinion.reason is not None and opinion.reason not in _REASON_CODES:
        raise ValueError(f"unknown reason {opinion.reason!r}: use one of {', '.join(_REASON_CODES)}")
    if opinion.reason == "other" and not opinion.note.strip():
        raise ValueError("for the reason 'other', describe the reason in the note")
    differs = reveal is not None and opinion.label is not None and opinion.label != reveal.malignancy
    if reveal is not None and differs and opinion.reason is None:
        raise ValueError(f"your opinion is {opinion.label}, the model's is {reveal.malignancy}: choose a reason")


def check_blind(opinion: Opinion) -> None:
    """Check that an opinion holds nothing that depends on the model.

    Raises:
        ValueError: If the opinion has a reason or a vote.
    """
    if opinion.reason is not None or opinion.vote is not None:
        raise ValueError("a first opinion cannot have a reason or a vote: the model has not been shown yet")


def _check_regions(session: Session, new: NewRead) -> None:
    if not new.opinion.regions:
        return
    image = tables.Image
    sizes = {
        image_row.id: (image_row.width, image_row.height)
        for image_row in session.scalars(select(image).where(image.case_id == new.case_id))
    }
    for region in new.opinion.regions:
        if region.image_id not in sizes:
            raise ValueError(f"image {region.image_id} does not belong to this case")
        width, height = sizes[region.image_id]
        if any(x > width or y > height for x, y in region.points):
            raise ValueError(f"a {region.kind} is outside its image of {width} x {height} px")


def _row(new: NewRead, reveal: Reveal | None, shown_scope: ScopeLevel | None) -> tables.Read:
    opinion = new.opinion
    return tables.Read(
        case_id=new.case_id,
        account_id=new.account_id,
        stage=new.stage,
        label=opinion.label,
        confidence=opinion.confidence,
        subtype=opinion.subtype,
        note=opinion.note,
        reason=opinion.reason,
        vote=opinion.vote,
        model_visible=reveal is not None,
        shown_probability=reveal.malignant_probability if reveal else None,
        shown_threshold=reveal.threshold if reveal else None,
        opened_at=new.opened_at,
        saved_at=clock.now(),
        supersedes_id=new.supersedes,
        place_id=new.place_id,
        edit_seconds=new.edit_seconds,
        informed=new.informed,
        shown_scope=shown_scope,
    )


def _region_row(read_id: int, region: Region) -> tables.Region:
    return tables.Region(
        read_id=read_id,
        image_id=region.image_id,
        kind=region.kind,
        points=[[float(x), float(y)] for x, y in region.points],
        note=region.note,
    )


def _regions_of(session: Session, reads: Select[int] | list[int]) -> Mapping[int, tuple[Region, ...]]:
    by_read: dict[int, list[Region]] = defaultdict(list)
    for row in session.scalars(
        select(tables.Region).where(tables.Region.read_id.in_(reads)).order_by(tables.Region.id)
    ):
        points = tuple((x, y) for x, y in row.points)
        by_read[row.read_id].append(Region(row.image_id, row.kind, points, row.note))
    return {read: tuple(regions) for read, regions in by_read.items()}


def _value(row: tables.Read, reader: str, regions: tuple[Region, ...]) -> Read:
    return Read(
        id=row.id,
        case_id=row.case_id,
        reader=reader,
        stage=row.stage,
        opinion=Opinion(row.label, row.confidence, row.subtype, row.note, row.reason, row.vote, regions),
        model_visible=row.model_visible,
        opened_at=row.opened_at,
        saved_at=row.saved_at,
        supersedes=row.supersedes_id,
        place_id=row.place_id,
        edit_seconds=row.edit_seconds,
        informed=bool(row.informed),
        shown_scope=row.shown_scope,
    )
