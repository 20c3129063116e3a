"""JSON bytes to values and back, without losing a digit.

`orjson` is the fastest reader there is for Python, and reads numbers as 64-bit integers and doubles. The few records
that hold a number beyond these are found by one regular expression over the bytes, and read by a slower, exact reader.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from schemas.unreadable import Unreadable

_SURE_DIGITS: Final = 15
"""Any decimal of this many significant digits survives being a double."""

_INT64_DIGITS: Final = 19

_SPLIT = [f"[0-9]{{{whole}}}\\.[0-9]{{{_SURE_DIGITS + 1 - whole}}}" for whole in range(1, _SURE_DIGITS + 1)]
_INEXACT: Final = "|".join(["[0-9]{20}", *_SPLIT, "[0-9][eE][+-]?[0-9]{3}"])
"""Whole numbers that may not fit 64 bits, fractions of more digits than a double is sure to keep, exponents that may
not fit. Digits inside of texts match as well, and only cost the slower reading."""


def maybe_inexact(values: pa.Array) -> list[int]:
    """The indexes of the values (BINARY) that may hold a number that `read` would round."""
    return pc.indices_nonzero(pc.match_substring_regex(values, pattern=_INEXACT)).to_pylist()  # type: ignore[no-any-return]


def read(value: bytes) -> Any:
    """The value of JSON bytes, its fractions as doubles; raises Unreadable."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        # A number too large for a double is JSON all the same.
        return read_exactly(value)


def read_exactly(value: bytes) -> Any:
    """The same with every digit: fractions, and whole numbers beyond 64 bits, as `Decimal`; raises Unreadable."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("json.utf8") from None
    try:
        found = json.loads(text, parse_float=Decimal, parse_int=_whole, parse_constant=_refuse)
        orjson.dumps(found, default=_as_written)  # a lone surrogate has no place in a column
    except (ValueError, TypeError, RecursionError):
        raise Unreadable("json.syntax") from None
    return found


def write(value: Any) -> str:
    """The JSON text of what was read, digit for digit."""
    return orjson.dumps(value, default=_as_written).decode()


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) < _INT64_DIGITS else Decimal(text)


def _as_written(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
