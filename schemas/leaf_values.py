"""One value to one type, exactly; what the type can not hold is refused with the reason's code.

| code               | the value ...                                                    |
|--------------------|------------------------------------------------------------------|
| `decode.type`      | is of another kind: text where a number is due, a date without a day |
| `decode.range`     | is of the kind, but the type does not reach so far               |
| `decode.precision` | is within the range, but the type would round it                 |
| `decode.infinite`  | is PostgreSQL's `infinity` or `-infinity`, a date or time        |
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final

from pyspark.sql.types import (
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from schemas import json_bytes

_BITS: Final[dict[type[DataType], int]] = {ByteType: 8, ShortType: 16, IntegerType: 32, LongType: 64}
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_BEYOND = re.compile(r"\+[0-9]{5,}-[0-9]{2}-[0-9]{2}.*|-[0-9]{4,}-[0-9]{2}-[0-9]{2}.*")
"""A date of year 10000 or later, or before year 1, as Java writes it."""

_INFINITE: Final = ("infinity", "-infinity")
_FLOAT_DIGITS: Final = 7
_MICRO_DIGITS: Final = 6


class Unfit(Exception):
    """A value does not fit its type; `rule` is the code."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        super().__init__(rule)


def leaf_converter(kind: DataType) -> Callable[[Any], Any]:
    """What turns a JSON value into what Arrow takes for this type; the function raises Unfit."""
    match kind:
        case BooleanType():
            return _boolean
        case ByteType() | ShortType() | IntegerType() | LongType():
            return _whole_number(_BITS[type(kind)])
        case DoubleType():
            return _double
        case FloatType():
            return _float
        case DecimalType():
            return _decimal(kind.precision, kind.scale)
        case StringType():
            return _text
        case BinaryType():
            return _binary
        case DateType():
            return _date
        case TimestampType():
            return _timestamp
        case TimestampNTZType():
            return _local_timestamp
    raise TypeError(f"no values are read as {kind.simpleString()}")


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Unfit("decode.type")
    return value


def _whole_number(bits: int) -> Callable[[Any], int]:
    most = 1 << (bits - 1)

    def convert(value: Any) -> int:
        number = _number(value)
        whole = int(number)
        if whole != number:
            raise Unfit("decode.precision")
        if not -most <= whole < most:
            raise Unfit("decode.range")
        return whole

    return convert


def _double(value: Any) -> float:
    number = _number(value)
    try:
        found = float(number)
    except OverflowError:
        raise Unfit("decode.range") from None
    if found in (float("inf"), float("-inf")):
        raise Unfit("decode.range")
    # Its shortest text names a double, so that 0.1 is kept; a digit more than that would be lost.
    if Decimal(str(number)) not in (Decimal(repr(found)), Decimal(found)):
        raise Unfit("decode.range" if found == 0 else "decode.precision")
    return found


def _float(value: Any) -> float:
    number = _double(value)
    try:
        (found,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError:
        raise Unfit("decode.range") from None
    if found != number and float(f"{found:.{_FLOAT_DIGITS}g}") != number:
        raise Unfit("decode.precision")
    return float(found)


def _decimal(precision: int, scale: int) -> Callable[[Any], Decimal]:
    exact = Context(prec=precision, traps=[Inexact, InvalidOperation], Emin=-9999, Emax=9999)
    step = Decimal(1).scaleb(-scale)

    def convert(value: Any) -> Decimal:
        if isinstance(value, str):
            if not _DECIMAL.fullmatch(value):
                raise Unfit("decode.type")
            number = Decimal(value)
        else:
            number = Decimal(str(_number(value)))
        if number.adjusted() >= precision - scale and number != 0:
            raise Unfit("decode.range")
        try:
            return number.quantize(step, context=exact)
        except Inexact:
            raise Unfit("decode.precision") from None
        except InvalidOperation:
            raise Unfit("decode.range") from None

    return convert


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_bytes.write(value)


def _binary(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Unfit("decode.type") from None


def _date(value: Any) -> date:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise _no_date(value)
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise Unfit("decode.type") from None


def _timestamp(value: Any) -> datetime:
    found, zone = _datetime(value)
    if zone is None:
        raise Unfit("decode.type")
    try:
        return (found - zone).replace(tzinfo=UTC)
    except OverflowError:
        raise Unfit("decode.range") from None


def _local_timestamp(value: Any) -> datetime:
    found, zone = _datetime(value)
    if zone is not None:
        raise Unfit("decode.type")
    return found


def _datetime(value: Any) -> tuple[datetime, timedelta | None]:
    """A date and time, and how far its zone is ahead of UTC; None where it names none."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _no_date(value)
    day, time, fraction, zone = match.groups()
    micros = (fraction or "").rstrip("0")
    if len(micros) > _MICRO_DIGITS:
        raise Unfit("decode.precision")
    try:
        found = datetime.fromisoformat(f"{day}T{time}").replace(microsecond=int(micros.ljust(_MICRO_DIGITS, "0")))
    except ValueError:
        raise Unfit("decode.type") from None
    if zone is None:
        return found, None
    if zone in "Zz":
        return found, timedelta(0)
    hours, minutes = int(zone[1:3]), int(zone[4:])
    if minutes > 59:
        raise Unfit("decode.type")
    return found, timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)


def _no_date(value: Any) -> Unfit:
    """What is wrong with a value that is not of the form of dates or timestamps."""
    if value in _INFINITE:
        return Unfit("decode.infinite")
    return Unfit("decode.range" if isinstance(value, str) and _BEYOND.fullmatch(value) else "decode.type")


def _number(value: Any) -> int | float | Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unfit("decode.type")
    if value != value or value in (float("inf"), float("-inf")):
        raise Unfit("decode.range")
    return value
