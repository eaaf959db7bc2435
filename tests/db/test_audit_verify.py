"""Whatever is done to the audit trail behind the program's back is found, and where."""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Integer, create_engine, make_url, text

from db.audit.chain import GENESIS, Link
from db.audit.trail import record_event
from db.audit.verify import verify
from db.database import Sessions, open_as_it_is, open_database
from db.tables import UtcDateTime
from db.values.audit import Action, AuditFinding
from tests.helpers.stress import amount
from tests.helpers.world import make_reader

EVENTS = 24
TAMPERINGS = amount(200, 40)


@dataclass(frozen=True, slots=True)
class Row:
    """One event as raw SQL sees it."""

    link: Link
    hash: str


def filled(url: str, data: Path) -> Sessions:
    """Make a database whose audit trail has some events, of one to three a click."""
    sessions = open_database(url, data=data)
    with sessions.begin() as session:
        reader = make_reader(session)
    number = 1  # the event of the new account
    while number < EVENTS:
        with sessions.begin() as session:
            for _ in range(min(1 + number % 3, EVENTS - number)):
                number += 1
                record_event(session, reader if number % 4 else None, Action.CASE_OPENED, f"C-{number:04d}")
    return sessions


@contextmanager
def behind_the_back(url: str) -> Iterator[Connection]:
    """Give a connection on which nothing refuses a change, and leave the triggers as they were."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg") if "postgresql" in url else url)
    on_postgresql = engine.dialect.name == "postgresql"
    with engine.begin() as connection:
        if on_postgresql:
            connection.execute(text("ALTER TABLE audit_events DISABLE TRIGGER USER"))
            connection.execute(text("ALTER TABLE audit_events DROP CONSTRAINT IF EXISTS uq_audit_events_previous_hash"))
            yield connection
            connection.execute(text("ALTER TABLE audit_events ENABLE TRIGGER USER"))
        else:
            words = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit_events'"
            triggers = connection.execute(text(words)).all()
            # A table without the constraint, as somebody would make who wants the same event followed twice.
            for words in ("CREATE TABLE loose AS SELECT * FROM audit_events", "DROP TABLE audit_events"):
                connection.exec_driver_sql(words)
            connection.exec_driver_sql("ALTER TABLE loose RENAME TO audit_events")
            yield connection
            for _, sql in triggers:
                connection.exec_driver_sql(sql)
    engine.dispose()


def rows(connection: Connection) -> dict[int, Row]:
    """Read all events by their number."""
    columns = {"id": Integer, "at": UtcDateTime, "account_id": Integer}
    query = text("SELECT previous_hash, id, at, account_id, action, subject, hash FROM audit_events").columns(**columns)
    return {row.id: Row(Link(*row[:6]), row.hash) for row in connection.execute(query)}


def remove(connection: Connection, first: int, last: int) -> None:
    connection.execute(text("DELETE FROM audit_events WHERE id BETWEEN :a AND :b"), {"a": first, "b": last})


def put(connection: Connection, link: Link, stored_hash: str, *, instead: bool = False) -> None:
    """Write an event as if the program had, or over the one of its number."""
    if instead:
        remove(connection, link.number, link.number)
    connection.execute(
        text("INSERT INTO audit_events (id, at, account_id, action, subject, previous_hash, hash) "
             "VALUES (:id, :at, :who, :action, :subject, :previous, :hash)"),
        {"id": link.number, "at": link.at.replace(tzinfo=None) if connection.dialect.name == "sqlite" else link.at,
         "who": link.account_id, "action": link.action, "subject": link.subject,
         "previous": link.previous_hash, "hash": stored_hash},
    )  # fmt: skip


Chance = random.Random
Touched = tuple[int, ...]  # every one of these numbers has to be named by a finding


def edited(link: Link, chance: Chance) -> Link:
    """Change one of the fields that a link has."""
    return chance.choice(
        [
            replace(link, at=link.at + timedelta(microseconds=1)),
            replace(link, account_id=None if link.account_id else 1),
            replace(link, action="first read saved"),
            replace(link, subject=link.subject + "0"),
        ]
    )


def edit(connection: Connection, chance: Chance) -> Touched:
    """Change a column of one event; its hashes stay."""
    number = chance.randint(1, EVENTS)
    row = rows(connection)[number]
    put(connection, edited(row.link, chance), row.hash, instead=True)
    return (number,)


def edit_a_hash(connection: Connection, chance: Chance) -> Touched:
    number = chance.randint(1, EVENTS)
    row, forged = rows(connection)[number], f"{chance.getrandbits(256):064x}"
    if chance.random() < 0.5:
        put(connection, row.link, forged, instead=True)
    else:
        put(connection, replace(row.link, previous_hash=forged), row.hash, instead=True)
    return (number,)


def edit_with_its_own_hash(connection: Connection, chance: Chance) -> Touched:
    number = chance.randint(1, EVENTS)
    link = edited(rows(connection)[number].link, chance)
    put(connection, link, link.hash, instead=True)
    return (number,)


def rewrite_the_rest(connection: Connection, chance: Chance) -> Touched:
    """Change an event and compute every hash from there on anew, as the program would."""
    number = chance.randint(1, EVENTS)
    known = rows(connection)
    link = edited(known[number].link, chance)
    put(connection, link, link.hash, instead=True)
    for later in range(number + 1, EVENTS + 1):
        link = replace(known[later].link, previous_hash=link.hash)
        put(connection, link, link.hash, instead=True)
    return (number,)


def delete(connection: Connection, chance: Chance) -> Touched:
    first = chance.randint(2, EVENTS - 1)
    last = min(first + chance.randrange(3), EVENTS - 1)
    remove(connection, first, last)
    return first, last


def cut_the_head(connection: Connection, chance: Chance) -> Touched:
    last = chance.randint(1, EVENTS - 1)
    remove(connection, 1, last)
    return 1, last


def cut_the_tail(connection: Connection, chance: Chance) -> Touched:
    first = chance.randint(1, EVENTS)
    remove(connection, first, EVENTS)
    return first, EVENTS


def delete_and_close_up(connection: Connection, chance: Chance) -> Touched:
    """Delete an event and move the later ones up, chained as the program would."""
    gone = chance.randint(1, EVENTS - 1)
    known = rows(connection)
    remove(connection, gone, EVENTS)
    previous = known[gone].link.previous_hash
    for later in range(gone + 1, EVENTS + 1):
        link = replace(known[later].link, number=later - 1, previous_hash=previous)
        put(connection, link, link.hash)
        previous = link.hash
    return gone, EVENTS


def swap(connection: Connection, chance: Chance) -> Touched:
    """Let two events change places, with their hashes or with hashes computed anew."""
    first, second = sorted(chance.sample(range(1, EVENTS + 1), 2))
    known = rows(connection)
    anew, with_previous = chance.random() < 0.5, chance.random() < 0.5
    remove(connection, first, first)
    remove(connection, second, second)
    for here, there in ((first, second), (second, first)):
        link = replace(known[there].link, number=here)
        if not with_previous:
            link = replace(link, previous_hash=known[here].link.previous_hash)
        put(connection, link, link.hash if anew else known[there].hash)
    return first, second


def insert_in_the_middle(connection: Connection, chance: Chance) -> Touched:
    """Add an event where one was, moving the later ones up by one, with or without their own hashes."""
    number = chance.randint(2, EVENTS)
    known, anew = rows(connection), chance.random() < 0.5
    remove(connection, number, EVENTS)
    forged = replace(edited(known[number].link, chance), previous_hash=known[number - 1].hash)
    put(connection, forged, forged.hash)
    for later in range(number, EVENTS + 1):
        link = replace(known[later].link, number=later + 1)
        put(connection, link, link.hash if anew else known[later].hash)
    return (number,)


def insert_at_the_end(connection: Connection, chance: Chance) -> Touched:
    """Add an event at the end exactly as the program would, except for the anchor."""
    last = rows(connection)[EVENTS]
    number = EVENTS + 1 + chance.choice([0, 0, 5])
    link = replace(edited(last.link, chance), number=number, previous_hash=last.hash)
    put(connection, link, link.hash if chance.random() < 0.7 else GENESIS)
    return (number,)


def insert_before_the_first(connection: Connection, chance: Chance) -> Touched:
    number = -chance.randrange(3)
    link = replace(rows(connection)[1].link, number=number, subject="forged", previous_hash=GENESIS)
    put(connection, link, link.hash)
    return (0,)


WAYS: tuple[Callable[[Connection, Chance], Touched], ...] = (
    *(edit, edit_a_hash, edit_with_its_own_hash, rewrite_the_rest, delete, cut_the_head, cut_the_tail),
    *(delete_and_close_up, swap, insert_in_the_middle, insert_at_the_end, insert_before_the_first),
)


def located(findings: Sequence[AuditFinding], touched: Touched) -> bool:
    """Say whether all that was touched is named, and nothing that was whole before the first of it.

    What only the anchor knows lies within a click, which adds up to three events.
    """
    named = [found for found in findings if found.kind not in ("unanchored", "unprotected")]
    everything = all(any(found.first <= number <= found.last for found in named) for number in touched)
    return everything and min(found.first for found in named) >= min(touched) - 2


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(TAMPERINGS // 20))
def test_tamperings_are_found_where_they_are(tmp_path: Path, round_: int) -> None:
    made = tmp_path / "made"
    url = f"sqlite:///{made / 'a.sqlite'}"
    filled(url, made).dispose()
    assert verify(open_as_it_is(url)).findings == ()
    missed = []
    for number in range(round_ * 20, round_ * 20 + 20):
        folder = tmp_path / str(number)
        shutil.copytree(made, folder)
        found, touched = tampered(f"sqlite:///{folder / 'a.sqlite'}", folder, number)
        if not located(found, touched):
            missed.append((WAYS[number % len(WAYS)].__name__, touched, [str(one) for one in found]))
    assert missed == []


@pytest.mark.parametrize("number", range(len(WAYS)), ids=lambda number: WAYS[number].__name__)
def test_every_way_of_tampering_is_found_on_both_databases(database_url: str, tmp_path: Path, number: int) -> None:
    filled(database_url, tmp_path).dispose()
    found, touched = tampered(database_url, tmp_path, number)
    assert located(found, touched), (touched, [str(one) for one in found])


def tampered(url: str, data: Path, number: int) -> tuple[Sequence[AuditFinding], Touched]:
    """Tamper in one of the ways and give what is found, and what was touched."""
    with behind_the_back(url) as connection:
        touched = WAYS[number % len(WAYS)](connection, random.Random(number))  # noqa: S311 (no secret)
    sessions = open_as_it_is(url, data=data)
    found = verify(sessions)
    sessions.dispose()
    assert not found.whole
    return found.findings, touched
