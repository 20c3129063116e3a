"""Values of Debezium's named types to columns, exactly, and back; see logical_types for the types.

A batch is converted at once where all its values are of the common form, and value by value elsewhere: to the same
values, and to the codes of leaf_values. `decode.infinite` is PostgreSQL's `infinity`, which no column can hold.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.types import DataType, DateType, LongType, TimestampNTZType

from schemas.leaf_values import Unfit, leaf_converter

_REFUSALS = (pa.ArrowException, OverflowError, TypeError, ValueError)

_EPOCH_DAY: Final = date(1970, 1, 1)
_EPOCH: Final = datetime(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = (date.min - _EPOCH_DAY).days, (date.max - _EPOCH_DAY).days
_MICRO: Final = timedelta(microseconds=1)
_FIRST_MICRO, _LAST_MICRO = (datetime.min - _EPOCH) // _MICRO, (datetime.max - _EPOCH) // _MICRO
_INFINITE_MICROS: Final = (9_223_372_036_825_200_000, -9_223_372_036_832_400_000)
_INFINITE_DAYS: Final = (-2_147_472_692, -2_147_472_691)
"""What Debezium sends for PostgreSQL's `infinity` and `-infinity`."""

_DECIMAL_BYTES: Final = 16
_MOST_DECIMAL_BYTES: Final = 64
"""More than any column holds, and few enough to look at."""

_CLOCK: Final = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6})0*)?")
_whole_number: Final = leaf_converter(LongType())


@dataclass(frozen=True)
class LogicalForm:
    """How values come: `convert` one of them, `convert_all` of a batch (None where not all are of the common form).

    `restore` makes of a column's value what it came from. `is_whole` says that they come as whole numbers, of which
    Arrow takes others too.
    """

    convert: Callable[[Any, DataType], Any]
    convert_all: Callable[[Sequence[Any], pa.DataType], pa.Array | None]
    restore: Callable[[Any, DataType], Any]
    is_whole: bool = False


def _days(value: Any, _: DataType) -> date:
    days = _whole_number(value)
    if days in _INFINITE_DAYS:
        raise Unfit("decode.infinite")
    if not _FIRST_DAY <= days <= _LAST_DAY:
        raise Unfit("decode.range")
    return _EPOCH_DAY + timedelta(days=days)


