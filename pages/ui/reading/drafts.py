"""What is typed and not saved yet, mirrored into the reader's browser tab: it outlives a lost server and a reload.

Only what the reader typed and chose is kept there, never a word of the model; it goes when the form is saved, when
another reader uses the tab, and when the tab is closed.
"""

from pathlib import Path
from secrets import token_hex

import streamlit as st

from pages.ui import resources
from pages.ui.reading.read_form import ReadForm

_HERE = Path(__file__).parents[1] / "viewer"

_mount = st.components.v2.component(
    "second_read_drafts",
    html='<p role="alert" hidden>No connection to the server. What you typed is kept in this tab and comes back '
    "when the page is loaded again.</p>",
    css="""p {
  background: var(--st-background-color); border: 2px solid var(--st-text-color); border-radius: 6px; bottom: 16px;
  color: var(--st-text-color); font: 600 14px/1.4 var(--st-font); left: 50%; margin: 0; max-width: 90vw;
  padding: 8px 14px; position: fixed; transform: translateX(-50%); width: max-content; z-index: 1000000;
}
p[hidden] { display: none; }
""",
    js="\n".join((_HERE / name).read_text(encoding="utf-8") for name in ("kept.js", "drafts.js")),
)

_SAVED_KEY = "draft-saved"
_SERVER_SESSION = "server-session"


def keep(form: ReadForm) -> None:
    """Mirror what stands in a form; what this tab still knows of it after the server forgot it is put back."""
    key = form.container_key("draft")
    data = {"form": form.key, "typed": form.draft(), "restored": form.was_restored, "over": []}
    _mount(key=key, data=_with_names(data), on_left_change=lambda: form.restore(st.session_state[key].get("left")))


def forget(form: ReadForm) -> None:
    """Let the tab forget what was typed in a form that is saved."""
    data = {"form": "", "typed": {}, "restored": False, "over": [form.key]}
    _mount(key=_SAVED_KEY, data=_with_names(data))


def name_server_session() -> str:
    """Name this run of the server for this tab: after a reload or a restart it is another."""
    name: str = st.session_state.setdefault(_SERVER_SESSION, token_hex(8))
    return name


def _with_names(data: dict[str, object]) -> dict[str, object]:
    return {"owner": resources.account().id, "session": name_server_session(), **data}
