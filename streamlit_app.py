"""The front door: pages and routes behind one gate, run by `streamlit run streamlit_app.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from core.settings import Settings
from db.files import Files
from db.session import open_database
from pages.ui.identity_providers import configured_providers
from pages.ui.viewer import VENDOR
from service.access import Access, lifetime_of
from service.gate import Gate
from service.routes import Desk, answer_our_errors, router
from service.tabs import Tabs
from service.watcher import Watcher

_pages = st.App("pages/frame.py")
_run_pages = _pages.lifespan()


@asynccontextmanager
async def _run(app: FastAPI) -> AsyncIterator[None]:
    """Open the database, keep a worker running and serve the pages, as long as the server runs."""
    settings = Settings.from_environment()
    settings.data.mkdir(parents=True, exist_ok=True)
    sessions = open_database(settings.database, data=settings.data)
    app.state.access = Access(
        sessions, lifetime_of(settings), behind_proxy=settings.behind_proxy, providers=configured_providers()
    )
    Tabs.known.keep_in(settings.data / "open_tabs")
    watcher = Watcher(settings, sessions)
    app.state.assets = VENDOR
    app.state.desk = Desk(sessions, Files(settings.files), watcher)
    watcher.start()
    try:
        async with _run_pages(app):
            yield
    finally:
        await run_in_threadpool(watcher.stop)


# FastAPI's /docs would fetch its scripts from the internet; /openapi.json describes the routes without it.
app = FastAPI(title="Second Read", lifespan=_run, docs_url=None, redoc_url=None)
answer_our_errors(app)
app.include_router(router)
app.mount("/", _pages)
# Added last, so it stands in front of everything above.
app.add_middleware(Gate, access=lambda: getattr(app.state, "access", None))
