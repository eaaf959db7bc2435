"""Keeps the row of a run in the database: running, then finished or failed."""

import json

from core.fit_config import FitConfig
from db import store
from db.evaluation_values import RunState
from db.session import open_database
from training.run_folder import RunFolder


class RunEntry:
    """The row of a run; a run that is resumed in its folder keeps it."""

    def __init__(self, database: str, folder: RunFolder, config: FitConfig) -> None:
        self._sessions = open_database(database)
        with self._sessions.begin() as session:
            self._id = store.start_run(session, config.name, str(folder.path), json.dumps(config.flat()))

    def finish(self, history: str, checkpoint_sha256: str) -> None:
        """Say that the run has made its checkpoint."""
        self._end(RunState.FINISHED, history, checkpoint_sha256)

    def fail(self, history: str) -> None:
        """Say that the run ended without a checkpoint; it can be resumed all the same."""
        self._end(RunState.FAILED, history, None)

    def _end(self, state: RunState, history: str, checkpoint_sha256: str | None) -> None:
        with self._sessions.begin() as session:
            store.finish_run(session, self._id, state, history, checkpoint_sha256)
        self._sessions.dispose()
