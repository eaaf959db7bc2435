"""Search for a text without case in any script: ä finds Ä, whichever way the letter was typed."""

from sqlalchemy import ColumnElement, SQLColumnExpression
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import Boolean

from core.identifiers import fold_case

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
    return None if value is None else fold_case(text) in fold_case(value)
