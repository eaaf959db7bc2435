"""Drafts of unsaved forms, mirrored into the reader's browser tab so that they survive a server restart and a reload.

A draft holds only what the reader typed and chose, nothing of the model. It is deleted when the form is saved, when
another reader uses the tab, and when the tab is closed.
"""

from pathlib import Path
from secrets import token_hex

import streamlit as st

from pages.ui import resources
from pages.ui.reading.form_state import ReadForm

_SCRIPTS = Path(__file__).parents[1] / "viewer"
_NO_CONNECTION = (
    "No connection to the server. Your entries are kept in this tab and will be restored when you reload the page."
)

_mount = st.components.v2.component(
    "second_read_drafts",
    html=f'<p role="alert" hidden>{_NO_CONNECTION}</p>',
    css="""p {
  background: var(--st-background-color); border: 2px solid var(--st-text-color); border-radius: 6px; bottom: 16px;
  color: var(--st-text-color); font: 600 14px/1.4 var(--st-font); left: 50%; margin: 0; max-width: 90vw;
  padding: 8px 14px; position: fixed; transform: translateX(-50%); width: max-content; z-index: 1000000;
}
p[hidden] { display: none; }
""",
    js="\n".join((_SCRIPTS / name).read_text(encoding="utf-8") for name in ("kept.js", "drafts.js")),
)

_SAVED_KEY = "draft-saved"
_SERVER_SESSION = "server-session"


def keep(form: ReadForm) -> None:
    """Mirror a form into the browser tab; restore from the tab what a restarted server no longer knows."""
    key = form.container_key("draft")
    data = {"form": form.key, "typed": form.draft(), "restored": form.was_restored, "over": []}
    _mount(key=key, data=_add_owner(data), on_left_change=lambda: form.restore(st.session_state[key].get("left")))


def forget(form: ReadForm) -> None:
    """Delete the draft of a saved form from the browser tab."""
    data = {"form": "", "typed": {}, "restored": False, "over": [form.key]}
    _mount(key=_SAVED_KEY, data=_add_owner(data))


def name_server_session() -> str:
    """Return the name of this server session; after a reload or a restart it is a different one."""
    name: str = st.session_state.setdefault(_SERVER_SESSION, token_hex(8))
    return name


def _add_owner(data: dict[str, object]) -> dict[str, object]:
    return {"owner": resources.account().id, "session": name_server_session(), **data}
