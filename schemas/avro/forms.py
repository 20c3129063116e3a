"""The forms that Avro's values take in the JSON model, so that one contract holds for a JSON and an Avro feed.

| Avro                                     | here                                                                  |
|------------------------------------------|-----------------------------------------------------------------------|
| null, boolean, int, long, string, enum   | the same                                                              |
| float, double                            | the same; NaN and infinity, which JSON has not, are refused           |
| bytes, fixed                             | base64 text                                                           |
| ... with `decimal`                       | plain decimal text with all digits of its scale: `12.50`              |
| int with `date`                          | `YYYY-MM-DD`                                                          |
| int with `time-millis`, long `-micros`   | `HH:MM:SS.ffffff`                                                     |
| long with `timestamp-millis`, `-micros`  | RFC 3339 in UTC: `2024-02-29T12:00:00.000001Z`; `-nanos` has 9 digits |
| long with `local-timestamp-*`            | the same without the zone                                             |
| string or fixed(16) with `uuid`          | text                                                                  |

A logical type that is unknown, or stands on another type than its own, is passed over, as Avro's specification asks.
So is a name that only Kafka Connect knows (`io.debezium.time.MicroTimestamp`): the number stays, as in Debezium's JSON.
https://avro.apache.org/docs/1.12.0/specification/#logical-types
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from schemas.unreadable import Unreadable

Form = Callable[[Any], Any]
"""From what Avro holds to the JSON model; raises Unreadable."""

DECIMAL: Final = "decimal"
"""The one form that asks for more than the value; see `decimal_text`."""

MOST_DIGITS: Final = 4_300
"""Digits of a decimal beyond which Python does not write a whole number as text."""

_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_DAY_MICROS: Final = 86_400_000_000
_UUID_BYTES: Final = 16
_NUMBER: Final = "avro.number"


def form_of(node: Mapping[str, Any]) -> str | None:
    """The name of the form that values of a schema take: DECIMAL, or one of FORMS; None for those taken as they are."""
    kind: str = node["type"]
    return _NAMES.get((kind, _logical_type(node))) or _PLAIN.get(kind)


def _logical_type(node: Mapping[str, Any]) -> str:
    """The logical type, empty where there is none or the rest of the schema does not bear it."""
    named = node.get("logicalType")
    if named == DECIMAL:
        precision, scale = node.get("precision"), node.get("scale", 0)
        if not isinstance(precision, int) or not isinstance(scale, int):
            return ""
        return DECIMAL if 0 <= scale <= precision <= MOST_DIGITS and precision > 0 else ""
    if named == "uuid" and node["type"] == "fixed" and node.get("size") != _UUID_BYTES:
        return ""
    return named if isinstance(named, str) else ""


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise Unreadable(_NUMBER)
    return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def decimal_text(value: bytes, scale: int) -> str:
    """The number that a decimal's bytes hold, plainly and with all digits of its scale; raises Unreadable."""
    unscaled = int.from_bytes(value, "big", signed=True)
    try:
        digits = str(abs(unscaled)).zfill(scale + 1)
    except ValueError:
        raise Unreadable(_NUMBER) from None
    sign = "-" if unscaled < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def _uuid(value: bytes) -> str:
    return str(UUID(bytes=value))


def _date(value: int) -> str:
    try:
        return date.fromordinal(_EPOCH_DAY + value).isoformat()
    except (ValueError, OverflowError):
        raise Unreadable(_NUMBER) from None


def _time(micros_each: int) -> Form:
    def form(value: int) -> str:
        micros = value * micros_each
        if not 0 <= micros < _DAY_MICROS:
            raise Unreadable(_NUMBER)
        return (_EPOCH + timedelta(microseconds=micros)).time().isoformat("microseconds")

    return form


def _timestamp(micros_each: int, zone: str) -> Form:
    def form(value: int) -> str:
        try:
            return (_EPOCH + timedelta(microseconds=value * micros_each)).isoformat(timespec="microseconds") + zone
        except OverflowError:
            raise Unreadable(_NUMBER) from None

    return form


def _timestamp_nanos(zone: str) -> Form:
    def form(value: int) -> str:
        # 64 bits of nanoseconds lie between the years 1677 and 2262.
        seconds, nanos = divmod(value, 1_000_000_000)
        return f"{(_EPOCH + timedelta(seconds=seconds)).isoformat()}.{nanos:09d}{zone}"

    return form


FORMS: Final[Mapping[str, Form]] = {
    "finite": _finite,
    "base64": _base64,
    "uuid": _uuid,
    "date": _date,
    "time-millis": _time(1_000),
    "time-micros": _time(1),
    "timestamp-millis": _timestamp(1_000, "Z"),
    "timestamp-micros": _timestamp(1, "Z"),
    "timestamp-nanos": _timestamp_nanos("Z"),
    "local-timestamp-millis": _timestamp(1_000, ""),
    "local-timestamp-micros": _timestamp(1, ""),
    "local-timestamp-nanos": _timestamp_nanos(""),
}

_PLAIN: Final = {"float": "finite", "double": "finite", "bytes": "base64", "fixed": "base64"}
_STANDS_ON: Final = {
    DECIMAL: ("bytes", "fixed"),
    "uuid": ("fixed",),
    "date": ("int",),
    "time-millis": ("int",),
    **{name: ("long",) for name in FORMS if "timestamp-" in name or name == "time-micros"},
}
_NAMES: Final = {(base, name): name for name, bases in _STANDS_ON.items() for base in bases}
