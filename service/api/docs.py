"""The page /docs, which describes the routes and tries them: everything it needs comes from this server."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import fastapi_offline
from fastapi import APIRouter
from fastapi import Path as PathParameter
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from service.access.policy import policy_with

_FILES = Path(fastapi_offline.__file__).parent / "static"
_ONE_DAY = {"Cache-Control": "private, max-age=86400", "X-Content-Type-Options": "nosniff"}
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)

router = APIRouter(include_in_schema=False)


@router.get("/docs")
def show_docs() -> HTMLResponse:
    """Return the page; its addresses are relative, so that they keep a prefix."""
    page, policy = _page()
    return HTMLResponse(page, headers={"Content-Security-Policy": policy, "Cache-Control": "no-store"})


@router.get("/docs/{name}")
def docs_file(
    name: Annotated[Literal["swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"], PathParameter()],
) -> FileResponse:
    """Return one file of the page."""
    return FileResponse(_FILES / name, headers=_ONE_DAY)


@cache
def _page() -> tuple[str, str]:
    """Return the page and its content security policy, which lets no other script run."""
    response = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Second Read: routes for programs",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon.png",
        # Otherwise a badge is fetched from a validator on the internet.
        swagger_ui_parameters={"validatorUrl": None},
    )
    page = bytes(response.body).decode()
    (script,) = _SCRIPT.findall(page)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page, policy_with(f"'sha256-{digest}'")
