"""Commands for the audit trail: `python -m db audit verify|list`."""

import csv
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.files import harmless
from core.settings import Settings
from db import store
from db.audit.anchor import Heads
from db.audit.verify import verify as verify_trail
from db.database import Sessions, open_as_it_is
from db.errors import UnusableDatabaseError
from db.values.audit import EventFilter, Verified

audit = typer.Typer(no_args_is_help=True, help="Who did what to what, and whether anybody changed that record.")

_COLUMNS = ("event", "at", "account", "action", "subject")

_Database = Annotated[str | None, typer.Option(help="URL of the database; that of the settings if left out")]


@audit.command()
def verify(
    database: _Database = None,
    heads: Annotated[Path | None, typer.Option(help="an older copy of the file of heads, to compare with")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="everything as one JSON object on stdout")] = False,
) -> None:
    """Look for events and sealed rows that were changed, deleted, swapped, inserted or cut off; the server may go on.

    Exit status 0: nothing found; 1: something found; 2: it could not be looked at.
    """
    sessions = _open(database)
    if heads is not None and not heads.is_file():
        raise _stop(f"there is no file of heads at {heads}")
    found = verify_trail(sessions, copy=Heads(heads).lines() if heads else None)
    if as_json:
        print(json.dumps(asdict(found) | {"whole": found.whole}, indent=1))
    else:
        _report(found, heads or (sessions.heads.path if sessions.heads else None))
    raise typer.Exit(0 if found.whole else 1)


@audit.command(name="list")
def list_events(  # noqa: PLR0913 (each is an option of the command)
    database: _Database = None,
    account: Annotated[str | None, typer.Option(help="only of this account, by name")] = None,
    action: Annotated[str | None, typer.Option(help="only this action, in the words of the list")] = None,
    subject: Annotated[str | None, typer.Option(help="only of this subject, such as a case")] = None,
    since: Annotated[datetime | None, typer.Option(help="from this time on, UTC")] = None,
    until: Annotated[datetime | None, typer.Option(help="before this time, UTC")] = None,
    limit: Annotated[int, typer.Option(min=0, help="the newest so many; 0 for all")] = 50,
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV on stdout that a spreadsheet opens safely")] = False,
) -> None:
    """Show events, the newest first, times in UTC."""
    wanted = EventFilter(account, action, subject, _utc(since), _utc(until))
    with _open(database).read() as session:
        events = store.audit.audit_trail(session, limit=limit or None, wanted=wanted)
    table = csv.writer(sys.stdout, delimiter="," if as_csv else "\t", lineterminator="\n")
    if as_csv:
        table.writerow(_COLUMNS)
    for event in events:
        words = (event.account or "", event.action, event.subject)
        at = event.at.isoformat(sep=" ", timespec="seconds")
        table.writerow((event.number, at, *(harmless(_visible(word)) if as_csv else _visible(word) for word in words)))


def _open(database: str | None) -> Sessions:
    settings = Settings.from_environment()
    try:
        return open_as_it_is(database or settings.database, data=settings.data)
    except (UnusableDatabaseError, ValueError) as error:
        raise _stop(str(error)) from error


def _stop(words: str) -> typer.Exit:
    typer.echo(words, err=True)
    return typer.Exit(2)


def _report(found: Verified, heads: Path | None) -> None:
    anchor = f"anchored up to event {found.anchored} in {heads}" if heads else "not anchored outside the database"
    print(f"{found.events:,} events, {anchor}; they tell of {found.rows:,} rows")
    for finding in found.findings:
        print(f"FOUND {finding}")
    if found.whole:
        words = "as far as the chain, its anchor and the seals of rows tell"
        print(f"Nothing was changed, deleted, swapped, inserted or cut off, {words}.")


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time else None


def _visible(words: str) -> str:
    # A name that somebody tried to sign in with could steer the terminal.
    return words if words.isprintable() else ascii(words)
