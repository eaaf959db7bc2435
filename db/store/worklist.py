"""The worklist of one reader: a page of cases with their state, filters and orders, and the case to read next.

Neither the model's opinion nor an order based on it is used before the reader's own first read. Cases without an
image are left out, and so are cases that this reader must read in an open study. What is listed was written by
`db.projection` with the rows from which it follows; the few cases whose state depends on the time are added here.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

from sqlalchemy.orm import Session

from core.natural_order import NaturalKey, make_natural_key
from db.projection.write import project_touched
from db.queries.case_state import derive_cases
from db.queries.listed_cases import (
    FEW,
    FOUND,
    CaseDetails,
    Wanted,
    case_details,
    cases_by_id,
    cases_by_text,
    cases_in_order,
    cases_of_pile,
    cases_of_piles,
    count_piles,
    first_case_since,
    newest_case,
)
from db.queries.live_cases import LiveCases, live_cases
from db.queries.permissions import require_permission
from db.values.accessions import sort_key
from db.values.accounts import Permission
from db.values.piles import Pile, Share
from db.values.reading import CaseState
from db.values.worklist import CaseFilter, CaseOrder, CaseRow, ListedCase, WorklistPage

PAGE = 50  # cases

_EVERYTHING = CaseFilter()

_OF_MODEL = (CaseOrder.UNCERTAINTY, CaseOrder.DISCORDANCE)

_Key = tuple[int | float | bool | NaturalKey | bytes, ...]
_Keys = Callable[[ListedCase], _Key]


def worklist(
    session: Session,
    account_id: int,
    filters: CaseFilter = _EVERYTHING,
    *,
    order: CaseOrder = CaseOrder.WORK,
    language: str | None = None,
    after: ListedCase | None = None,
    size: int = PAGE,
) -> WorklistPage:
    """Return a page of the cases of one reader; orders based on the model include only cases that this reader has read.

    Case numbers are sorted naturally, as the reader's `language` sorts its letters; in long lists every letter is
    sorted by its base letter. `after` is the `last` of the page before.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    project_touched(session)
    filters = replace(filters, text=(filters.text or "").strip() or None)
    live, piles = live_cases(session, account_id), count_piles(session, account_id)
    chosen = [pile for pile in piles if _matches(pile, filters)]
    wanted = Wanted(account_id, chosen, filters, live.ids, first_case_since(session, filters))
    before = cases_by_id(session, wanted, live.ids)
    listed = [one for one in _as_now(before, live) if _matches(one.pile, filters)]
    number = sum(piles[pile] for pile in chosen)
    is_short = number <= FEW or (wanted.oldest and newest_case(session) - wanted.oldest < FEW)
    total: int | None = None
    if is_short or filters.text:
        listed += cases_of_piles(session, wanted) if is_short else cases_by_text(session, wanted)
        listed = [one for one in listed if _has_place(one, order)]
        cut = not is_short and len(listed) > FOUND
        total = None if cut else len(listed)
        keys = _keys(order, partial(make_natural_key, language=language))
    else:
        cut = False
        if _tells_nothing_of_cases(filters) and order not in _OF_MODEL:
            total = number + len(listed) - sum(_matches(one.pile, filters) for one in before)
        listed += _next_cases(session, wanted, order, size + 1, after)
        listed = [one for one in listed if _has_place(one, order)]
        keys = _keys(order, sort_key)
    remaining = [one for one in sorted(listed, key=keys) if after is None or keys(one) > keys(after)]
    page = remaining[:size]
    details = case_details(session, account_id, [one.case_id for one in page])
    return WorklistPage(
        rows=tuple(_case_row(one, details[one.case_id], live) for one in page),
        last=page[-1] if len(remaining) > size else None,
        total=total,
        cut=cut,
    )


def state_counts(session: Session, account_id: int) -> dict[CaseState, int]:
    """Count this reader's cases by state; every state is included, even with 0."""
    require_permission(session, account_id, Permission.READ_CASES)
    project_touched(session)
    live = live_cases(session, account_id)
    counts = Counter(dict.fromkeys(CaseState, 0))
    for pile, cases in count_piles(session, account_id).items():
        counts[pile.state] += cases
    before = cases_by_id(session, Wanted(account_id, (), _EVERYTHING), live.ids)
    for stored, now in zip(before, _as_now(before, live), strict=True):
        counts[stored.pile.state] -= 1
        counts[now.pile.state] += 1
    return dict(counts)


def find_next_case(
    session: Session, account_id: int, after: int | None = None, *, passed: Sequence[int] = ()
) -> int | None:
    """Return the case to read next: urgent cases first, then those assigned to this reader, then the oldest.

    Cases between first and final read come after unread ones; cases that another reader has open come last, and
    unread cases assigned only to others are left out. With `after`, newer cases than this one come before older ones,
    and the case itself is left out; the cases in `passed` come when no other is left.
    """
    require_permission(session, account_id, Permission.READ_CASES)
    project_touched(session)
    live = live_cases(session, account_id)
    places = {case_id: place for place, case_id in enumerate(passed, 1)}
    apart = (live.ids | places.keys()) - {after}
    wanted = Wanted(account_id, (), _EVERYTHING, apart | ({after} if after is not None else set()))
    found = [one for one in _as_now(cases_by_id(session, wanted, apart), live) if one.pile.to_do]
    piles = [pile for pile in count_piles(session, account_id) if pile.to_do]
    for _, alike in groupby(sorted(piles, key=Pile.work_key), key=Pile.work_key):
        first = [one for pile in alike for one in _first_of(session, wanted, pile, after)]
        if first:
            found += first
            break

    def key(one: ListedCase) -> _Key:
        is_older = after is not None and one.case_id < after
        return places.get(one.case_id, 0), *one.pile.work_key(open_elsewhere=one.open_elsewhere), is_older, one.case_id

    return min(found, key=key).case_id if found else None


