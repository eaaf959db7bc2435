"""The results of a cohort on disk: parts that are written whole while it runs, and one table at its end."""

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa

from core.cohort.listing import CohortFile
from core.cohort.rows import build_table, encode_table, file_state, read_rows
from core.files import write_whole

PART_ROWS = 64
_PART_SECONDS = 60.0  # a part is written earlier if its images take longer
_PART = "part-*.parquet"


class CohortInUseError(Exception):
    """Another process is scoring into the same table."""


@dataclass(frozen=True, slots=True)
class CohortResults:
    """The table of a cohort and, until it is whole, its parts beside it.

    `made_with` names the model and the settings: rows made with others are not taken over.
    """

    out: Path
    made_with: str

    @property
    def folder(self) -> Path:
        """Where the parts are."""
        return self.out.with_name(self.out.name + ".parts")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from the same table; the system lets go of it when this one is killed.

        Raises:
            CohortInUseError: If another one has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CohortInUseError(f"another process is scoring into {self.out}; wait until it ends") from error
            yield

    def store(self, scored: Iterable[pa.Table]) -> Generator[int]:
        """Write what is scored in parts, each whole or not at all, and yield how many rows came.

        What was scored is kept if it is stopped; a kill costs the rows of one part.
        """
        waiting: list[pa.Table] = []
        written = time.monotonic()
        try:
            for rows in scored:
                waiting.append(rows)
                if sum(map(len, waiting)) >= PART_ROWS or time.monotonic() - written > _PART_SECONDS:
                    self._write(waiting)
                    waiting, written = [], time.monotonic()
                yield len(rows)
        finally:
            if waiting:
                self._write(waiting)

    def _write(self, rows: Sequence[pa.Table]) -> None:
        write_whole(self.folder / f"part-{uuid.uuid4().hex}.parquet", encode_table(pa.concat_tables(rows)))

    def find_missing(self, files: Sequence[CohortFile]) -> list[CohortFile]:
        """Return the images without a row; a file that was not found, or has changed since, is without one."""
        table = self._known()
        known = set(map(_Key, *(table.column(field.name).to_pylist() for field in fields(_Key))))
        return [file for file in files if (key := _Key.of(file)).file_bytes is None or key not in known]

    def finish(self, files: Sequence[CohortFile]) -> pa.Table:
        """Write the table with one row per image, in their order, remove the parts, and return it."""
        known = self._known()
        newest = {name: place for place, name in enumerate(known.column("path").to_pylist())}
        table = known.take([newest[file.name] for file in files])
        write_whole(self.out, encode_table(table))
        shutil.rmtree(self.folder, ignore_errors=True)
        return table

    def _known(self) -> pa.Table:
        """Return all rows, the oldest first."""
        paths = sorted(self.folder.glob(_PART), key=os.path.getmtime)
        found = [read_rows(path, self.made_with) for path in ([self.out] if self.out.exists() else []) + paths]
        return pa.concat_tables([build_table([], self.made_with), *(table for table in found if table is not None)])


@dataclass(frozen=True, slots=True)
class _Key:
    """What a row depends on, beside the model: the image, what the list says of it, and the state of its file."""

    path: str
    label: str | None
    stated_um_per_px: float | None
    file_bytes: int | None
    file_modified_ns: int | None

    @classmethod
    def of(cls, file: CohortFile) -> "_Key":
        return cls(file.name, file.label, file.scale.um_per_px if file.scale else None, *file_state(file.path))
