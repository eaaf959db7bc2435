"""Commands for the audit trail: `python -m db audit verify|list`."""

import csv
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.command_line import refuse_in_words, show_example
from core.files import escape_formula, write_whole
from core.list_on_disk import ListOnDisk
from core.settings import Settings
from db import store
from db.audit.anchor import AnchorFile
from db.audit.verify import verify as verify_trail
from db.database import Sessions, open_as_it_is
from db.errors import DatabaseBusyError, UnusableDatabaseError
from db.files import Files
from db.values.audit import EVENT_COLUMNS, AuditEvent, EventFilter, Verification

_EXAMPLE = show_example("python -m db audit verify --json")

audit = typer.Typer(epilog=_EXAMPLE, no_args_is_help=True, help="Show the audit trail, and check it for tampering.")

_Database = Annotated[str | None, typer.Option(help="URL of the database; default: from the settings")]


@audit.command(epilog=_EXAMPLE)
@refuse_in_words(DatabaseBusyError, OSError)
def verify(
    database: _Database = None,
    heads: Annotated[
        Path | None, typer.Option(help="an older copy of the anchor file (.audit_heads) to compare with")
    ] = None,
    *,
    without_files: Annotated[
        bool, typer.Option("--without-files", help="leave out the stored files, which takes less time")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the result as one JSON object")] = False,
) -> None:
    """Check for events, sealed rows and stored files that were changed, deleted, swapped, inserted or cut off.

    The server may keep running. Exit status 0: no tampering found; 1: tampering found; 2: could not check.
    """
    sessions = _open(database)
    if heads is not None and not heads.is_file():
        raise _stop(f"there is no anchor file at {heads}")
    files = None if without_files else Files(Settings.from_environment().files)
    result = verify_trail(sessions, copy=AnchorFile(heads).lines() if heads else None, files=files)
    if as_json:
        print(json.dumps(asdict(result) | {"whole": result.whole}, indent=1))
    else:
        _report(result, heads or (sessions.anchor.path if sessions.anchor else None))
    raise typer.Exit(0 if result.whole else 1)


@audit.command(name="list", epilog=show_example("python -m db audit list --since 2026-01-01 --csv"))
@refuse_in_words(DatabaseBusyError, OSError)
def list_events(  # noqa: PLR0913 (each is an option of the command)
    database: _Database = None,
    account: Annotated[str | None, typer.Option(help="only events of this account, by name")] = None,
    action: Annotated[str | None, typer.Option(help="only this action, spelled as in the list")] = None,
    subject: Annotated[str | None, typer.Option(help="only this subject, such as a case")] = None,
    since: Annotated[datetime | None, typer.Option(help="at or after this time, UTC")] = None,
    until: Annotated[datetime | None, typer.Option(help="before this time, UTC")] = None,
    limit: Annotated[int, typer.Option(min=0, help="how many of the newest events to show; 0 for all")] = 50,
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="print CSV that is safe to open in a spreadsheet")] = False,
    xlsx: Annotated[
        Path | None,
        typer.Option(help="write a workbook, which explains its columns, and print nothing", dir_okay=False),
    ] = None,
) -> None:
    """List events, newest first, with times in UTC."""
    if as_csv and xlsx is not None:
        raise typer.BadParameter("choose --csv or --xlsx", param_hint="--xlsx")
    filters = EventFilter(account, action, subject, _utc(since), _utc(until))
    with _open(database).read() as session:
        rows = (_to_row(event) for event in store.audit.each_event(session, filters, limit or None))
        if xlsx is None:
            _print_events(rows, as_csv=as_csv)
            return
        kept = ListOnDisk(rows)
    _write_workbook(xlsx, kept)


def _print_events(rows: Iterable[tuple[object, ...]], *, as_csv: bool) -> None:
    if as_csv:
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(name for name, _ in EVENT_COLUMNS)
        table.writerows([escape_formula(cell) for cell in row] for row in rows)
    else:
        csv.writer(sys.stdout, delimiter="\t", lineterminator="\n").writerows(rows)


def _write_workbook(file: Path, rows: Iterable[tuple[object, ...]]) -> None:
    # Importing takes a quarter of a second, which no other command needs.
    from core.workbook import write_workbook  # noqa: PLC0415

    write_whole(file, write_workbook(EVENT_COLUMNS, rows))


def _to_row(event: AuditEvent) -> tuple[object, ...]:
    words = (event.account or "", event.action, event.subject)
    return (event.number, event.at.isoformat(sep=" ", timespec="seconds"), *(_visible(word) for word in words))


def _open(database: str | None) -> Sessions:
    settings = Settings.from_environment()
    try:
        return open_as_it_is(database or settings.database, data=settings.data)
    except (UnusableDatabaseError, ValueError) as error:
        raise _stop(str(error)) from error


def _stop(words: str) -> typer.Exit:
    typer.echo(words, err=True)
    return typer.Exit(2)


def _report(result: Verification, anchor_file: Path | None) -> None:
    where = f"confirmed up to event {result.anchored} in {anchor_file}" if anchor_file else "no anchor file"
    print(f"{result.events:,} events, {where}; {result.rows:,} sealed rows, {result.files:,} stored files")
    for finding in result.findings:
        print(f"FOUND {finding}")
    if result.whole:
        evidence = "hash chain, anchor file and row seals" if anchor_file else "hash chain and row seals"
        print(f"No tampering found: {evidence} agree{', and so do the stored files' if result.files else ''}.")


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time else None


def _visible(words: str) -> str:
    # A name typed at sign-in could contain control characters for the terminal.
    return words if words.isprintable() else ascii(words)
