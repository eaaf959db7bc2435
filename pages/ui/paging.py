"""Which page of a long list is on the screen, and the buttons that turn it."""

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import streamlit as st

from core.wording import count_words

_End = TypeVar("_End")


@dataclass(frozen=True, slots=True)
class _Pages:
    """The last entry of each page before the one on the screen, and what they are pages of."""

    of: object
    ends: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Pages(Generic[_End]):
    """The pages of one list; `name` begins the keys of its buttons, `size` is how many entries a page has."""

    name: str
    size: int
    kind: type[_End] | tuple[type[_End], ...]  # of an entry that ends a page

    def end_of_previous(self, of: object) -> _End | None:
        """Return after which entry the page begins; of anything but what was shown last, the first page is shown."""
        pages = self._kept()
        if pages is None or pages.of != of:
            st.session_state[self._key] = pages = _Pages(of)
        end = pages.ends[-1] if pages.ends else None
        return end if isinstance(end, self.kind) else None

    def show_first(self) -> None:
        """Go back to the first page, after entries have left the one on the screen."""
        st.session_state.pop(self._key, None)
        st.rerun()

    def draw_buttons(self, shown: int, last: _End | None, total: int | None, what: str) -> None:
        """Draw which entries are on the screen, and the buttons to the pages before and after, if there are any.

        Args:
            shown: How many entries are on the screen.
            last: The last of them if others follow.
            total: How many there are; None if nobody has counted them.
            what: What they are: "case".
        """
        pages = self._kept() or _Pages(None)
        if not pages.ends and last is None:
            return
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            before, after = f"{self.name}-previous", f"{self.name}-next"
            if st.button("Previous page", key=before, disabled=not pages.ends, shortcut="Ctrl+Left"):
                self._turn_to(replace(pages, ends=pages.ends[:-1]))
            if st.button("Next page", key=after, disabled=last is None, shortcut="Ctrl+Right") and last is not None:
                self._turn_to(replace(pages, ends=(*pages.ends, last)))
            first = len(pages.ends) * self.size + 1
            of = f" of {count_words(total, what)}" if total is not None else ""
            st.caption(f"{first:,} to {first + shown - 1:,}{of}")

    @property
    def _key(self) -> str:
        return f"{self.name}-pages"

    def _kept(self) -> _Pages | None:
        kept = st.session_state.get(self._key)
        return kept if isinstance(kept, _Pages) else None

    def _turn_to(self, pages: _Pages) -> None:
        st.session_state[self._key] = pages
        st.rerun()
