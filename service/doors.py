"""What of the server is for whom, as far as the address of a request tells; the store looks again at every action."""

from starlette.datastructures import Headers
from starlette.types import Scope

from db.access_values import ALLOWED, Permission
from service.access import Visitor
from service.tabs import Tabs

# Doors that only some roles may use; the others are for everybody who is signed in.
_DOORS = (
    ("/_stcore/metrics", Permission.ADMINISTER),
    ("/_stcore/upload_file", Permission.READ_CASES),
    ("/images", Permission.READ_CASES),
)
# Streamlit's pages for programs would run them without a browser, and so without a sign-in.
_CLOSED = ("/_stcore/agent",)
# What a browser asks by itself while its reader is away.
_QUIET = ("/_stcore/health", "/_stcore/host-config", "/_stcore/metrics")

_UPLOAD = "/_stcore/upload_file/"


def reason_by_role(scope: Scope, visitor: Visitor, tabs: Tabs) -> str | None:
    """Say why a visitor may not use the door they knock at; None if they may."""
    path, role = scope["path"], visitor.account.role
    if any(_leads_to(path, door) for door in _CLOSED):
        return "Pages are for browsers: programs ask the routes that /openapi.json lists."
    if visitor.by == "token" and (scope["type"] == "websocket" or path.startswith("/_stcore/")):
        return "A token is for the routes that /openapi.json lists: for pages, sign in with a browser."
    for door, permission in _DOORS:
        if _leads_to(path, door) and permission not in ALLOWED[role]:
            return f"As {role} you may not {permission}: ask an administrator."
    if path.startswith(_UPLOAD):
        tab = path.removeprefix(_UPLOAD).partition("/")[0]
        if not tabs.belongs_to(tab, visitor.account.id):
            return "This upload belongs to a tab that is not yours: load the page again."
    if scope["type"] == "websocket" and tabs.is_of_another(_tab(scope), visitor.account.id):
        # What one reader typed must be neither shown to nor saved for the next one at the same computer.
        return "This tab was opened by somebody else: load the page again."
    return None


def is_quiet(scope: Scope) -> bool:
    """Say whether a request tells nothing of a reader who is there."""
    return scope["path"] in _QUIET


def _tab(scope: Scope) -> str:
    """Give the number of the tab that a websocket wants to go on in; Streamlit sends it as the third protocol.

    An unknown one, as after a restart of the server, makes Streamlit begin a new one.
    """
    protocols = Headers(scope=scope).get("sec-websocket-protocol", "").split(",")
    return protocols[2].strip() if len(protocols) > 2 else ""


def _leads_to(path: str, door: str) -> bool:
    return path == door or path.startswith(f"{door}/")
