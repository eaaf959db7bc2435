"""Times on pages: all in one time zone, that of the reader's browser, which the line at the top of each page names."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

# A time in a message of the store, which knows no browser.
_STORED = re.compile(r"\b(\d{4}-\d{2}-\d{2} \d{2}:\d{2})(:\d{2})? UTC\b")


def name_time_zone() -> str:
    """Return the name of the time zone of this page: the browser's, or UTC if the browser does not tell."""
    return str(_time_zone())


def format_time(moment: datetime) -> str:
    """Return the time of day."""
    return f"{moment.astimezone(_time_zone()):%H:%M:%S}"


def format_minute(moment: datetime) -> str:
    """Return the time of day without its seconds."""
    return f"{moment.astimezone(_time_zone()):%H:%M}"


def format_date_time(moment: datetime) -> str:
    """Return the date and the time of day."""
    return f"{moment.astimezone(_time_zone()):%Y-%m-%d %H:%M:%S}"


def format_date(moment: datetime) -> str:
    """Return the date."""
    return f"{moment.astimezone(_time_zone()):%Y-%m-%d}"


def make_time_column() -> ColumnConfig:
    """Return the configuration of a table column of dates with times."""
    return st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone=name_time_zone())


def localise_message(message: str) -> str:
    """Write the UTC times in a message of the store in the time zone of this page."""
    return _STORED.sub(_localise, message)


def start_of_day(day: date, *, days: int = 0) -> datetime:
    """Return the beginning of a day, or of the day so many `days` later."""
    return datetime.combine(day + timedelta(days=days), time(), tzinfo=_time_zone())


def _localise(found: re.Match[str]) -> str:
    minute, seconds = found.groups()
    moment = datetime.fromisoformat(f"{minute}{seconds or ''}+00:00").astimezone(_time_zone())
    return f"{moment:%Y-%m-%d %H:%M:%S}" if seconds else f"{moment:%Y-%m-%d %H:%M}"


def _time_zone() -> tzinfo:
    name = st.context.timezone
    try:
        return ZoneInfo(name) if name else UTC
    except (ValueError, OSError, ZoneInfoNotFoundError):  # no time zone data on this computer, or no such zone
        return UTC
