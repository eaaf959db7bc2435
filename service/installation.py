"""The installation: everything one server works with, created once and shared by its pages, routes and gate."""

import threading
from dataclasses import dataclass
from functools import cached_property

from core.answer_cache import AnswerCache
from core.settings import Settings
from db import store
from db.database import Sessions, open_database
from db.files import Files, FolderInUse
from db.values.accounts import Account
from service.access.browser_tabs import BrowserTabs
from service.access.media_owners import MediaOwners
from service.access.providers import Providers
from service.access.sessions import Access, lifetime_of
from service.batches import Batches
from service.engine.client import EngineClient
from service.engine.requests import Analyser
from service.similar_cases import SimilarCaseFinder
from service.worker.supervisor import Supervisor

_OPEN_TABS = "open_tabs"  # file in the data folder

# Streamlit runs a page in its own thread and passes it neither the request nor the state of the ASGI application, so
# pages can find the installation only through their process. A process serves at most one, because Streamlit allows
# one application per process. All other code receives its installation as an argument.
_served: "list[Installation]" = []
_served_lock = threading.Lock()


@dataclass(frozen=True, eq=False)  # compared by identity
class Installation:
    """Settings, database, files, worker, batches, browser tabs with their media, access and search of one server."""

    settings: Settings
    sessions: Sessions
    files: Files
    supervisor: Supervisor
    batches: Batches
    tabs: BrowserTabs
    media: MediaOwners
    access: Access
    in_use: FolderInUse
    analyser: Analyser  # of the images of requests; those that are stored are jobs
    similar: SimilarCaseFinder

    @classmethod
    def open(cls, settings: Settings, *, providers: Providers | None = None) -> "Installation":
        """Open the database and the files; the worker starts and pages can find the installation only in `serve`.

        Raises:
            UnusableDatabaseError: If the database is newer than this program, not a Second Read database, or being
                restored.
        """
        settings.data.mkdir(parents=True, exist_ok=True)
        in_use = FolderInUse(settings.data)
        try:
            sessions = open_database(settings.database, data=settings.data)
        except BaseException:
            in_use.release()
            raise
        access = Access(sessions, lifetime_of(settings), behind_proxy=settings.behind_proxy, providers=providers)
        files, supervisor, tabs = Files(settings.files), Supervisor(settings, sessions), BrowserTabs()
        batches, media = Batches(sessions, files), MediaOwners(tabs)
        analyser = EngineClient(sessions, supervisor.requests, AnswerCache(settings.cache_mb * 1_000_000))
        similar = SimilarCaseFinder(sessions)
        return cls(settings, sessions, files, supervisor, batches, tabs, media, access, in_use, analyser, similar)

    def serve(self) -> None:
        """Start the worker, remember browser tabs across restarts, and let the pages of this process find this object.

        Raises:
            RuntimeError: If this process already serves an installation.
        """
        with _served_lock:
            if _served:
                raise RuntimeError(f"this process already serves the installation in {_served[0].settings.data}")
            _served.append(self)
        self.tabs.keep_in(self.settings.data / _OPEN_TABS)
        self.supervisor.start()

    def close(self) -> None:
        """Stop the batches and the worker, which may take seconds, then close the database; also if never served."""
        self.batches.close()
        # The worker first, so that a page that is still running keeps its database in the meantime.
        self.supervisor.stop()
        with _served_lock:
            if self in _served:
                _served.remove(self)
        self.sessions.dispose()
        self.in_use.release()

    @cached_property
    def single_reader(self) -> Account:
        """The account under which everyone at this computer works while there are no accounts."""
        with self.sessions.begin() as session:
            return store.accounts.single_reader(session)


def find_served() -> Installation | None:
    """Return the installation that this process serves; None in commands, in the worker and in tests of pages."""
    with _served_lock:
        return _served[0] if _served else None