def case_state(session: Session, case_id: int, account_id: int) -> CaseState:
    """Return the state of a case for one reader, from the rows of this case alone."""
    derived = derive_cases(session, [case_id], [account_id])
    if not derived:
        # A case without images is not on the worklist and cannot be analysed.
        return CaseState.UNREADABLE
    return live_cases(session, account_id).now(case_id, derived[0].pile).state


def _matches(pile: Pile, filters: CaseFilter) -> bool:
    in_state = filters.states is None or pile.state in filters.states
    return in_state and (not filters.mine or pile.share is Share.MINE)


def _tells_nothing_of_cases(filters: CaseFilter) -> bool:
    return filters == CaseFilter(states=filters.states, mine=filters.mine)


def _has_place(one: ListedCase, order: CaseOrder) -> bool:
    """Return whether a case is listed in an order: those of the model hold only what this reader knows of it."""
    if order is CaseOrder.UNCERTAINTY:
        return one.uncertainty is not None
    return order is not CaseOrder.DISCORDANCE or one.concordance is not None


def _as_now(cases: Sequence[ListedCase], live: LiveCases) -> list[ListedCase]:
    return [
        replace(one, pile=live.now(one.case_id, one.pile), open_elsewhere=one.case_id in live.elsewhere)
        for one in cases
    ]


def _next_cases(
    session: Session, wanted: Wanted, order: CaseOrder, many: int, after: ListedCase | None
) -> list[ListedCase]:
    """Return at least the next cases of a long list, without those whose state depends on the time."""
    if order is CaseOrder.WORK:
        return _next_to_work_on(session, wanted, many, after)
    if order in (CaseOrder.NEWEST, CaseOrder.OLDEST):
        beyond, newest_first = after.case_id if after else 0, order is CaseOrder.NEWEST
        of_piles = (
            cases_of_pile(session, wanted, pile, many, beyond=beyond, newest_first=newest_first)
            for pile in wanted.piles
        )
        return [one for cases in of_piles for one in cases]
    return cases_in_order(session, wanted, order, many, after)


def _next_to_work_on(session: Session, wanted: Wanted, many: int, after: ListedCase | None) -> list[ListedCase]:
    reached = after.pile.work_key(open_elsewhere=after.open_elsewhere) if after else None
    found: list[ListedCase] = []
    for key, alike in groupby(sorted(wanted.piles, key=Pile.work_key), key=Pile.work_key):
        if after is not None and reached is not None and key < reached:
            continue
        if len(found) >= many:
            break
        beyond = after.case_id if after is not None and key == reached else 0
        for pile in alike:
            found += cases_of_pile(session, wanted, pile, many, beyond=beyond)
    return found


def _first_of(session: Session, wanted: Wanted, pile: Pile, after: int | None) -> list[ListedCase]:
    """Return the first case of a pile that is newer than the last one, or else the first."""
    newer = cases_of_pile(session, wanted, pile, 1, beyond=after or 0)
    return newer or cases_of_pile(session, wanted, pile, 1)


def _keys(order: CaseOrder, sort_accession: Callable[[str], NaturalKey | bytes]) -> _Keys:
    """Return the function that gives the place of a case in an order; the case itself decides last."""
    match order:
        case CaseOrder.WORK:
            return lambda one: (*one.pile.work_key(open_elsewhere=one.open_elsewhere), one.case_id)
        case CaseOrder.NEWEST:
            return lambda one: (-one.case_id,)
        case CaseOrder.OLDEST:
            return lambda one: (one.case_id,)
        case CaseOrder.ACCESSION:
            return lambda one: (sort_accession(one.accession), one.case_id)
        case CaseOrder.UNCERTAINTY:
            return lambda one: (one.uncertainty or 0.0, one.case_id)
        case CaseOrder.DISCORDANCE:
            return lambda one: (one.concordance or 0.0, one.case_id)


def _case_row(one: ListedCase, details: CaseDetails, live: LiveCases) -> CaseRow:
    holder = live.elsewhere.get(one.case_id)
    return CaseRow(
        id=one.case_id,
        accession=details.accession,
        magnification=details.magnification,
        images=details.images,
        analysed=details.analysed,
        state=one.pile.state,
        created_at=details.created_at,
        demonstration=details.demonstration,
        read_to_end=details.read_to_end,
        urgent=one.pile.urgent,
        assigned_to_me=one.pile.share is Share.MINE,
        assigned_to_others=one.pile.share is Share.OTHERS,
        open_with=holder.reader if holder else "",
        open_since=holder.since if holder else None,
        first_image=details.first_image,
    )
