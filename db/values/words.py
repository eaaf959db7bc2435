"""Words that people type as names: how long they may be, and that all of them can be seen."""

import unicodedata


def check_words(what: str, words: str | None, limit: int) -> str | None:
    """Return words without blanks at their ends; None if nothing is left.

    Raises:
        ValueError: If they are too long or have invisible characters; the message begins with `what` they are.
    """
    # A blank that does not break, pasted from a document, looks like any other and is not printable to Python.
    words = "".join(" " if unicodedata.category(one) == "Zs" else one for one in words or "").strip()
    if len(words) > limit or not words.isprintable():
        raise ValueError(f"{what} may have at most {limit} characters, all of them visible")
    return words or None
