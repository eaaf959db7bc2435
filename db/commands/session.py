"""The database of a command that changes something."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from sqlalchemy.orm import Session

from core.settings import Settings
from db.database import open_database
from db.errors import DatabaseBusyError, UnknownCaseError, UnusableDatabaseError


@contextmanager
def writing_session() -> Iterator[Session]:
    """Open a session that may write; print an error in one line."""
    settings = Settings.from_environment()
    try:
        settings.data.mkdir(parents=True, exist_ok=True)
        sessions = open_database(settings.database, data=settings.data)
        try:
            with sessions.begin() as session:
                yield session
        finally:
            sessions.dispose()
    except BrokenPipeError:
        raise
    except (ValueError, OSError, UnknownCaseError, UnusableDatabaseError, DatabaseBusyError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
