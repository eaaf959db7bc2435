"""Text of people and files that is shown as it is, and never acts."""

import pytest

from pages.ui.formatting import escape


@pytest.mark.parametrize("words", ["https://evil.example", "HTTP://evil.example", "www.evil.example", "a@evil.example"])
def test_what_looks_like_an_address_is_broken_up_unseen(words: str) -> None:
    shown = escape(words).replace("\\", "")
    assert shown != words
    assert shown.replace("\N{WORD JOINER}", "") == words


@pytest.mark.parametrize("words", ["12 @ 40X", "http", "a www", "starter 3f9a"])
def test_other_words_stay_as_they_are(words: str) -> None:
    assert escape(words) == words


def test_what_markdown_would_read_is_escaped() -> None:
    assert escape("[a](b) *c* :red[d] $e$ <f>") == r"\[a\](b) \*c\* \:red\[d\] \$e\$ \<f\>"
