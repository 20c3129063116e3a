"""A record again from the columns that it became: what `judge` and `arrow_values` make of bytes, the other way round.

Not everything can be told from columns. At an open place there may have stood one of several things:

| the column holds                      | the first that it may have been | the second, the third                      |
|---------------------------------------|---------------------------------|--------------------------------------------|
| null                                  | no field at all                 | a null                                     |
| a DECIMAL                             | a number                        | its text, with all digits or without zeros |
| STRING that is the JSON of a non-text | that number, object or list     | a text                                     |

A column that the row does not have at all came later than the row: then there was no such field. A field that the
source did not send (`_unavailable`) is Debezium's placeholder again, and so is judged as one that is not there. A
column of one of Debezium's named types is the number, text or object that it came as.

Where a contract is known that the record has kept to, it decides for most places: see `Forms.fitting`. What is lost for
good is how a value was written: the zone of a timestamp (UTC here), zeros behind a fraction, `1.0` for 1.
"""

from __future__ import annotations

import base64
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    DateType,
    DecimalType,
    FloatType,
    MapType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from schemas import columns as c
from schemas import debezium, json_bytes, unavailable
from schemas.arrow_values import Forms as LogicalForms
from schemas.arrow_values import escaped
from schemas.judge import Judge
from schemas.logical_values import FORMS
from schemas.unreadable import Unreadable

Path = tuple[str | int, ...]
Pick = Callable[[Path, int], int]
"""Asked at each open place, of so many things that may stand there: which is to, counted from 0."""

_ABSENT = object()
_MOST_ROUNDS = 20


def rebuilt(
    row: Mapping[str, Any],
    payload: StructType,
    rescued: str | None,
    pick: Pick,
    *,
    is_debezium: bool,
    forms: LogicalForms,
) -> Any:
    """The record of a bronze row: `payload` are its columns, as Arrow gives them to Python; see `Forms`."""
    missing = row.get(c.UNAVAILABLE) or ()
    if missing:
        row = {**row, debezium.AFTER: unavailable.without(row[debezium.AFTER], missing)}
    record = _Rebuilder(pick, forms).object(row, payload, (), "")
    if missing:
        record[debezium.AFTER] |= dict.fromkeys(missing, unavailable.PLACEHOLDER)
    if rescued is None:
        return record
    kept = json_bytes.read_exactly(rescued.encode()) if _is_inexact(rescued) else json_bytes.read(rescued.encode())
    if not is_debezium:
        return _merged(record, kept)
    if isinstance(kept.get(debezium.BEFORE), dict):
        # An image `before` that did not fit stands beside what was unknown of the row.
        record[debezium.BEFORE] = kept.pop(debezium.BEFORE)
    record[debezium.AFTER] = _merged(record.get(debezium.AFTER), kept) if kept else record.get(debezium.AFTER)
    return record


def _is_inexact(text: str) -> bool:
    return bool(json_bytes.maybe_inexact(pa.array([text.encode()], pa.binary())))


def _merged(value: Any, kept: Any) -> Any:
    """A value with what was kept aside of it: fields by name, a list as a whole."""
    if not isinstance(value, dict) or not isinstance(kept, dict):
        return kept
    return {**value, **{name: _merged(value.get(name), inner) for name, inner in kept.items()}}


@dataclass(frozen=True)
class _Rebuilder:
    """Makes values again; `at` is a value's own path, `place` the pointer of all that are alike, as `forms` has it."""

    pick: Pick
    forms: LogicalForms

    def object(self, value: Mapping[str, Any], kind: StructType, at: Path, place: str) -> dict[str, Any]:
        found = {}
        for member in kind.fields:
            if member.name not in value:
                continue
            here, inner = (*at, member.name), value[member.name]
            if inner is not None:
                found[member.name] = self.value(inner, member.dataType, here, f"{place}/{escaped(member.name)}")
            elif self.pick(here, 2):
                found[member.name] = None
        return found

    def value(self, value: Any, kind: DataType, at: Path, place: str) -> Any:
        if value is None:  # of a list's items and a map's values it is sure
            return None
        if place in self.forms:
            return FORMS[self.forms[place]].restore(value, kind)
        inner = f"{place}/*"
        match kind:
            case StructType():
                return self.object(value, kind, at, place)
            case ArrayType():
                return [self.value(item, kind.elementType, (*at, index), inner) for index, item in enumerate(value)]
            case MapType():
                pairs = value.items() if isinstance(value, dict) else value
                return {key: self.value(item, kind.valueType, (*at, key), inner) for key, item in pairs}
            case DecimalType():
                return _decimal(value, self.pick(at, 3))
            case StringType():
                other = _not_text(value)
                return value if other is _ABSENT or self.pick(at, 2) else other
            case BinaryType():
                return base64.b64encode(value).decode()
            case DateType():
                return value.isoformat() if isinstance(value, date) else value
            case TimestampType():
                return _utc(value).replace(tzinfo=None).isoformat() + "Z"
            case TimestampNTZType():
                return value.replace(tzinfo=None).isoformat()
            case FloatType():
                return _short(value)
        return value


def _decimal(value: Decimal, form: int) -> Decimal | str:
    text = f"{value:f}"
    return value if form == 0 else text if form == 1 or "." not in text else text.rstrip("0").rstrip(".")


