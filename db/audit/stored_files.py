"""Which stored files the rows refer to, and whether each is there and unchanged."""

from collections.abc import Callable, Collection, Iterator, Mapping

from sqlalchemy import Connection, inspect, text

from db.files import DamagedFileError, Files
from db.values.audit import AuditFinding, Kind

# Every column that refers to a stored file, and the key of its row.
FILE_COLUMNS = (
    ("images", "id", "file_sha256"),
    ("predictions", "id", "heatmap_sha256"),
    ("image_scopes", "id", "map_sha256"),
    ("evaluated_images", "evaluation_id", "preview_sha256"),
    ("evaluated_images", "evaluation_id", "heatmap_sha256"),
)
_FILES_PER_REPORT = 20  # files checked between two reports of progress


def referenced_files(connection: Connection, without: Collection[str] = ()) -> dict[str, str]:
    """Return the sha256 of every stored file that a row refers to, with one such row; `without` some tables.

    A database that was not upgraded yet, such as an older backup, lacks some of the columns.
    """
    return {
        sha256: f"{table} {number}"
        for table, key, column in FILE_COLUMNS
        if table not in without and _has_column(connection, table, column)
        for sha256, number in connection.execute(text(_first_rows(table, key, column)))
    }


def _has_column(connection: Connection, table: str, column: str) -> bool:
    known = inspect(connection)
    return known.has_table(table) and column in {one["name"] for one in known.get_columns(table)}


def _first_rows(table: str, key: str, column: str) -> str:
    return f"SELECT {column}, min({key}) FROM {table} WHERE {column} IS NOT NULL GROUP BY {column}"  # noqa: S608


def check_files(files: Files, referenced: Mapping[str, str], progress: Callable[[int], None]) -> Iterator[AuditFinding]:
    """Read every referenced file and report those that are missing, unreadable or changed.

    Not while a session is open: reading all images takes long, and SQLite's writers wait for readers.
    """
    for number, (sha256, row) in enumerate(sorted(referenced.items()), 1):
        try:
            files.get(sha256)
        except (DamagedFileError, ValueError) as error:
            kind: Kind = "missing" if isinstance(error.__cause__, FileNotFoundError) else "changed"
            yield AuditFinding(kind, 0, 0, f"{error} ({row} refers to it)", f"file {sha256[:12]}")
        if number % _FILES_PER_REPORT == 0:
            progress(number)
