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
_PROTOCOL = b"sec-websocket-protocol"


def reason_by_role(scope: Scope, visitor: Visitor) -> str | None:
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
        if not Tabs.known.belongs_to(tab, visitor.account.id):
            return "This upload belongs to a tab that is not yours: load the page again."
    return None


def own_tab_only(scope: Scope, account_id: int) -> Scope:
    """Take the number of somebody else's tab out of a websocket's request, so that it begins a new one.

    Streamlit sends it as the third protocol, and would go on with whatever stood in that tab.
    """
    if scope["type"] != "websocket":
        return scope
    protocols = [part.strip() for part in Headers(scope=scope).get("sec-websocket-protocol", "").split(",")]
    tab = protocols[2] if len(protocols) > 2 else ""
    if not tab or Tabs.known.belongs_to(tab, account_id):
        return scope
    kept = [(name, value) for name, value in scope["headers"] if name != _PROTOCOL]
    headers = [*kept, (_PROTOCOL, ", ".join(protocols[:2]).encode("latin-1"))]
    return {**scope, "headers": headers, "subprotocols": protocols[:1]}


def is_quiet(scope: Scope) -> bool:
    """Say whether a request tells nothing of a reader who is there."""
    return scope["path"] in _QUIET


def _leads_to(path: str, door: str) -> bool:
    return path == door or path.startswith(f"{door}/")
