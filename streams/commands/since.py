"""`--since` and its kin: a date, a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from schemas.errors import WrongUsage

_AGO: Final = re.compile(r"(\d{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class NotATime(WrongUsage):
    """A text that is neither a time nor a duration."""

    def __init__(self, option: str, text: str) -> None:
        self.option, self.text = option, text
        super().__init__(
            f"{option} {text}: that is no time. Write a date or time in UTC, as `2026-01-31` or `2026-01-31T08:30`, "
            "or how long ago, as `45m`, `2h` or `7d`."
        )


def parse_since(text: str, now: datetime | None = None, option: str = "--since") -> datetime:
    """The time that is meant, in UTC, where no zone is named; `now` is the present one. Raises NotATime."""
    text = text.strip()
    try:
        if ago := _AGO.fullmatch(text):
            return (now or datetime.now(UTC)) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotATime(option, text) from None


def is_ago(text: str) -> bool:
    """Whether a text says how long ago."""
    return _AGO.fullmatch(text.strip()) is not None
