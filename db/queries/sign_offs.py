"""A condition on sign-offs: the one of a case that no later version has replaced."""

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import aliased

from db import tables

_LATER = aliased(tables.SignOff)  # made once: each alias lays its columns out anew


def is_current_sign_off(signed: type[tables.SignOff]) -> ColumnElement[bool]:
    """Select the sign-off that has not been amended."""
    return ~select(_LATER.id).where(_LATER.case_id == signed.case_id, _LATER.version > signed.version).exists()
