"""What is typed and not saved yet, mirrored into the reader's browser tab: it outlives a lost server and a reload.

Only what the reader typed and chose is kept there, never a word of the model; it goes when the form is saved, when
another reader uses the tab, and when the tab is closed.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from secrets import token_hex

import streamlit as st

from core.labels import BREAKHIS
from db.reading_values import REASONS
from db.values import Vote
from pages.ui import opinion, resources

_HERE = Path(__file__).parent / "viewer"

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

_FIELDS = ("choice", "confidence", "note", "reason", "vote")


def keep(form: str) -> None:
    """Mirror what stands in a form; what this tab still knows of it after the server forgot it is put back."""
    _draw(form, _typed(form), over=())


def forget(form: str) -> None:
    """Let the tab forget what was typed in a form that is saved."""
    _draw("", {}, over=(form,))


def server_session() -> str:
    """Name this run of the server for this tab: after a reload or a restart it is another."""
    name: str = st.session_state.setdefault("server-session", token_hex(8))
    return name


def _draw(form: str, typed: Mapping[str, str | int], over: tuple[str, ...]) -> None:
    key = f"draft-{form or 'saved'}"
    data = {
        "owner": resources.account().id,
        "form": form,
        "session": server_session(),
        "typed": dict(typed),
        "restored": bool(st.session_state.get(f"{form}-restored")),
        "over": list(over),
    }
    _mount(key=key, data=data, on_left_change=partial(_put_back, form, key))


def _typed(form: str) -> dict[str, str | int]:
    label = opinion.chosen_label(form)
    fields = {name: f"{form}-{name}" for name in _FIELDS} | {"subtype": f"{form}-subtype-{label}"}
    return {name: value for name, key in fields.items() if (value := st.session_state.get(key))}


def _put_back(form: str, key: str) -> None:
    left: object = st.session_state[key].get("left")
    st.session_state[f"{form}-restored"] = True
    if not isinstance(left, Mapping):
        return
    allowed: dict[str, tuple[object, ...]] = {
        "choice": tuple("BMXAD"),
        "confidence": tuple(opinion.CONFIDENCES),
        "reason": tuple(code for code, _ in REASONS),
        "vote": tuple(vote.value for vote in Vote),
    }
    for name, values in allowed.items():
        if left.get(name) in values:
            st.session_state[f"{form}-{name}"] = left[name]
    if isinstance(left.get("note"), str):
        st.session_state[f"{form}-note"] = left["note"][: opinion.NOTE_LIMIT]
    if left.get("subtype") in BREAKHIS.classes:
        st.session_state[f"{form}-subtype-{BREAKHIS.malignancy(left['subtype'])}"] = left["subtype"]
