"""The application: pages and routes behind one gate; start it with `streamlit run streamlit_app.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from core.settings import Settings
from pages.ui.busy import show_busy
from pages.ui.openid_settings import configured_providers
from pages.ui.viewer import VENDOR
from service.access.gate import Gate
from service.installation import Installation
from service.routes import answer_our_errors, router

_pages = st.App("pages/frame.py", on_script_error=show_busy)
_run_pages = _pages.lifespan()


@asynccontextmanager
async def _run(app: FastAPI) -> AsyncIterator[None]:
    """Open the database, run the worker and serve the pages until the server stops."""
    installation = Installation.open(Settings.from_environment(), providers=configured_providers())
    app.state.installation = installation
    app.state.assets = VENDOR
    try:
        installation.serve()
        async with _run_pages(app):
            yield
    finally:
        await run_in_threadpool(installation.close)


# FastAPI's /docs would load scripts from the internet; /openapi.json describes the routes without it.
app = FastAPI(title="Second Read", lifespan=_run, docs_url=None, redoc_url=None)
answer_our_errors(app)
app.include_router(router)
app.mount("/", _pages)
# Added last, so that it runs before everything above.
app.add_middleware(Gate, installation=lambda: getattr(app.state, "installation", None))
