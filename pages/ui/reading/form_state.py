"""The state of one form in a reader's session: its entries, marks, time in use, and the outcome of saving.

Nothing is drawn here. The keys are a contract: the browser finds fields by them and stores drafts under them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

import streamlit as st

from core import clock
from core.labels import BREAKHIS, Malignancy
from db.values.adjudication import Severity
from db.values.reading import REASONS, Opinion, Region, Vote
from pages.ui import times

LABELS: dict[str, Malignancy | None] = {"B": "benign", "M": "malignant", "X": None}
"""The labels a reader can choose, by their key; after the reveal, A keeps the label and D changes it."""
CONFIDENCES = {1: "a guess", 2: "unsure", 3: "fairly sure", 4: "sure", 5: "certain"}
NOTE_LIMIT = 2_000  # characters

Answer = Literal["choice", "confidence", "vote", "severity"]
"""The fields that are answered with one of several buttons."""

_Value = TypeVar("_Value")
_DRAFT_FIELDS = ("choice", "confidence", "note", "reason", "vote")  # and the subtype
_ALLOWED: dict[str, tuple[object, ...]] = {
    "choice": (*LABELS, "A", "D"),
    "confidence": tuple(CONFIDENCES),
    "reason": tuple(code for code, _ in REASONS),
    "vote": tuple(vote.value for vote in Vote),
}


@dataclass(frozen=True, slots=True)
class ReadForm:
    """A form of this session by its key; two forms with the same key are the same form."""

    key: str

    # Which form it is.

    @classmethod
    def first(cls, reading: str) -> "ReadForm":
        """Return the form of a first opinion; `reading` is the key of the reading mode."""
        return cls(f"first-{reading}")

    @classmethod
    def final(cls, reading: str) -> "ReadForm":
        """Return the form of a final opinion; `reading` is the key of the reading mode."""
        return cls(f"final-{reading}")

    @classmethod
    def amendment(cls, case_id: int, read_id: int) -> "ReadForm":
        """Return the form that amends a saved final opinion."""
        return cls(f"amend-{case_id}-{read_id}")

    @classmethod
    def consensus(cls, case_id: int, consensus_id: int) -> "ReadForm":
        """Return the form of a consensus; `consensus_id` is that of the consensus before, or 0."""
        return cls(f"consensus-{case_id}-{consensus_id}")

    @classmethod
    def shown_consensuses(cls, case_id: int) -> list["ReadForm"]:
        """List the consensus forms of a case that were shown in this session."""
        shown = [str(name).removesuffix("-typed") for name in st.session_state if str(name).endswith("-typed")]
        return [cls(key) for key in shown if key.startswith(f"consensus-{case_id}-")]

    @classmethod
    def sign_off(cls, case_id: int) -> "ReadForm":
        """Return the form that signs a case off."""
        return cls(f"sign-{case_id}")

    @classmethod
    def signed_amendment(cls, case_id: int) -> "ReadForm":
        """Return the form that amends a sign-off: a new and empty one after each amendment."""
        return cls(f"amend-signed-{case_id}-{st.session_state.get(f'amended-{case_id}', 0)}")

    @staticmethod
    def count_signed_amendment(case_id: int) -> None:
        """Count an amendment that was saved, so that the next one begins with empty fields."""
        st.session_state[f"amended-{case_id}"] = st.session_state.get(f"amended-{case_id}", 0) + 1

    @property
    def is_final(self) -> bool:
        """Whether this is the form of a final opinion."""
        return self.key.startswith("final-")

    # The keys of its elements on the page.

    def widget_key(self, name: str) -> str:
        """Return the key of a field or button of this form."""
        return f"{self.key}-{name}"

    def subtype_key(self, label: Malignancy | None) -> str:
        """Return the key of the subtype field; each label has its own field."""
        return self.widget_key(f"subtype-{label}")

    def container_key(self, name: str) -> str:
        """Return the key of a container of this form, or of its component that draws nothing."""
        return f"{name}-{self.key}"

    # Its entries.

    @property
    def choice(self) -> str | None:
        """The key of the chosen answer."""
        return self._get("choice", str)

    @property
    def label(self) -> Malignancy | None:
        """The chosen label; None without one, for "cannot assess", and for A and D, which depend on the first label."""
        return LABELS.get(self.choice or "")

    @property
    def confidence(self) -> int | None:
        """How sure the reader is, 1 to 5; it may be the suggestion from the previous opinion."""
        return self._get("confidence", int)

    @property
    def note(self) -> str:
        """The note as typed."""
        return self._get("note", str) or ""

    @property
    def vote(self) -> Vote | None:
        """Whether the heat map was useful."""
        chosen = self._get("vote", str)
        return Vote(chosen) if chosen else None

    @property
    def severity(self) -> Severity | None:
        """How much the difference between the readers matters."""
        chosen = self._get("severity", str)
        return Severity(chosen) if chosen else None

    def choose(self, field: Answer, value: str | int | None) -> None:
        """Set the answer of a field with buttons."""
        self._set(field, value)

    def is_chosen(self, field: Answer, value: str | int) -> bool:
        """Return whether this is the chosen answer of a field."""
        return bool(st.session_state.get(self.widget_key(field)) == value)

    def suggest_confidence(self, before: int) -> None:
        """Start with the confidence of the previous opinion."""
        st.session_state.setdefault(self.widget_key("confidence"), before)

    def matches(self, saved: Opinion) -> bool:
        """Return whether a first form has the content of a saved opinion, so that nothing in it is lost."""
        if self.widget_key("choice") not in st.session_state:
            return False
        return (self.label, self.confidence, self.note.strip()) == (saved.label, saved.confidence, saved.note)

    # Its draft in the browser tab.

    @property
    def was_restored(self) -> bool:
        """Whether the browser tab has returned its draft of this form."""
        return self._has("restored")

    def draft(self) -> dict[str, str | int]:
        """Return the entries by field, for the browser tab to store."""
        keys = {name: self.widget_key(name) for name in _DRAFT_FIELDS} | {"subtype": self.subtype_key(self.label)}
        return {name: value for name, key in keys.items() if (value := st.session_state.get(key))}

    def restore(self, draft: object) -> None:
        """Restore a draft from the browser tab; ignore values that no reader could have entered.

        None is not a draft: nothing came with the message, and the tab, which still has everything, asks again.
        """
        if draft is None:
            return
        self._set("restored", True)
        if not isinstance(draft, Mapping):
            return
        for name, allowed in _ALLOWED.items():
            if draft.get(name) in allowed:
                self._set(name, draft[name])
        if isinstance(draft.get("note"), str):
            self._set("note", draft["note"][:NOTE_LIMIT])
        if draft.get("subtype") in BREAKHIS.classes:
            st.session_state[self.subtype_key(BREAKHIS.malignancy(draft["subtype"]))] = draft["subtype"]

    # Its marks.

    @property
    def marks(self) -> tuple[Region, ...]:
        """The current marks."""
        marks: tuple[Region, ...] = st.session_state.get(self.widget_key("marks")) or ()
        return marks

    def begin_marks(self, regions: tuple[Region, ...]) -> tuple[Region, ...]:
        """Start with these marks unless the form already has marks of its own; return the current ones."""
        marks: tuple[Region, ...] = st.session_state.setdefault(self.widget_key("marks"), regions)
        return marks

    def mark(self, regions: tuple[Region, ...]) -> None:
        """Replace all marks."""
        self._set("marks", regions)

    # Since when and how long it is in use.

    def mark_opened(self) -> None:
        """Record when the form was first shown in this session, by the server's clock."""
        st.session_state.setdefault(self._opened_key, clock.now())

    @property
    def opened_at(self) -> datetime:
        """When the form was first shown in this session."""
        moment: datetime = st.session_state[self._opened_key]
        return moment

    def add_edit_seconds(self, passed: float) -> float:
        """Add to the time the form was in use; return the total in seconds."""
        spent = (self._get("seconds", float) or 0.0) + passed
        self._set("seconds", spent)
        return spent

    # The outcome of saving.

    @property
    def is_saved(self) -> bool:
        """Whether the form was saved from this session."""
        return self._has("saved")

    def mark_saved(self) -> None:
        """Record that the form was saved; its fields stay, because a final opinion can be withdrawn."""
        self._set("saved", True)
        self._drop("confirm")

    def reopen(self) -> None:
        """Forget that the form was saved, and its times; entries and marks stay."""
        self._drop("saved", "confirm", "conflict", "seconds")
        st.session_state.pop(self._opened_key, None)

    @property
    def conflict(self) -> str | None:
        """Why the form could not be saved."""
        return self._get("conflict", str)

    def keep_conflict(self, error: Exception) -> None:
        """Record why the form could not be saved."""
        self._set("conflict", times.localise_message(str(error)))

    def drop_conflict(self) -> None:
        """Forget why the form could not be saved."""
        self._drop("conflict")

    @property
    def awaits_confirmation(self) -> bool:
        """Whether saving was requested and must be confirmed."""
        return self._has("confirm")

    def request_confirmation(self) -> None:
        """Record that saving was requested and must be confirmed."""
        self._set("confirm", True)

    # Which parts of the page it needs.

    @property
    def is_open(self) -> bool:
        """Whether the form that amends a sign-off is shown."""
        return self._has("open")

    @property
    def is_amending(self) -> bool:
        """Whether the form that amends a final opinion is shown."""
        return self._has("amend")

    def toggle(self, flag: Literal["confirm", "open"]) -> None:
        """Show or hide the confirmation of a sign-off, or the form that amends it."""
        self._set(flag, not self._has(flag))

    def note_shown(self) -> None:
        """Record that this form of a consensus was shown."""
        self._set("typed", True)

    def begin_replacing(self, version: int) -> int:
        """Return the version that was current when this form was opened; the first call sets it."""
        current: int = st.session_state.setdefault(self.widget_key("replaces"), version)
        return current

    def replace_version(self, version: int) -> None:
        """Replace this newer version instead, which the reader has now seen."""
        self._set("replaces", version)

    def request_page(self) -> None:
        """Request that the whole page be drawn again, not only this form."""
        self._set("turned", True)

    def take_page_request(self) -> bool:
        """Return whether the whole page must be drawn again, and clear the request."""
        return bool(st.session_state.pop(self.widget_key("turned"), False))

    @property
    def _opened_key(self) -> str:
        return f"opened-{self.key}"

    def _get(self, name: str, kind: type[_Value]) -> _Value | None:
        value = st.session_state.get(self.widget_key(name))
        return value if isinstance(value, kind) else None

    def _has(self, flag: str) -> bool:
        return bool(st.session_state.get(self.widget_key(flag)))

    def _set(self, name: str, value: object) -> None:
        st.session_state[self.widget_key(name)] = value

    def _drop(self, *names: str) -> None:
        for name in names:
            st.session_state.pop(self.widget_key(name), None)
