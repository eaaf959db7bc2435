"""Lists of values as tables of a query: a statement takes only so many parameters, and very many are asked for."""

import json
from collections.abc import Collection
from typing import TypeVar

from sqlalchemy import BigInteger, Select, String, bindparam, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

_V = TypeVar("_V")


def given_integers(session: Session, values: Collection[int]) -> Select[int]:
    """Select these integers, of up to 64 bits."""
    return _select(session, json.dumps(sorted(values)), BigInteger())


def given_texts(session: Session, values: Collection[str]) -> Select[str]:
    """Select these texts."""
    return _select(session, json.dumps(sorted(values)), String())


def _select(session: Session, values: str, kind: TypeEngine[_V]) -> Select[_V]:
    given = bindparam(None, values, type_=String())
    if session.get_bind().dialect.name == "postgresql":
        return select(cast(func.jsonb_array_elements_text(cast(given, JSONB)).column_valued(), kind))
    return select(cast(func.json_each(given).table_valued("value").c.value, kind))