def _not_text(text: str) -> Any:
    """What JSON it is that a STRING holds the text of, as `json_bytes.write` has it; _ABSENT where it is none."""
    if text[:1] not in "{[-0123456789tf":  # the beginnings of JSON that is no text and no null
        return _ABSENT
    for read in (json_bytes.read, json_bytes.read_exactly):
        try:
            found = read(text.encode())
        except (Unreadable, UnicodeError):
            return _ABSENT
        if json_bytes.write(found) == text:
            return found
    return _ABSENT


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo is None else value.astimezone(UTC)


def _short(value: float) -> float:
    """The shortest number that is this FLOAT: it has 7 digits, where Python prints the 17 of a DOUBLE."""
    short = float(f"{value:.7g}")
    return short if struct.unpack("<f", struct.pack("<f", short))[0] == value else value


@dataclass
class Forms:
    """The records that one bronze row may have been made from.

    `judge` is that of the contract which the record has kept to; only places in what this contract describes are open,
    and elsewhere the first stands. `habits` remember, for rows that are alike, which places had to take another.
    """

    payload: StructType
    judge: Judge
    habits: dict[bool, Counter[Path]] = field(default_factory=lambda: {False: Counter(), True: Counter()})

    def plain(self, row: Mapping[str, Any], rescued: str | None, *, second: bool) -> tuple[bytes, bool]:
        """The record with the first, or with the `second`, at all open places; and whether there are any."""
        asked: dict[Path, int] = {}
        return self._bytes(row, rescued, Counter(), asked, second=second), bool(asked)

    def kept(self, row: Mapping[str, Any], rescued: str | None, *, second: bool) -> bytes | None:
        """The same, but for places where the contract that the record has kept to asks for another; None without."""
        usual = self._bytes(row, rescued, self.habits[second], {}, second=second)
        if next(complaints(self.judge, usual), None) is None:
            return usual
        return self.fitting(row, rescued, [self.judge], second=second)

    def fitting(
        self, row: Mapping[str, Any], rescued: str | None, judges: Sequence[Judge], *, second: bool
    ) -> bytes | None:
        """The record that all the judges' contracts take, another standing where they ask for it; None without one.

        Each place that a contract complains of is turned to its next, until it has had all: a search that ends, and
        finds what is usual.
        """
        turned: Counter[Path] = Counter()
        for _ in range(_MOST_ROUNDS):
            asked: dict[Path, int] = {}
            value = self._bytes(row, rescued, turned, asked, second=second)
            blamed = [path for judge in judges for path in complaints(judge, value)]
            if not blamed:
                self.habits[second] |= Counter({_general(at): turns for at, turns in turned.items()})
                return value
            left = {at for at, many in asked.items() if turned[at] < many - 1}
            found = left.intersection(blamed) or {at for at in left for path in blamed if at[: len(path)] == path}
            if not found:
                return None
            turned.update(found)
        return None

    def _bytes(
        self,
        row: Mapping[str, Any],
        rescued: str | None,
        turned: Counter[Path],
        asked: dict[Path, int],
        *,
        second: bool,
    ) -> bytes:
        """The record with others at places that are `turned`, or alike to one; `asked` takes up the open ones."""
        is_debezium = self.judge.is_debezium
        within: Path = ()
        if is_debezium and row.get(debezium.OP) == debezium.DELETE:
            within = (debezium.BEFORE,)
        elif is_debezium and self.judge.describes == "row":
            within = (debezium.AFTER,)

        def pick(at: Path, many: int) -> int:
            if is_debezium and at[:1] == (debezium.SOURCE,):
                return 1  # nulls and texts, though `sequence` is the text of a list
            if at[: len(within)] != within or at == within:
                return 0
            asked[at] = many
            return (second + (turned[at] or turned[_general(at)])) % many

        forms = self.judge.forms
        return json_bytes.write(
            rebuilt(row, self.payload, rescued, pick, is_debezium=is_debezium, forms=forms)
        ).encode()


def complaints(judge: Judge, value: bytes) -> Iterator[Path]:
    """The places of a record that its judge's contract complains of, as it complains of them; none where it does not.

    A field that is missing, or that should not be there, counts at its own place; what is only said of a value that the
    source did not send does not count.
    """
    [record], _ = judge.reader.read_all(pa.array([value], pa.binary()))
    at: Path = ()
    contract, known = judge.contract, record
    if judge.is_debezium and isinstance(record, dict):
        op = record.get(debezium.OP)
        if op == debezium.TRUNCATE:
            return
        if op == debezium.DELETE:
            contract, record, at = judge.key, record.get(debezium.BEFORE), (debezium.BEFORE,)
            known = record
        else:
            image = record.get(debezium.AFTER)
            known = unavailable.without(image, unavailable.names_in(image)) if isinstance(image, dict) else image
            if judge.describes == "row":
                record, at = image, (debezium.AFTER,)
            else:
                known = {**record, debezium.AFTER: known}
    if isinstance(record, dict):
        for error in contract.common_errors(known, record):
            here = (*at, *error.instance_path)
            yield here
            yield from ((*here, name) for name in _named(error.kind))


def _named(kind: Any) -> Iterable[str]:
    if (missing := getattr(kind, "property", None)) is not None and kind.name == "required":
        yield missing
    yield from getattr(kind, "unexpected", None) or ()


def _general(at: Path) -> Path:
    """A place in all records alike: whichever item of a list it is."""
    return tuple("*" if isinstance(part, int) else part for part in at)