def _all_days(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    days = pa.array(values, pa.int32())
    return days.cast(kind) if _is_within(days, _FIRST_DAY, _LAST_DAY) else None


def _since_epoch(multiply: int, divide: int) -> LogicalForm:
    infinite = tuple(micros * divide // multiply for micros in _INFINITE_MICROS)

    def convert(value: Any, _: DataType) -> datetime:
        number = _whole_number(value)
        if number in infinite:
            raise Unfit("decode.infinite")
        micros, rest = divmod(number * multiply, divide)
        if not _FIRST_MICRO <= micros <= _LAST_MICRO:
            raise Unfit("decode.range")
        if rest:
            raise Unfit("decode.precision")
        return _EPOCH + int(micros) * _MICRO

    def convert_all(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
        numbers = pa.array(values, pa.int64())
        if not _is_within(numbers, _FIRST_MICRO * divide // multiply, _LAST_MICRO * divide // multiply):
            return None
        micros = _scaled(numbers, multiply, divide)
        return None if micros is None else micros.cast(kind)

    def restore(value: datetime, _: DataType) -> int:
        return (value.replace(tzinfo=None) - _EPOCH) // _MICRO * divide // multiply

    return LogicalForm(convert, convert_all, restore, is_whole=True)


def _of_span(multiply: int, divide: int) -> LogicalForm:
    def convert(value: Any, _: DataType) -> int:
        micros, rest = divmod(_whole_number(value) * multiply, divide)
        if rest:
            raise Unfit("decode.precision")
        return int(_whole_number(micros))

    def convert_all(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
        return _scaled(pa.array(values, kind), multiply, divide)

    return LogicalForm(convert, convert_all, lambda value, _: value * divide // multiply, is_whole=True)


def _scaled(numbers: pa.Int64Array, multiply: int, divide: int) -> pa.Int64Array | None:
    """The numbers in another unit, None where one has none that is whole; raises ArrowInvalid for what is too large."""
    found = pc.multiply_checked(numbers, multiply) if multiply != 1 else numbers
    if divide == 1:
        return found
    whole = pc.divide(found, divide)
    return whole if pc.multiply(whole, divide).equals(found) else None


def _is_within(numbers: pa.Array, low: int, high: int) -> bool:
    least, most = pc.min_max(numbers).as_py().values()
    return least is None or (low <= least and most <= high)


def _time_text(value: Any, _: DataType) -> int:
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Unfit("decode.type")
    hours, minutes, seconds, fraction = match.groups()
    return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1_000_000 + int((fraction or "").ljust(6, "0"))


def _of_text(kind: DataType, restore: Callable[[Any], str]) -> LogicalForm:
    """Text in UTC, which says so by its `Z`, where the column has no zone."""
    take = leaf_converter(kind)

    def convert(value: Any, _: DataType) -> Any:
        return take(value.removesuffix("Z") if isinstance(value, str) else value)

    return LogicalForm(convert, _none, lambda value, _: restore(value))


def _none(_values: Sequence[Any], _kind: pa.DataType) -> None:
    return None


def _whole_of(value: Any) -> int:
    """The number that base64 of its bytes, the highest first, is."""
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Unfit("decode.type") from None
    if not raw:
        raise Unfit("decode.type")
    if len(raw) > _MOST_DECIMAL_BYTES:
        raise Unfit("decode.range")
    return int.from_bytes(raw, "big", signed=True)


def _bytes_of(number: int) -> str:
    length = (number if number >= 0 else ~number).bit_length() // 8 + 1
    return base64.b64encode(number.to_bytes(length, "big", signed=True)).decode()


def _shifted(number: int, scale: int) -> Decimal:
    """The number with so many digits after the point; `scaleb` would round it to the context's digits."""
    return Decimal((int(number < 0), Decimal(abs(number)).as_tuple().digits, -scale))


def _unscaled(value: Any, kind: Any) -> Decimal:
    number = _whole_of(value)
    if abs(number) >= 10**kind.precision:
        raise Unfit("decode.range")
    return _shifted(number, kind.scale)


def _all_unscaled(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    bound, content = 10**kind.precision, bytearray()
    for value in values:
        raw = b"\0" if value is None else binascii.a2b_base64(value, strict_mode=True)
        number = int.from_bytes(raw, "big", signed=True)
        if not raw or not -bound < number < bound:
            return None
        content += number.to_bytes(_DECIMAL_BYTES, "little", signed=True)
    valid = pa.array([value is not None for value in values], pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(bytes(content))])


def _with_scale(value: Any, kind: DataType) -> Decimal:
    scale = value.get("scale") if isinstance(value, dict) else None
    if not isinstance(scale, int) or isinstance(scale, bool):
        raise Unfit("decode.type")
    if abs(scale) > _MOST_DECIMAL_BYTES * 4:
        raise Unfit("decode.range")
    found: Decimal = leaf_converter(kind)(_shifted(_whole_of(value.get("value")), scale))
    return found


def _unscaled_of(value: Decimal, kind: Any) -> str:
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits))) * 10 ** (kind.scale + int(exponent))
    return _bytes_of(-number if sign else number)


def _scaled_of(value: Decimal, kind: Any) -> dict[str, Any]:
    return {"scale": kind.scale, "value": _unscaled_of(value, kind)}


FORMS: Final[dict[str, LogicalForm]] = {
    "days": LogicalForm(_days, _all_days, lambda value, _: (value - _EPOCH_DAY).days, is_whole=True),
    "millis": _since_epoch(1_000, 1),
    "micros": _since_epoch(1, 1),
    "nanos": _since_epoch(1, 1_000),
    "time-millis": _of_span(1_000, 1),
    "time-nanos": _of_span(1, 1_000),
    "time-text": LogicalForm(
        _time_text, _none, lambda value, _: (_EPOCH + value * _MICRO).time().isoformat("microseconds")
    ),
    "iso-date": _of_text(DateType(), lambda value: value.isoformat() + "Z"),
    "iso-timestamp": _of_text(TimestampNTZType(), lambda value: value.replace(tzinfo=None).isoformat() + "Z"),
    "unscaled": LogicalForm(_unscaled, _all_unscaled, _unscaled_of),
    "scaled": LogicalForm(_with_scale, _none, _scaled_of),
}
"""How the values of LOGICAL_TYPES come, by the name that stands there."""


def convert_all(form: LogicalForm, values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """The values as an array, None where they have to be looked at one by one."""
    try:
        return form.convert_all(values, kind)
    except _REFUSALS:
        return None


def sure_schema(form: LogicalForm) -> dict[str, Any]:
    """A JSON Schema of the values of which `convert_all` makes nothing else than `convert` does."""
    return {"type": ["integer", "string", "null"]} if form.is_whole else {}
