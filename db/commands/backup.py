"""Commands for backups and checks: `python -m db backup FOLDER`, `check [FILE]`, `restore FILE`."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from core.settings import Settings
from db.backup.archive import Manifest
from db.backup.backup import BackupSource, make_backup
from db.backup.restore import CheckedBackup, check_backup, restore_backup
from db.database import open_as_it_is
from db.errors import BackupError, DatabaseBusyError, UnusableDatabaseError
from db.projection import write
from db.projection.check import find_differences

_MOST_DIFFERENCES = 100  # that are printed

_File = Annotated[Path, typer.Argument(help="the backup file", exists=True, dir_okay=False, resolve_path=True)]


def backup(
    folder: Annotated[Path, typer.Argument(help="folder for the backup", file_okay=False, resolve_path=True)],
    *,
    files_only: Annotated[bool, typer.Option(help="leave out the database; needed with PostgreSQL")] = False,
) -> None:
    """Back up the database, all stored files, checkpoints fitted to this site, and the anchor file.

    The server may keep running.

    Exit status 0: complete; 1: made, but some stored files were already missing or damaged; 2: not made.
    """
    settings = Settings.from_environment()
    with _refusals():
        source = BackupSource(settings.database, settings.data, settings.files, settings.fitted_checkpoints)
        made = make_backup(source, folder, files_only=files_only)
    print(f"{made.path}: {_contents(made.manifest)}")
    _finish([f"the stored file {name[:12]} is missing or damaged" for name in made.manifest.lacking])


def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="the backup file; without it, worklists and counts of agreement are checked",
            dir_okay=False,
            resolve_path=True,
        ),
    ] = None,
    *,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="rebuild worklists and counts of agreement from the cases and reads")
    ] = False,
) -> None:
    """Check a whole backup: every hash, and its database. Without FILE, check worklists and counts of agreement.

    These are kept in the database beside the cases and reads from which they follow; no read depends on them.

    Exit status 0: intact; 1: something is wrong, or was when the backup was made; 2: damaged, or could not check.
    """
    if file is None:
        _check_kept(rebuild=rebuild)
        return
    if rebuild:
        raise typer.BadParameter("--rebuild is for the database: leave out the file")
    if not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    with _refusals():
        checked = check_backup(file)
    _report(file, checked)


def _check_kept(*, rebuild: bool) -> None:
    settings = Settings.from_environment()
    with _refusals():
        sessions = open_as_it_is(settings.database, data=settings.data)
        if rebuild:
            with sessions.begin() as session:
                entries = write.rebuild(session)
            print(f"the worklists, with {entries:,} entries, and the counts of agreement were rebuilt")
            return
        with sessions.read() as session:
            differences = list(islice(find_differences(session), _MOST_DIFFERENCES))
    for words in differences:
        print(f"FOUND {words}")
    if differences:
        typer.echo(
            "The worklists or the counts of agreement differ from the cases and reads: python -m db check --rebuild",
            err=True,
        )
        raise typer.Exit(1)
    print("The worklists and the counts of agreement match the cases and reads.")


def restore(
    file: _File,
    data: Annotated[Path | None, typer.Option(help="the data folder; default: from the settings")] = None,
    *,
    replace: Annotated[
        bool, typer.Option(help="replace a folder that is not empty; the old one is kept beside it")
    ] = False,
) -> None:
    """Restore a data folder from a backup; stop the server first. Exit status as for check."""
    settings = Settings.from_environment()
    folder = (data or settings.data).resolve()
    with _refusals():
        used = settings.database if folder == settings.data else None
        restored = restore_backup(file, folder, replace=replace, database=used)
    if restored.kept:
        print(f"the previous data folder is now {restored.kept}")
    print(f"restored into {restored.data}")
    if not restored.checked.manifest.has_database:
        print(
            "this backup does not contain the database: restore it with pg_restore from the dump made before the backup"
        )
    _report(file, restored.checked)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except (BackupError, UnusableDatabaseError, DatabaseBusyError, ValueError, OSError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _report(file: Path, checked: CheckedBackup) -> None:
    print(f"{file.name} is intact: {_contents(checked.manifest)}, made {checked.manifest.made_at}")
    _finish(list(checked.problems))


def _contents(manifest: Manifest) -> str:
    size = sum(member.size for member in manifest.members) / 1e6
    database = "the database and " if manifest.has_database else "no database, "
    fitted = f", {manifest.checkpoints} fitted checkpoints" if manifest.checkpoints else ""
    return f"{database}{manifest.files:,} stored files{fitted}, {size:,.1f} MB"


def _finish(problems: list[str]) -> None:
    for problem in problems:
        typer.echo(f"already wrong when the backup was made: {problem}", err=True)
    raise typer.Exit(1 if problems else 0)
