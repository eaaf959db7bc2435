"""Search for a text without case in any script: ä finds Ä, whichever way the letter was typed."""

import unicodedata

from sqlalchemy import ColumnElement, SQLColumnExpression
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Boolean

SQLITE_FUNCTION = "second_read_contains"
"""The name of `find_text` in SQLite, whose own `lower` and LIKE know only the letters of ASCII."""


class _Contains(GenericFunction[bool]):
    type = Boolean()
    name = SQLITE_FUNCTION
    inherit_cache = True


@compiles(_Contains, "postgresql")
def _compile_for_postgresql(element: _Contains, compiler: SQLCompiler, **_: object) -> str:
    value, text = (f"lower(normalize({compiler.process(clause)}, NFKC))" for clause in element.clauses)
    return f"strpos({value}, {text}) > 0"


def contains_text(column: SQLColumnExpression[str], text: str) -> ColumnElement[bool]:
    """Return the condition that a column contains a text, whatever the case of either."""
    return _Contains(column, text)


def find_text(value: str | None, text: str) -> bool | None:
    """Return whether a value contains a text, whatever the case of either."""
    return None if value is None else _fold(text) in _fold(value)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
