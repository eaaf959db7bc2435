"""The application: pages and routes behind one gate; start it with `streamlit run streamlit_app.py`."""

import inspect
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
import uvicorn
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from streamlit.runtime import get_instance

from core.settings import Settings
from pages.ui.busy import show_busy
from pages.ui.incoming import CheckedMessages
from pages.ui.media import record_media_owners
from pages.ui.openid_settings import configured_providers
from pages.ui.viewer import VENDOR
from service.access.gate import Gate
from service.access.prefix import PagesUnderPrefix, prefix_of
from service.api.interface import add_interface
from service.installation import Installation
from service.routes import answer_our_errors, router

# Seconds that a stopping server gives its open connections.
_LAST_ANSWERS_SECONDS = 5
_PREFIX = prefix_of(st.get_option("server.baseUrlPath"))

_pages = st.App("pages/frame.py", on_script_error=show_busy)
_run_pages = _pages.lifespan()


@asynccontextmanager
async def _run(app: FastAPI) -> AsyncIterator[None]:
    """Open the database, run the worker and serve the pages until the server stops."""
    _limit_shutdown()
    installation = Installation.open(Settings.from_environment(), providers=configured_providers())
    app.state.installation = installation
    app.state.assets = VENDOR
    record_media_owners(get_instance(), installation.media)
    try:
        installation.serve()
        async with _run_pages(app):
            yield
    finally:
        await run_in_threadpool(installation.close)


def _limit_shutdown() -> None:
    """Let the server stop even if a browser keeps a connection open; uvicorn would wait for it without end.

    Streamlit makes the server and has no option for this. The server is the object whose method handles SIGTERM.
    """
    handler = signal.getsignal(signal.SIGTERM)
    server = handler.__self__ if inspect.ismethod(handler) else None
    if isinstance(server, uvicorn.Server):
        server.config.timeout_graceful_shutdown = _LAST_ANSWERS_SECONDS


# FastAPI's /docs would load scripts from the internet.
app = FastAPI(title="Second Read", lifespan=_run, docs_url=None, redoc_url=None)
answer_our_errors(app)
app.include_router(router)
add_interface(app)
app.mount("/", PagesUnderPrefix(CheckedMessages(_pages), _PREFIX))
# Added last, so that it runs before everything above.
app.add_middleware(Gate, installation=lambda: getattr(app.state, "installation", None), prefix=_PREFIX)
