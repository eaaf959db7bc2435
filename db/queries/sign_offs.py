"""A condition on sign-offs: the one of a case that no later version has replaced."""

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import aliased

from db import tables


def is_current_sign_off(signed: type[tables.SignOff]) -> ColumnElement[bool]:
    """Select the sign-off that has not been amended."""
    later = aliased(tables.SignOff)
    return ~select(later.id).where(later.case_id == signed.case_id, later.version > signed.version).exists()
